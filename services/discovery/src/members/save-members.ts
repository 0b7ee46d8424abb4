import type { Log, Loops } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { Signed } from '../network/signed.ts';
import type { Membership } from './membership.ts';
import type { SavedMember } from './saved-member.ts';

/** How often the members are written down for the next start. */
const SAVE_MEMBERS_MS = 30_000;

/** Writes the members and our own record down: now, from time to time, and when disposed. */
export async function startSavingMembers({
  state,
  membership,
  isAside,
  loops,
  log,
}: {
  readonly state: {
    saveMembers(members: ReadonlyMap<PeerId, SavedMember>): Promise<void>;
    saveOwn(signed: Signed): Promise<void>;
  };
  readonly membership: Pick<Membership, 'presence' | 'saved'>;
  readonly isAside: () => boolean;
  readonly loops: Loops;
  readonly log: Log;
}): Promise<AsyncDisposable> {
  const save = async (): Promise<void> => {
    await state.saveMembers(membership.saved());
    // Where the other process is must stay known here, for the next start.
    if (!isAside()) await state.saveOwn(membership.presence.own().signed);
  };
  const onFailure = (err: unknown) => log.warn({ err }, 'members not saved');
  await save().catch(onFailure);
  const everyMs = () => SAVE_MEMBERS_MS;
  const saving = loops.start({ name: 'saving-members', everyMs, run: save, onFailure });
  return {
    async [Symbol.asyncDispose]() {
      await saving[Symbol.asyncDispose]();
      await save().catch(onFailure);
    },
  };
}
