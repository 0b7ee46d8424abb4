/**
 * Whether the swarm holds a block, for clients that ask for its providers.
 *
 * The root of a live pin is held by promise. For any other block the storages are asked: ours first,
 * since it has every node of every pinned DAG, then those of all members at once; one yes is enough.
 * Have-maps don't help: they are by root, and strangers ask for chunks without naming a root.
 * Clients repeat their questions, hence the small cache; a no expires soon, so that a file
 * is found the moment after its upload. Concurrent questions for one block share a search (single-flight).
 */
import { decodeBits, digestOf } from '@shoal/blocks';
import { type Log, type PeerClient, RecentMap, Shares, targetAt } from '@shoal/chassis';
import { type Cid, type Member, type Pin, storageRoutes } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';

/** A storage that takes longer counts as one that does not have the block. */
const HAVE_TIMEOUT_MS = 1500;
/** How long a yes and a no are remembered. */
const HELD_FOR_MS = 5000;
const ABSENT_FOR_MS = 1000;
/** Answers remembered. */
const ANSWERS_MAX = 4096;
/** Searches under way at once, each for another block. */
const SEARCHES_MAX = 256;

export interface FindBlock extends Disposable {
  /** Whether any member that is up has it. @throws Overloaded, GaveWay */
  isHeld(
    cid: Cid,
    options: { readonly client: string; readonly signal: AbortSignal },
  ): Promise<boolean>;
}

export function createFindBlock(deps: {
  readonly findPin: (root: Cid) => Pin | undefined;
  readonly client: PeerClient;
  readonly members: () => readonly Member[];
  readonly clock: () => number;
  readonly metrics: Metrics;
  readonly log: Log;
}): FindBlock {
  const { findPin, client, members, clock, metrics, log } = deps;
  const stop = new AbortController();
  const shares = new Shares({ what: 'searches for blocks', placesMax: SEARCHES_MAX });
  const searches = new Map<string, Promise<boolean>>();
  const answers = new RecentMap<string, boolean>({ max: ANSWERS_MAX, clock });

  const has = async (member: Member, cid: Cid, signal: AbortSignal): Promise<boolean> => {
    const target = member.isSelf ? client.own('storage') : targetAt(member, 'storage');
    try {
      const options = { signal, timeoutMs: HAVE_TIMEOUT_MS };
      const { bits } = await client.call(
        target,
        storageRoutes.haveBlocks,
        { body: { cids: [cid] } },
        options,
      );
      return decodeBits(bits, 1)[0] !== 0;
    } catch (err) {
      if (!signal.aborted)
        log.debug({ err, peer: member.peerId }, 'storage did not say whether it has a block');
      return false;
    }
  };
  const search = async (cid: Cid, given: AbortSignal): Promise<boolean> => {
    const up = members().filter(
      ({ state, isDistrusted }) => state === 'alive' && isDistrusted !== true,
    );
    const enough = new AbortController();
    const signal = AbortSignal.any([stop.signal, enough.signal, given]);
    const own = up.filter(({ isSelf }) => isSelf);
    const others = up.filter(({ isSelf }) => !isSelf);
    try {
      for (const group of [own, others])
        if (await isAnyTrue(group.map((member) => has(member, cid, signal)))) return true;
      return false;
    } finally {
      enough.abort(new Error('answered'));
    }
  };
  const searchInPlace = async (cid: Cid, who: string): Promise<boolean> => {
    using place = await shares.take(who, { signal: stop.signal });
    const isHeld = await search(cid, place.signal);
    place.signal.throwIfAborted(); // or a search that gave way would count as a no
    return isHeld;
  };
  const searchOnce = (key: string, cid: Cid, who: string): Promise<boolean> => {
    const running = searches.get(key);
    if (running !== undefined) return running;
    const started = searchInPlace(cid, who)
      .then((isHeld) => {
        answers.set(key, isHeld, { ttlMs: isHeld ? HELD_FOR_MS : ABSENT_FOR_MS });
        return isHeld;
      })
      .finally(() => searches.delete(key));
    searches.set(key, started);
    return started;
  };
  const find = async (
    cid: Cid,
    who: string,
  ): Promise<{ isHeld: boolean; by: 'pin' | 'memory' | 'search' }> => {
    if (findPin(cid) !== undefined) return { isHeld: true, by: 'pin' };
    const key = Buffer.from(digestOf(cid)).toString('base64url');
    const known = answers.peek(key);
    if (known !== undefined) return { isHeld: known, by: 'memory' };
    return { isHeld: await searchOnce(key, cid, who), by: 'search' };
  };
  return {
    async isHeld(cid, { client: who, signal }) {
      signal.throwIfAborted();
      const { isHeld, by } = await find(cid, who);
      metrics.routingLookups.inc({ by, outcome: isHeld ? 'held' : 'absent' });
      return isHeld;
    },
    [Symbol.dispose]: () => stop.abort(new Error('stopping')),
  };
}

/** True with the first one that is true, false once all are false. */
async function isAnyTrue(claims: readonly Promise<boolean>[]): Promise<boolean> {
  const yes = claims.map(async (claim) => {
    if (!(await claim)) throw new Error('no');
  });
  return Promise.any(yes).then(
    () => true,
    () => false,
  );
}
