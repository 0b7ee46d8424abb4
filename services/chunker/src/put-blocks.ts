/**
 * The way of one file's blocks into this peer's storage: a bounded number in flight, answered in the
 * order of the file, buffers given back whatever happens.
 *
 * A put is never aborted when the upload fails: storage might finish it after the lease's end, and
 * the block would stay. So the few that are in flight are waited for, then the lease is ended.
 */
import assert from 'node:assert/strict';
import type { Chunk, DagNode } from '@shoal/blocks';
import type { PeerClient } from '@shoal/chassis';
import { type Cid, encodeFrames, type Lease, MiB, storageRoutes } from '@shoal/protocol';
import type { BufferPool } from './buffer-pool.ts';
import type { Metrics } from './metrics.ts';

/** Nodes are joined into bodies of about this size: far below what storage takes. */
const BATCH_SIZE_BYTES = MiB;

export interface Leaf {
  readonly cid: Cid;
  readonly sizeBytes: number;
}

export interface BlockPuts {
  takeBuffer(): Uint8Array | Promise<Uint8Array>;
  /** Sends a chunk; waits when enough are in flight. Gives the oldest leaves that became durable. */
  putLeaf(chunk: Chunk): Promise<Leaf[]>;
  /** Waits for all chunks; gives those leaves that were not given yet. */
  finishLeaves(): Promise<Leaf[]>;
  /** Sends nodes in batches; small rests wait for `finishNodes`. */
  putNodes(nodes: readonly DagNode[]): Promise<void>;
  finishNodes(): Promise<void>;
  /** Waits until nothing is in flight and every buffer is back. Never throws. */
  settle(): Promise<void>;
}

export function createBlockPuts(
  {
    peers,
    pool,
    metrics,
    putsMax,
    onFailure,
  }: {
    readonly peers: PeerClient;
    readonly pool: BufferPool;
    readonly metrics: Metrics;
    readonly putsMax: number;
    /** Told at once when a put fails, so that the body isn't read on in vain. */
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
  let nodes: DagNode[] = [];
  let nodesSizeBytes = 0;

  const storage = peers.own('storage');
  const giveBack = (buffer: Uint8Array) => {
    if (held.delete(buffer)) pool.giveBack(buffer);
    metrics.buffers.set(pool.inUse);
  };
  const send = async ({ buffer, bytes }: Chunk): Promise<Leaf> => {
    const timer = metrics.putDuration.startTimer();
    try {
      const { cid } = await peers.send(
        storage,
        storageRoutes.addBlock,
        { query: { codec: 'raw', lease }, bytes },
        { signal: stopping },
      );
      metrics.blocks.inc({ kind: 'leaf' });
      return { cid, sizeBytes: bytes.length };
    } finally {
      timer();
      giveBack(buffer);
    }
  };
  const flushNodes = async () => {
    if (nodes.length === 0) return;
    const batch = nodes;
    nodes = [];
    nodesSizeBytes = 0;
    const timer = metrics.putDuration.startTimer();
    const bytes = encodeFrames(batch.map((node) => ({ codec: 'dag-pb', bytes: node.bytes })));
    const { blocks } = await peers.send(
      storage,
      storageRoutes.addBlocks,
      { query: { lease }, bytes },
      { signal: stopping },
    );
    timer();
    assert.deepEqual(
      blocks.map(({ cid }) => cid),
      batch.map(({ cid }) => cid),
      'storage names a node as we do',
    );
    metrics.blocks.inc({ kind: 'node' }, batch.length);
  };

  return {
    async takeBuffer() {
      const buffer = await pool.take({ signal });
      held.add(buffer);
      metrics.buffers.set(pool.inUse);
      return buffer;
    },
    async putLeaf(chunk) {
      const put = send(chunk);
      inFlight.add(put);
      put.catch(onFailure).finally(() => inFlight.delete(put));
      ungiven.push(put);
      const done: Leaf[] = [];
      for (
        let [oldest] = ungiven;
        oldest !== undefined && ungiven.length >= putsMax;
        [oldest] = ungiven
      ) {
        done.push(await oldest);
        void ungiven.shift();
      }
      return done;
    },
    finishLeaves: () => Promise.all(ungiven.splice(0)),
    async putNodes(more) {
      for (const node of more) {
        nodes.push(node);
        nodesSizeBytes += node.bytes.length;
        if (nodesSizeBytes >= BATCH_SIZE_BYTES) await flushNodes();
      }
    },
    finishNodes: flushNodes,
    async settle() {
      await Promise.allSettled(inFlight);
      for (const buffer of held) giveBack(buffer);
    },
  };
}
