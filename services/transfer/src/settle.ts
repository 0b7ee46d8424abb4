/**
 * Settle: make what this peer holds of a file what placement says it should hold.
 *
 * One pass over one file: manifest nodes here, leaves placed on us here, the rest dropped. It is what
 * finishes a distribution that the upload's offers began, what fills a peer that was away or joined,
 * and what moves a stand-in's copies home. It starts from the truth each time (pin, members, what is
 * on disk), so it may run at any time, twice, or after every queue was lost.
 *
 * The race to know about is two peers that each drop "the other's" surplus copy. A drop is therefore
 * in three steps: retire (our storage stops confirming the block to anybody), ask the R placed peers
 * whether they hold it, drop only when all R say yes. Two peers that retire at once both get a "no"
 * and both keep. A block that cannot be dropped is un-retired and looked at again later.
 */
import { type DagEntry, decodeBits, getBit, partitionOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  BlockNotFound,
  type Cid,
  CIDS_PER_BATCH_MAX,
  discoveryRoutes,
  FileNotFound,
  type Member,
  type PeerId,
  type Pin,
  storageRoutes,
} from '@shoal/protocol';
import type { BlockSource } from './block-source.ts';
import { keepBlock, type Limit } from './copy.ts';
import type { Manifests } from './manifests.ts';
import { type MemberView, targetOf } from './member-view.ts';
import type { Metrics } from './metrics.ts';

export interface SettleDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly source: BlockSource;
  readonly manifests: Manifests;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limit: Limit;
}

/** `isSettled` is false when something is still missing or surplus: look again later. */
export interface Settled {
  readonly isSettled: boolean;
  readonly copiedBlocks: number;
  readonly droppedBlocks: number;
}

/** @throws Problem when a service of this peer does not answer, or the manifest can't be had. */
export async function settle(
  root: Cid,
  deps: SettleDeps,
  { signal }: { signal: AbortSignal },
): Promise<Settled> {
  const { client, view, metrics } = deps;
  const pin = await livePin(root, client, { signal });
  if (pin === undefined) return { isSettled: true, copiedBlocks: 0, droppedBlocks: 0 };

  const watching = new AbortController();
  const dag = deps.source.open(root, { signal: AbortSignal.any([signal, watching.signal]) });
  try {
    const entries = await deps.manifests.list(pin, dag, { signal });
    const placed = (cid: Cid) => view.placement(partitionOf(cid)).slice(0, pin.replicas);
    const isMine = ({ cid, kind }: DagEntry) =>
      kind === 'node' || placed(cid).some(({ isSelf }) => isSelf);

    const heldBefore = await heldOf(root, entries, client, { signal });
    const indexes = new Map(entries.map(({ cid }, index) => [cid, index]));
    const missing = distinct(
      entries.filter((entry) => isMine(entry) && !heldBefore.has(entry.cid)),
    );
    let copiedBlocks = 0;
    let failedBlocks = 0;
    await Promise.all(
      missing.map((entry) =>
        deps.limit(async () => {
          try {
            const { cid, sizeBytes, kind } = entry;
            const want = {
              cid,
              index: indexes.get(cid),
              sizeBytes: kind === 'leaf' ? sizeBytes : undefined,
            };
            const block = await dag.fetch(want, { signal });
            await keepBlock(client, cid, block, undefined, { signal });
            copiedBlocks += 1;
            metrics.blocksReplicated.inc({ direction: 'in', outcome: 'copied' });
          } catch (err) {
            signal.throwIfAborted();
            failedBlocks += 1;
            metrics.blocksReplicated.inc({ direction: 'in', outcome: 'failed' });
            deps.log.warn({ err, cid: entry.cid, root }, 'block not copied');
          }
        }),
      ),
    );
    await keep(pin, client, { signal });
    const surplus = distinct(
      entries.filter((entry) => !isMine(entry) && heldBefore.has(entry.cid)),
    );
    if (copiedBlocks > 0 || surplus.length === 0) await announce(root, client, { signal });
    const droppedBlocks = await dropSurplus(
      surplus.map(({ cid }) => cid),
      pin,
      placed,
      deps,
      { signal },
    );
    if (droppedBlocks > 0) await announce(root, client, { signal });
    return {
      isSettled: failedBlocks === 0 && droppedBlocks === surplus.length,
      copiedBlocks,
      droppedBlocks,
    };
  } finally {
    watching.abort();
  }
}

async function livePin(
  root: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Pin | undefined> {
  try {
    const args = { params: { hash: root }, query: { ask: 'false' } } as const;
    return await client.call(client.own('discovery'), discoveryRoutes.getPin, args, { signal });
  } catch (error) {
    if (error instanceof FileNotFound) return undefined;
    throw error;
  }
}

/** What our storage holds of the DAG. Its nodes are here by now; a lone raw root may not be. */
async function heldOf(
  root: Cid,
  entries: readonly DagEntry[],
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Set<Cid>> {
  try {
    const args = { params: { cid: root } };
    const haveMap = await client.call(client.own('storage'), storageRoutes.haveMap, args, {
      signal,
    });
    const bits = decodeBits(haveMap.bits, entries.length);
    return new Set(entries.filter((_, index) => getBit(bits, index)).map(({ cid }) => cid));
  } catch (error) {
    if (error instanceof BlockNotFound) return new Set();
    throw error;
  }
}

/** Marks what we hold as pinned. A lone block that is placed on others is not here to be marked. */
async function keep(
  { root, replicas }: Pin,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  try {
    const args = { params: { cid: root }, body: { replicas } };
    await client.call(client.own('storage'), storageRoutes.keepDag, args, { signal });
  } catch (error) {
    if (!(error instanceof BlockNotFound)) throw error;
  }
}

async function announce(
  root: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const target = client.own('discovery');
  await client.call(target, discoveryRoutes.announce, { body: { roots: [root] } }, { signal });
}

/** Drops what all placed peers confirm; answers how many blocks that was. */
async function dropSurplus(
  surplus: readonly Cid[],
  pin: Pin,
  placed: (cid: Cid) => readonly Member[],
  { client, metrics, log }: SettleDeps,
  { signal }: { signal: AbortSignal },
): Promise<number> {
  const own = client.own('storage');
  let dropped = 0;
  for (let at = 0; at < surplus.length; at += CIDS_PER_BATCH_MAX) {
    const batch = surplus.slice(at, at + CIDS_PER_BATCH_MAX);
    const { bits } = await client.call(
      own,
      storageRoutes.retireBlocks,
      { body: { cids: batch, replicas: pin.replicas } },
      { signal },
    );
    const retiredBits = decodeBits(bits, batch.length);
    const retired = batch.filter((_, index) => getBit(retiredBits, index));
    if (retired.length === 0) continue;
    const safe = await confirmedByAll(retired, pin, placed, { client, log }, { signal });
    const unsafe = retired.filter((cid) => !safe.includes(cid));
    if (unsafe.length > 0)
      await client.call(own, storageRoutes.unretireBlocks, { body: { cids: unsafe } }, { signal });
    if (safe.length === 0) continue;
    const drop = await client.call(
      own,
      storageRoutes.dropBlocks,
      { body: { cids: safe } },
      { signal },
    );
    dropped += drop.droppedBlocks;
    metrics.blocksDropped.inc(drop.droppedBlocks);
  }
  return dropped;
}

/** Those of the blocks that each of their R placed peers says it holds, asked just now. */
async function confirmedByAll(
  cids: readonly Cid[],
  pin: Pin,
  placed: (cid: Cid) => readonly Member[],
  { client, log }: Pick<SettleDeps, 'client' | 'log'>,
  { signal }: { signal: AbortSignal },
): Promise<Cid[]> {
  const asks = new Map<PeerId, { member: Member; cids: Cid[] }>();
  for (const cid of cids)
    for (const member of placed(cid)) {
      const ask = asks.get(member.peerId) ?? { member, cids: [] };
      ask.cids.push(cid);
      asks.set(member.peerId, ask);
    }
  const confirmations = new Map(cids.map((cid) => [cid, 0]));
  await Promise.all(
    [...asks.values()].map(async ({ member, cids: asked }) => {
      if (member.state !== 'alive') return;
      try {
        const { bits } = await client.call(
          targetOf(member, 'storage', client),
          storageRoutes.haveBlocks,
          { body: { cids: asked } },
          { signal },
        );
        const held = decodeBits(bits, asked.length);
        asked.forEach((cid, index) => {
          if (getBit(held, index)) confirmations.set(cid, (confirmations.get(cid) ?? 0) + 1);
        });
      } catch (err) {
        signal.throwIfAborted();
        log.debug({ err, peer: member.peerId }, 'copies not confirmed');
      }
    }),
  );
  return cids.filter((cid) => (confirmations.get(cid) ?? 0) >= pin.replicas);
}

/** One entry for each block: a DAG may list the same one many times. */
const distinct = (entries: readonly DagEntry[]): DagEntry[] => [
  ...new Map(entries.map((entry) => [entry.cid, entry])).values(),
];
