/**
 * The way of one upload's blocks into this peer's storage: a bounded number in flight, answered in the
 * order of the file, buffers given back in every case.
 *
 * Chunks go one by one and are hashed by storage alone; blocks whose names are known already go in batches: to this
 * peer's storage, or, where the upload waits for copies of all of them, to its transfer service, which stores each where
 * it belongs.
 *
 * A put is never aborted when the upload fails: storage might finish it after the lease's end, and
 * the block would stay. So the few that are in flight are waited for, then the lease is ended.
 */
import assert from 'node:assert/strict';
import { type Chunk, codecOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  encodeFrames,
  type Lease,
  SMALL_BLOCKS_MAX,
  storageRoutes,
} from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import type { ChunkBuffers } from './chunk-buffers.ts';
import { type NamedBlock, NamedBatches } from './named-batches.ts';
import { sendSmall } from './small-files.ts';

/** Blocks in a batch for our storage, which writes a file for each. */
const BATCH_BLOCKS_MAX = 512;

export interface Leaf {
  readonly cid: Cid;
  readonly sizeBytes: number;
}

/** Copies that named blocks get on their way in. */
export interface SpreadWishes {
  readonly replicas: number;
  /** Copies of each to wait for. */
  readonly copies: number;
}

interface SendDeps {
  readonly client: PeerClient;
  readonly metrics: Metrics;
  /** Called for each raw block once it is durable. */
  readonly onLeaf: (cid: Cid) => void;
  readonly log: Log;
}

interface PutDeps extends SendDeps {
  readonly buffers: ChunkBuffers;
  readonly putsMax: number;
  /** Called at once when a put fails, so that the body is not read any further. */
  readonly onFailure: (error: unknown) => void;
  readonly spread: SpreadWishes | undefined;
  /** Called before members are given blocks under the lease. */
  readonly onSpread: () => void;
}

export class BlockPuts {
  readonly #deps: PutDeps;
  readonly #lease: Lease;
  readonly #signals: { readonly signal: AbortSignal; readonly stopping: AbortSignal };
  readonly #held = new Set<Uint8Array>();
  /** Puts whose leaves were not given yet, in the order of the file. */
  readonly #ungiven: Promise<Leaf>[] = [];
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #batches: NamedBatches;
  #copies: number;

  /** @param signals `signal` ends the waits of the upload, `stopping` the puts themselves. */
  constructor(
    deps: PutDeps,
    lease: Lease,
    signals: { readonly signal: AbortSignal; readonly stopping: AbortSignal },
  ) {
    this.#deps = deps;
    this.#lease = lease;
    this.#signals = signals;
    const { spread } = deps;
    this.#copies = spread?.replicas ?? 1;
    this.#batches = new NamedBatches(
      (blocks) => (spread === undefined ? this.#store(blocks) : this.#spread(blocks, spread)),
      (batch) => this.#track(batch),
      { blocksMax: spread === undefined ? BATCH_BLOCKS_MAX : SMALL_BLOCKS_MAX },
    );
  }

  /** Fewest copies that were confirmed of a block, of those that are durable: 1 once a block is here alone. */
  get copies(): number {
    return this.#copies;
  }

  async takeBuffer(): Promise<Uint8Array> {
    const { buffers, metrics } = this.#deps;
    const buffer = await buffers.take({ signal: this.#signals.signal });
    this.#held.add(buffer);
    metrics.buffers.set(buffers.inUse);
    return buffer;
  }

  /** Takes a buffer back that is not needed after all. */
  giveBack(buffer: Uint8Array): void {
    const { buffers, metrics } = this.#deps;
    if (this.#held.delete(buffer)) buffers.giveBack(buffer);
    metrics.buffers.set(buffers.inUse);
  }

  /** Sends a chunk; waits when enough are in flight. Gives the oldest leaves that became durable. */
  async putLeaf({ buffer, bytes }: Chunk): Promise<Leaf[]> {
    this.#copies = 1;
    const sending = sendLeaf(bytes, this.#lease, this.#deps, { signal: this.#signals.stopping });
    const put = sending.finally(() => this.giveBack(buffer));
    this.#track(put);
    this.#ungiven.push(put);
    return await this.#giveOldest(Math.max(this.#ungiven.length - this.#deps.putsMax + 1, 0));
  }

  /** Waits for all chunks; gives those leaves that were not given yet. */
  finishLeaves(): Promise<Leaf[]> {
    return this.#giveOldest(this.#ungiven.length);
  }

  /** After a failure: waits for what is in flight; gives the leaves before the first that failed. */
  async rescueLeaves(): Promise<Leaf[]> {
    const ends = await Promise.allSettled(this.#ungiven);
    const failedAt = ends.findIndex(({ status }) => status === 'rejected');
    return await this.#giveOldest(failedAt < 0 ? ends.length : failedAt);
  }

  /** Sends blocks in batches, one batch at a time; small rests wait for `finish`. */
  putNamed(blocks: readonly NamedBlock[]): Promise<void> {
    return this.#batches.put(blocks);
  }

  /** Waits until every named block is durable. */
  finish(): Promise<void> {
    return this.#batches.finish();
  }

  /** Waits until nothing is in flight and every buffer is back. Never throws. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#inFlight);
    for (const buffer of this.#held) this.giveBack(buffer);
  }

  #track(put: Promise<unknown>): void {
    this.#inFlight.add(put);
    put.catch(this.#deps.onFailure).finally(() => this.#inFlight.delete(put));
  }

  /** When one of them fails, all stay ungiven. */
  async #giveOldest(count: number): Promise<Leaf[]> {
    const leaves = await Promise.all(this.#ungiven.slice(0, count));
    void this.#ungiven.splice(0, count);
    return leaves;
  }

  async #store(blocks: readonly NamedBlock[]): Promise<void> {
    this.#copies = 1;
    await sendBatch(blocks, this.#lease, this.#deps, { signal: this.#signals.stopping });
  }

  async #spread(blocks: readonly NamedBlock[], wishes: SpreadWishes): Promise<void> {
    this.#deps.onSpread();
    const query = { ...wishes, lease: this.#lease };
    const copies = await sendSpread(blocks, query, this.#deps, { signal: this.#signals.stopping });
    const isStored = (at: number) => (copies[at] ?? 0) > 0;
    this.#copies = Math.min(this.#copies, ...copies.filter((_, at) => isStored(at)));
    const rest = blocks.filter((_, at) => !isStored(at));
    if (rest.length > 0) await this.#store(rest);
  }
}

async function sendLeaf(
  bytes: Uint8Array,
  lease: Lease,
  { client, metrics, onLeaf }: SendDeps,
  { signal }: { signal: AbortSignal },
): Promise<Leaf> {
  const timer = metrics.putDuration.startTimer();
  try {
    const { cid } = await client.send(
      client.own('storage'),
      storageRoutes.addBlock,
      { query: { codec: 'raw', lease }, bytes },
      { signal },
    );
    metrics.blocks.inc({ kind: 'leaf' });
    onLeaf(cid);
    return { cid, sizeBytes: bytes.length };
  } finally {
    timer();
  }
}

/** Answers for each block how many peers have it; 0: it must be stored here. */
async function sendSpread(
  blocks: readonly NamedBlock[],
  query: SpreadWishes & { readonly lease: Lease },
  { client, metrics, log }: SendDeps,
  { signal }: { signal: AbortSignal },
): Promise<readonly number[]> {
  try {
    const copies = await sendSmall(blocks, query, client, { signal });
    for (const [at, { cid }] of blocks.entries())
      if ((copies[at] ?? 0) > 0)
        metrics.blocks.inc({ kind: codecOf(cid) === 'raw' ? 'leaf' : 'node' });
    return copies;
  } catch (err) {
    signal.throwIfAborted();
    log.debug({ err, blocks: blocks.length }, 'blocks not spread, storing them here');
    return [];
  }
}

async function sendBatch(
  blocks: readonly NamedBlock[],
  lease: Lease,
  { client, metrics, onLeaf }: SendDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const timer = metrics.putDuration.startTimer();
  const frames = blocks.map(({ cid, bytes }) => ({ codec: codecOf(cid), bytes }));
  const reply = await client.send(
    client.own('storage'),
    storageRoutes.addBlocks,
    { query: { lease }, bytes: encodeFrames(frames) },
    { signal },
  );
  timer();
  const named = reply.blocks.map(({ cid }) => cid);
  const known = blocks.map(({ cid }) => cid);
  assert.deepEqual(named, known, 'storage names a block as we do');
  for (const [at, { codec }] of frames.entries()) {
    metrics.blocks.inc({ kind: codec === 'raw' ? 'leaf' : 'node' });
    if (codec === 'raw') onLeaf(known[at] as Cid); // as long as `frames`
  }
}
