/**
 * Settle: make what this peer holds of a file what placement says it should hold.
 *
 * One pass over one file: manifest nodes here, leaves placed on us here, the rest dropped. It is what
 * finishes a distribution that the upload's offers began, what fills a peer that was away or joined,
 * what moves a stand-in's copies home, what makes copies anew that a peer could not prove, and what
 * empties a peer that leaves. It starts from the truth each time (pin, members, what is on disk), so it is
 * idempotent: it may run at any time, twice, or after every queue was lost.
 *
 * A deleted file that can be brought back is settled like any other, since it must come back whole; but
 * its new copies take room from nothing else.
 */
import { type DagEntry, heldOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  BlockNotFound,
  type Cid,
  discoveryRoutes,
  ManifestIncomplete,
  type Pin,
  storageRoutes,
} from '@shoal/protocol';
import type { ListedBlocks, ListedDag, ListedWant } from '../fetch/listed-blocks.ts';
import { heldHere } from '../copies/confirmations.ts';
import type { CopyProofs } from '../copies/copy-proofs.ts';
import { dropSurplus, unretire } from './drop-surplus.ts';
import type { Manifests } from '../file/manifests.ts';
import { countedHolders, isDraining, type MemberView } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import { pinToSettle } from '../peers/pins.ts';
import type { Repaired, Repairs } from '../copies/repairs.ts';

export interface SettleDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly listed: ListedBlocks;
  readonly manifests: Manifests;
  readonly repairs: Repairs;
  readonly proofs: CopyProofs;
  readonly metrics: Metrics;
  readonly log: Log;
}

export interface Settled {
  /** False when something is still missing or surplus: look again later. */
  readonly isSettled: boolean;
  readonly copiedBlocks: number;
  readonly droppedBlocks: number;
  /** The pin that it was settled for; undefined when there was none. */
  readonly pin: Pin | undefined;
}

/** @throws Problem when a service of this peer does not answer, or the manifest can't be had. */
export async function settle(
  root: Cid,
  deps: SettleDeps,
  { signal }: { signal: AbortSignal },
): Promise<Settled> {
  const { client, view, listed, manifests } = deps;
  const pin = await pinToSettle(root, client, { signal });
  if (pin === undefined) return { isSettled: true, copiedBlocks: 0, droppedBlocks: 0, pin };

  using dag = listed.open(root, { signal, asksAtOnce: false });
  const entries = await manifests.list(pin, dag, { signal });
  const placed = (cid: Cid) => countedHolders(view, cid, pin.replicas);
  const isMine = ({ cid, kind }: DagEntry) =>
    kind === 'node' || placed(cid).some(({ isSelf }) => isSelf);

  // First of all, so that what the sweep has condemned meanwhile counts again.
  await mark(pin, client, { signal });
  const lookedAtMs = performance.now();
  const { held, mended } = await look(pin, entries, dag, deps, { signal });
  const missing = distinct(entries.filter((entry) => isMine(entry) && !held.has(entry.cid)));
  const isYielding = pin.deleted;
  const leaves = await copyMissing(missing, entries, dag, deps, { lookedAtMs, isYielding, signal });
  const copiedBlocks = mended.copied.length + leaves.copied.length;
  if (copiedBlocks > 0) await mark(pin, client, { signal });
  const surplus = distinct(entries.filter((entry) => !isMine(entry) && held.has(entry.cid)));
  if (copiedBlocks > 0 || surplus.length === 0) await announce(root, client, { signal });
  const droppedBlocks = await dropSurplus(
    surplus.map(({ cid }) => cid),
    pin,
    placed,
    { ...deps, isLeaving: isDraining(view) },
    { signal },
  );
  if (droppedBlocks > 0) await announce(root, client, { signal });
  const isWhole = leaves.copied.length === missing.length;
  return {
    isSettled: isWhole && droppedBlocks === surplus.length,
    copiedBlocks,
    droppedBlocks,
    pin,
  };
}

const NOTHING: Repaired = { copied: [], failedBlocks: 0, isFull: false };

/** Looks at what is here of the DAG. A manifest with gaps is mended first: without it nothing can be listed. */
async function look(
  pin: Pin,
  entries: readonly DagEntry[],
  dag: ListedDag,
  deps: SettleDeps,
  { signal }: { signal: AbortSignal },
): Promise<{ held: Set<Cid>; mended: Repaired }> {
  const { client, view } = deps;
  let mended = NOTHING;
  const lookedAtMs = performance.now();
  let held = await askHeld(pin.root, entries, client, { signal });
  const nodes = distinct(entries.filter(({ kind }) => kind === 'node'));
  if (held === undefined && nodes.length > 0) {
    const here = new Set(
      await heldHere(
        nodes.map(({ cid }) => cid),
        client,
        { signal },
      ),
    );
    const gaps = nodes.filter(({ cid }) => !here.has(cid));
    mended = await copyMissing(gaps, entries, dag, deps, {
      lookedAtMs,
      isYielding: pin.deleted,
      signal,
    });
    if (mended.copied.length > 0) await mark(pin, client, { signal });
    held = await askHeld(pin.root, entries, client, { signal });
    if (held === undefined) throw new ManifestIncomplete({ root: pin.root, cid: pin.root });
  }
  held ??= new Set();
  if (!isDraining(view)) return { held, mended };
  // A drop that a crash of this service cut short left blocks that storage no longer speaks of. A
  // peer that leaves for good must not forget them.
  const silent = entries.filter(({ cid, kind }) => kind === 'leaf' && !held?.has(cid));
  await unretire(
    distinct(silent).map(({ cid }) => cid),
    client,
  );
  held = (await askHeld(pin.root, entries, client, { signal })) ?? held;
  return { held, mended };
}

/** Asks our storage what it holds of the DAG; undefined without its root or one of its nodes. */
async function askHeld(
  root: Cid,
  entries: readonly DagEntry[],
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Set<Cid> | undefined> {
  try {
    const args = { params: { cid: root } };
    const haveMap = await client.call(client.own('storage'), storageRoutes.haveMap, args, {
      signal,
    });
    return new Set(heldOf(entries, haveMap.bits).map(({ cid }) => cid));
  } catch (error) {
    if (isListless(error)) return undefined;
    throw error;
  }
}

/** Copies blocks that are missing here, those with the fewest holders first. */
async function copyMissing(
  missing: readonly DagEntry[],
  entries: readonly DagEntry[],
  dag: ListedDag,
  { repairs }: SettleDeps,
  options: { lookedAtMs: number; isYielding: boolean; signal: AbortSignal },
): Promise<Repaired> {
  if (missing.length === 0) return NOTHING;
  const indexes = new Map(entries.map(({ cid }, index) => [cid, index]));
  await dag.learn();
  const wants = missing
    .map(({ cid }): ListedWant & { holders: number } => {
      const index = indexes.get(cid);
      const holders = index === undefined ? 0 : dag.countHolders(index);
      // A size in a parent may be wrong, in DAGs that came as they are: the hash decides.
      return { cid, index, sizeBytes: undefined, holders };
    })
    .toSorted((a, b) => (a.holders || Infinity) - (b.holders || Infinity));
  return repairs.copy(wants, (want, { signal }) => dag.fetch(want, { signal }), options);
}

/** Marks what we hold as pinned. A lone block that is placed on others is not here to be marked. */
async function mark(
  { root, replicas }: Pin,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  try {
    const args = { params: { cid: root }, body: { replicas } };
    await client.call(client.own('storage'), storageRoutes.keepDag, args, { signal });
  } catch (error) {
    if (!isListless(error)) throw error;
  }
}

/** The root, or a node below it, is not here: our storage can't list the DAG. */
const isListless = (error: unknown): boolean =>
  error instanceof BlockNotFound || error instanceof ManifestIncomplete;

async function announce(
  root: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const target = client.own('discovery');
  await client.call(target, discoveryRoutes.announce, { body: { roots: [root] } }, { signal });
}

/** One entry for each block: a DAG may list the same one many times. */
const distinct = (entries: readonly DagEntry[]): DagEntry[] => [
  ...new Map(entries.map((entry) => [entry.cid, entry])).values(),
];
