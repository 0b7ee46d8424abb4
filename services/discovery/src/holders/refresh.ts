/** Has the table of holders say what is held now: our own storage is read, and the other members are asked. */
import type { Cid, PeerId } from '@shoal/protocol';
import type { Holders } from './holders.ts';
import type { ReadHaveMap } from './own-have-maps.ts';
import type { Want } from './want.ts';

/** Wait for the members' answers. Past it: a member that did not answer counts as it did last, with that date. */
const ANSWERS_TIMEOUT_MS = 1500;

/** The files of which our storage is read, and those of which the members are asked. */
export interface Refreshed {
  readonly own: readonly Cid[];
  readonly members: readonly Cid[];
}

export type Refresh = (files: Refreshed, options: { signal: AbortSignal }) => Promise<void>;

export function createRefresh(deps: {
  readonly self: PeerId;
  readonly want: Want;
  readonly holders: Pick<Holders, 'note' | 'clock'>;
  readonly readHaveMap: ReadHaveMap;
}): Refresh {
  const { self, want, holders, readHaveMap } = deps;
  /** Our own holding has no age, unless storage does not answer. */
  const readOwn = async (root: Cid): Promise<void> => {
    const atMs = holders.clock();
    const { haveMap, readAtMs } = await readHaveMap(root);
    if (haveMap !== 'unread') holders.note(root, self, haveMap, { atMs, readAtMs });
  };
  return async ({ own, members }, { signal }) => {
    const asking =
      members.length === 0 ? undefined : want(members, { timeoutMs: ANSWERS_TIMEOUT_MS, signal });
    await Promise.all([...own.map(readOwn), asking]);
  };
}
