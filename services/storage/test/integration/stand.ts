/** A store on a real disk whose clock, pins and rounds a test moves by hand. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDagBuilder, hashBlock } from '@shoal/blocks';
import { createLog, createRegistry } from '@shoal/chassis';
import type { Cid, Lease, SweepReport } from '@shoal/protocol';
import { digestOfCid } from '../../src/disk/block-record.ts';
import { type Blockstore } from '../../src/store/blockstore.ts';
import { createDagListings } from '../../src/dags/dag-listing.ts';
import { markDag, readNodeFrom } from '../../src/dags/dags.ts';
import { openDiskBlockstore } from '../../src/store/disk-blockstore.ts';
import type { PinPage } from '../../src/upkeep/live-pins.ts';
import { createMetrics } from '../../src/metrics.ts';
import { type SweepRound, sweepRound } from '../../src/upkeep/sweep-round.ts';

export interface TestBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}
export interface TestFile {
  readonly root: Cid;
  /** Each block once, nodes among them. */
  readonly blocks: readonly TestBlock[];
  readonly nodes: readonly TestBlock[];
}

export const blockOf = (bytes: Uint8Array): TestBlock => ({ cid: hashBlock('raw', bytes), bytes });

/** The DAG of a file whose chunks are these. */
export function fileOf(leaves: readonly TestBlock[]): TestFile {
  const dag = createDagBuilder();
  for (const { cid, bytes } of leaves) dag.addLeaf({ cid, sizeBytes: bytes.length });
  const { root, nodes } = dag.finish();
  const blocks = [...new Map([...leaves, ...nodes].map((block) => [block.cid, block])).values()];
  return { root, blocks, nodes };
}

export const GRACE_MS = 1000;

export async function openStand() {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-store-'));
  const log = createLog('storage', 'silent');
  const clock = { nowMs: 1_700_000_000_000 };
  const nowMs = () => clock.nowMs;
  const pins = new Map<Cid, number>();
  const swarm = { isCurrent: true };
  const open = (): Promise<Blockstore> =>
    openDiskBlockstore({
      dir,
      isDurable: false,
      capacityBytes: undefined,
      reserveBytes: 0,
      repairShare: 0,
      readsMax: 4,
      waitingMax: 64,
      leaseIdleMs: 3_600_000,
      scrubIntervalMs: 100_000,
      nowMs,
      uptimeMs: nowMs,
      metrics: createMetrics(createRegistry('storage')),
      log,
    });
  let store = await open();
  const listingsOf = (of: Blockstore) =>
    createDagListings({ readNode: (cid) => readNodeFrom(of, cid), blocksMax: 0 });
  const pages = async function* (): AsyncGenerator<PinPage> {
    yield {
      pins: [...pins].map(([root, replicas]) => ({ root, replicas })),
      isCurrent: swarm.isCurrent,
    };
  };

  return {
    dir,
    clock,
    pins,
    swarm,
    pages,
    get store() {
      return store;
    },
    put: (block: TestBlock, lease?: Lease) => store.put(digestOfCid(block.cid), block.bytes, lease),
    async putFile(file: TestFile, lease?: Lease): Promise<void> {
      for (const { cid, bytes } of file.blocks) await store.put(digestOfCid(cid), bytes, lease);
    },
    mark: (file: TestFile, replicas: number) =>
      markDag(store, listingsOf(store), file.root, replicas),
    isHeld: (block: TestBlock) => store.find(digestOfCid(block.cid)) !== undefined,
    isConfirmed: (block: TestBlock) => store.findConfirmed(digestOfCid(block.cid)) !== undefined,
    pathOf: (block: TestBlock) => {
      const digest = digestOfCid(block.cid);
      return join(dir, 'blocks', digest.slice(0, 2), digest);
    },
    /** One round; `livePins` stands in for the pins above when given. */
    round: (
      options: { isDryRun?: boolean; livePins?: () => AsyncIterable<PinPage> } = {},
    ): Promise<SweepRound> =>
      sweepRound(
        {
          store,
          livePins: options.livePins ?? pages,
          listings: listingsOf(store),
          graceMs: GRACE_MS,
          nowMs,
          uptimeMs: nowMs,
          log,
        },
        { isDryRun: options.isDryRun ?? false },
        { signal: new AbortController().signal },
      ),
    async sweep(options: { isDryRun?: boolean } = {}): Promise<SweepReport> {
      return (await this.round(options)).report;
    },
    async reopen(): Promise<void> {
      await store[Symbol.asyncDispose]();
      store = await open();
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
export type Stand = Awaited<ReturnType<typeof openStand>>;
