/**
 * The way of one upload's blocks into this peer's storage: a bounded number in flight, answered in the
 * order of the file, buffers given back whatever happens.
 *
 * Chunks go one by one and are hashed by storage alone. Blocks whose names are known already, which
 * are nodes and small files, are joined into batches, since a request for each would cost more than
 * the block.
 *
 * A put is never aborted when the upload fails: storage might finish it after the lease's end, and
 * the block would stay. So the few that are in flight are waited for, then the lease is ended.
 */
import assert from 'node:assert/strict';
import { type Chunk, codecOf } from '@shoal/blocks';
import type { PeerClient } from '@shoal/chassis';
import { type Cid, encodeFrames, type Lease, MiB, storageRoutes } from '@shoal/protocol';
import type { ChunkBuffers } from './chunk-buffers.ts';
import type { Metrics } from '../metrics.ts';

/** A batch is closed before it grows past this: storage has most buffers of that size. */
const BATCH_SIZE_BYTES = MiB;
/** Blocks in a batch: storage writes a file for each. */
const BATCH_BLOCKS_MAX = 512;
/** What a block's frame adds to it (frames.ts). */
const FRAME_OVERHEAD_BYTES = 5;

export interface Leaf {
  readonly cid: Cid;
  readonly sizeBytes: number;
}

/** A block that was hashed already. Its bytes must not change before the batch is sent. */
export interface NamedBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

export interface BlockPuts {
  takeBuffer(): Uint8Array | Promise<Uint8Array>;
  /** Takes a buffer back that is not needed after all. */
  giveBack(buffer: Uint8Array): void;
  /** Sends a chunk; waits when enough are in flight. Gives the oldest leaves that became durable. */
  putLeaf(chunk: Chunk): Promise<Leaf[]>;
  /** Waits for all chunks; gives those leaves that were not given yet. */
  finishLeaves(): Promise<Leaf[]>;
  /** After a failure: waits for what is in flight; gives the leaves before the first that failed. */
  rescueLeaves(): Promise<Leaf[]>;
  /** Sends blocks in batches, one batch at a time; small rests wait for `finish`. */
  putNamed(blocks: readonly NamedBlock[]): Promise<void>;
  /** Waits until every named block is durable. */
  finish(): Promise<void>;
  /** Waits until nothing is in flight and every buffer is back. Never throws. */
  drain(): Promise<void>;
}

export function createBlockPuts(
  {
    client,
    buffers,
    metrics,
    putsMax,
    onLeaf = () => {},
    onFailure,
  }: {
    readonly client: PeerClient;
    readonly buffers: ChunkBuffers;
    readonly metrics: Metrics;
    readonly putsMax: number;
    /** Called for each raw block once it is durable. */
    readonly onLeaf?: (cid: Cid) => void;
    /** Called at once when a put fails, so that the body is not read any further. */
    readonly onFailure: (error: unknown) => void;
  },
  lease: Lease,
  /** `signal` ends the waits of the upload, `stopping` the puts themselves. */
  { signal, stopping }: { signal: AbortSignal; stopping: AbortSignal },
): BlockPuts {
  const held = new Set<Uint8Array>();
  /** Puts whose leaves were not given yet, in the order of the file. */
  const ungiven: Promise<Leaf>[] = [];
  const inFlight = new Set<Promise<unknown>>();
  let batch: NamedBlock[] = [];
  let batchSizeBytes = 0;
  let batches: Promise<void> = Promise.resolve();

  const storage = client.own('storage');
  const giveBack = (buffer: Uint8Array) => {
    if (held.delete(buffer)) buffers.giveBack(buffer);
    metrics.buffers.set(buffers.inUse);
  };
  const track = (put: Promise<unknown>) => {
    inFlight.add(put);
    put.catch(onFailure).finally(() => inFlight.delete(put));
  };
  const send = async ({ buffer, bytes }: Chunk): Promise<Leaf> => {
    const timer = metrics.putDuration.startTimer();
    try {
      const { cid } = await client.send(
        storage,
        storageRoutes.addBlock,
        { query: { codec: 'raw', lease }, bytes },
        { signal: stopping },
      );
      metrics.blocks.inc({ kind: 'leaf' });
      onLeaf(cid);
      return { cid, sizeBytes: bytes.length };
    } finally {
      timer();
      giveBack(buffer);
    }
  };
  const sendBatch = async (blocks: readonly NamedBlock[]): Promise<void> => {
    const timer = metrics.putDuration.startTimer();
    const frames = blocks.map(({ cid, bytes }) => ({ codec: codecOf(cid), bytes }));
    const reply = await client.send(
      storage,
      storageRoutes.addBlocks,
      { query: { lease }, bytes: encodeFrames(frames) },
      { signal: stopping },
    );
    timer();
    const named = reply.blocks.map(({ cid }) => cid);
    const known = blocks.map(({ cid }) => cid);
    assert.deepEqual(named, known, 'storage names a block as we do');
    for (const [at, { codec }] of frames.entries()) {
      metrics.blocks.inc({ kind: codec === 'raw' ? 'leaf' : 'node' });
      if (codec === 'raw') onLeaf(known[at] as Cid); // as long as `frames`
    }
  };
  /** When one of them fails, all stay ungiven. */
  const giveOldest = async (count: number): Promise<Leaf[]> => {
    const leaves = await Promise.all(ungiven.slice(0, count));
    void ungiven.splice(0, count);
    return leaves;
  };
  /** Queues the open batch behind those before; waits for those alone, so that one more fills. */
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    const full = batch;
    batch = [];
    batchSizeBytes = 0;
    const before = batches;
    batches = before.then(() => sendBatch(full));
    track(batches);
    await before;
  };

  return {
    async takeBuffer() {
      const buffer = await buffers.take({ signal });
      held.add(buffer);
      metrics.buffers.set(buffers.inUse);
      return buffer;
    },
    giveBack,
    async putLeaf(chunk) {
      const put = send(chunk);
      track(put);
      ungiven.push(put);
      return giveOldest(Math.max(ungiven.length - putsMax + 1, 0));
    },
    finishLeaves: () => giveOldest(ungiven.length),
    async rescueLeaves() {
      const ends = await Promise.allSettled(ungiven);
      const failedAt = ends.findIndex(({ status }) => status === 'rejected');
      return giveOldest(failedAt < 0 ? ends.length : failedAt);
    },
    async putNamed(blocks) {
      for (const block of blocks) {
        const sizeBytes = block.bytes.length + FRAME_OVERHEAD_BYTES;
        // Looked at again: others may have filled the next batch meanwhile.
        while (
          batch.length >= BATCH_BLOCKS_MAX ||
          (batch.length > 0 && batchSizeBytes + sizeBytes > BATCH_SIZE_BYTES)
        )
          await flush();
        batch.push(block);
        batchSizeBytes += sizeBytes;
      }
    },
    async finish() {
      await flush();
      await batches;
    },
    async drain() {
      await Promise.allSettled(inFlight);
      for (const buffer of held) giveBack(buffer);
    },
  };
}
