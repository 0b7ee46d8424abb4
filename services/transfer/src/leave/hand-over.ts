/**
 * Handing over on a stop: blocks of files with two replicas or more that only this peer
 * holds are offered to others, so that an upload which was answered with one copy stays readable.
 *
 * This is no drain: the peer is expected back. In the usual case every file has its copies, nothing
 * is offered, and stopping takes no longer. All of it ends at a deadline: better to leave with a
 * block unique than to be killed half-stopped.
 */
import { randomUUID } from 'node:crypto';
import { batchesOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, CIDS_PER_BATCH_MAX, type Lease, type Pin } from '@shoal/protocol';
import type { ListedBlocks } from '../fetch/listed-blocks.ts';
import { askHoldings, questionsOf } from './holdings.ts';
import { countCopies } from '../peers/count-copies.ts';
import { eachPinPage } from '../peers/pins.ts';
import { listEntries, type Manifests } from '../file/manifests.ts';
import type { CopyProofs } from '../copies/copy-proofs.ts';
import { isTrusted, type MemberView } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import { releaseEverywhere } from '../copies/end-leases.ts';
import { replicate } from '../copies/replicate.ts';
import type { SettleLoop } from '../settle/settle-loop.ts';
import { onlyHere } from './unsafe-blocks.ts';

/** Files looked at, those in doubt first: more would not fit the deadline. */
const FILES_MAX = 20_000;
/** A file that was put or changed less long ago may still be spreading. */
const NEW_FOR_MS = 10 * 60_000;
/** Longest look at files that are in order as far as is known here: a stop must not wait for them. */
const ORDERLY_TIMEOUT_MS = 200;
/** Files whose copies are counted before the first of them are offered. */
const FILES_PER_ROUND = 512;
/** Copies of a block, ours included, with which it may be left. */
const COPIES_ENOUGH = 2;
/** Batches offered at once. */
const OFFERS_AT_ONCE = 2;

export interface HandOverDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly listed: ListedBlocks;
  readonly manifests: Manifests;
  readonly loop: Pick<SettleLoop, 'isSettled'>;
  readonly proofs: CopyProofs;
  readonly metrics: Metrics;
  readonly log: Log;
}

export interface HandedOver {
  readonly filesChecked: number;
  readonly blocks: number;
  /** Blocks that nobody took. */
  readonly blocksLeft: number;
}

/** Offers what only we hold. @throws The signal's reason when it fires before the end. */
export async function handOver(
  deps: HandOverDeps,
  { signal }: { signal: AbortSignal },
): Promise<HandedOver> {
  const tally = { filesChecked: 0, blocks: 0, blocksLeft: 0 };
  // Suspects are offered to as well: a starved peer may suspect all others.
  if (!deps.view.asked().some(({ isSelf, draining }) => !isSelf && !draining)) return tally;

  const lease: Lease = randomUUID();
  const { doubtful, orderly } = await pinsToCheck(deps, { signal });
  try {
    await check(doubtful, lease, tally, deps, { signal, looking: signal });
    await checkBriefly(orderly, lease, tally, deps, { signal });
  } finally {
    if (tally.blocks > 0) {
      deps.log.info(tally, 'blocks handed over');
      await releaseEverywhere({ lease, keep: true }, deps, { signal });
    }
  }
  return tally;
}

type Tally = { -readonly [Key in keyof HandedOver]: number };

/** @param looking Ends the looking alone: what was found by then is still offered. */
async function check(
  pins: readonly Pin[],
  lease: Lease,
  tally: Tally,
  deps: HandOverDeps,
  { signal, looking }: { signal: AbortSignal; looking: AbortSignal },
): Promise<void> {
  for (const round of batchesOf(pins, FILES_PER_ROUND)) {
    const roots = round.map(({ root }) => root);
    const counts = await countCopies(roots, deps, { signal: looking });
    const short = round.filter(({ root }) => (counts.get(root) ?? 0) < COPIES_ENOUGH);
    for (const question of questionsOf(short)) {
      const unique = await uniqueBlocks(question, deps, { signal: looking });
      const left = await offer(unique, lease, deps, { signal });
      tally.blocks += unique.length - left;
      tally.blocksLeft += left;
    }
    tally.filesChecked += round.length;
  }
}

/** The same for files that need no look, as far as is known: as many as a moment has room for. */
async function checkBriefly(
  pins: readonly Pin[],
  lease: Lease,
  tally: Tally,
  deps: HandOverDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const moment = AbortSignal.timeout(ORDERLY_TIMEOUT_MS);
  try {
    await check(pins, lease, tally, deps, { signal, looking: AbortSignal.any([signal, moment]) });
  } catch (err) {
    signal.throwIfAborted();
    if (!moment.aborted) throw err;
  }
}

/**
 * Files that may be left with one copy only by this peer's going, the latest first. In doubt are
 * those that are not known to be settled and those that are new: that we have our share says nothing
 * of the others'. While a peer that should hold copies is away or distrusted, all are.
 */
async function pinsToCheck(
  { client, view, loop }: HandOverDeps,
  { signal }: { signal: AbortSignal },
): Promise<{ doubtful: Pin[]; orderly: Pin[] }> {
  const pins: Pin[] = [];
  for await (const page of eachPinPage(client, { signal })) {
    pins.push(...page.pins.filter(({ replicas }) => replicas >= COPIES_ENOUGH));
    if (pins.length >= FILES_MAX) break;
  }
  const nowMs = Date.now();
  const isAnyAway = view
    .placement(0)
    .some((member) => member.state !== 'alive' || !isTrusted(member));
  const isDoubtful = (pin: Pin) =>
    isAnyAway || !loop.isSettled(pin) || Math.abs(nowMs - pin.clock) < NEW_FOR_MS;
  const { doubtful = [], orderly = [] } = Object.groupBy(
    pins.toSorted((a, b) => b.clock - a.clock),
    (pin) => (isDoubtful(pin) ? 'doubtful' : 'orderly'),
  );
  return { doubtful, orderly };
}

async function uniqueBlocks(
  question: readonly Pin[],
  deps: HandOverDeps,
  { signal }: { signal: AbortSignal },
): Promise<Cid[]> {
  const unique = new Set<Cid>();
  for (const { pin, own, others } of await askHoldings(question, deps, { signal }))
    try {
      if (own === undefined || own.every((byte) => byte === 0)) continue;
      const entries = await listEntries(pin, deps, { signal });
      for (const cid of onlyHere(entries, { own, others })) unique.add(cid);
    } catch (err) {
      signal.throwIfAborted();
      deps.log.warn({ err, root: pin.root }, 'a file could not be looked at before stopping');
    }
  return [...unique];
}

/** Offers blocks as an upload's are; answers how many nobody took. */
async function offer(
  cids: readonly Cid[],
  lease: Lease,
  deps: HandOverDeps,
  { signal }: { signal: AbortSignal },
): Promise<number> {
  const batches = [...batchesOf(cids, CIDS_PER_BATCH_MAX)].values(); // shared: each worker takes the next one
  let left = 0;
  const work = async (): Promise<void> => {
    for (const batch of batches)
      try {
        const job = { v: 1, lease, cids: batch, replicas: COPIES_ENOUGH } as const;
        await replicate(job, deps, () => undefined, { signal });
      } catch (err) {
        signal.throwIfAborted();
        left += batch.length;
        deps.log.warn({ err, blocks: batch.length }, 'blocks not handed over');
      }
  };
  await Promise.all(Array.from({ length: OFFERS_AT_ONCE }, work));
  return left;
}
