/** Members as they are written down for the next start, which finds the swarm again without seeds. */
import { DATE_MAX_MS, type PeerId } from '@shoal/protocol';
import type { MemberTable } from '@shoal/swarm';
import * as z from 'zod';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, read, Signed } from '../network/signed.ts';

/** A member's record and the wall-clock time it was last seen. */
export const SavedMember = z.object({
  signed: Signed,
  seenAtMs: z.number().min(0).max(DATE_MAX_MS),
});
export type SavedMember = z.infer<typeof SavedMember>;

/** The members of a table whose times are on this clock. */
export function savedMembers(
  table: MemberTable<Signed>,
  clock: () => number,
): Map<PeerId, SavedMember> {
  const offsetMs = Date.now() - clock();
  const entries = table
    .all()
    .map(({ record, signed, heardAtMs }): [PeerId, SavedMember] => [
      record.peerId,
      { signed, seenAtMs: Math.max(0, heardAtMs + offsetMs) },
    ]);
  return new Map(entries);
}

/** Puts them into a table: known, but not believed to be up. */
export function restoreMembers(
  saved: readonly SavedMember[],
  {
    table,
    clock,
    refusals,
  }: {
    readonly table: MemberTable<Signed>;
    readonly clock: () => number;
    readonly refusals: Refusals;
  },
): void {
  const wallMs = Date.now();
  for (const { signed, seenAtMs } of saved) {
    const said = read('member', signed);
    if (said.content === undefined) {
      refusals.note({ what: 'member', from: undefined, name: said.name, reason: said.reason });
      continue;
    }
    const record = said.content;
    if (!isAuthentic('member', record, signed)) continue;
    const ageMs = Math.max(0, wallMs - seenAtMs);
    // It enters as down, by hearsay: any sign of life brings it back.
    table.learn(
      { record, signed, seenAtMs: clock() - ageMs, isSaidGone: true, isRestored: true },
      clock(),
    );
  }
}
