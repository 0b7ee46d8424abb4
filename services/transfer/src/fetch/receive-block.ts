/**
 * One block from one storage, into a pooled buffer, hashed when the last byte is here.
 *
 * An answer whose length is not the block's is refused at its head, before a byte of it is taken.
 */
import { type BufferPool, Deadline, type PeerClient, type Target } from '@shoal/chassis';
import { verify } from '@shoal/blocks';
import {
  BLOCK_SIZE_MAX_BYTES,
  BlockCorrupt,
  BlockNotFound,
  type Cid,
  type Lease,
  routePath,
  storageRoutes,
} from '@shoal/protocol';
import type { Outcome } from '@shoal/swarm';

/** A verified block. `release` gives its buffer back; the bytes are gone then. */
export interface ReceivedBlock {
  readonly bytes: Buffer;
  readonly release: () => void;
}

/** How a request for a block that failed has ended. */
export function outcomeOf(error: unknown, { aborted }: AbortSignal): Exclude<Outcome, 'verified'> {
  if (aborted) return 'cancelled';
  if (error instanceof BlockCorrupt) return 'corrupt';
  return error instanceof BlockNotFound ? 'absent' : 'failed';
}

/** A block, and what its manifest says of its size; undefined when nothing does. */
export interface SizedWant {
  readonly cid: Cid;
  readonly sizeBytes: number | undefined;
}

/**
 * Receives and verifies a block.
 * @throws BlockCorrupt for bytes that are not the block; BlockNotFound; Error for a peer that fails.
 */
export type ReceiveBlock = (
  want: SizedWant,
  target: Target,
  options: { signal: AbortSignal },
) => Promise<ReceivedBlock>;

export function createReceiveBlock({
  client,
  pool,
  stallMs,
  timeoutMs,
}: {
  readonly client: PeerClient;
  readonly pool: BufferPool;
  readonly stallMs: number;
  readonly timeoutMs: number;
}): ReceiveBlock {
  return async ({ cid, sizeBytes }, target, { signal }) => {
    const wrong = () => new BlockCorrupt({ cid, peer: target.peerId });
    let buffer: Buffer | undefined;
    let isPooled = false;
    let bodyBytes = 0;
    const release = () => {
      if (buffer !== undefined && isPooled) pool.give(buffer);
      buffer = undefined;
    };
    const onHead = (status: number, lengthBytes: number): Uint8Array | undefined => {
      if (status === 404) throw new BlockNotFound({ cid });
      if (status !== 200) throw new Error(`a block was answered with ${status}`);
      if (lengthBytes !== (sizeBytes ?? lengthBytes) || lengthBytes > BLOCK_SIZE_MAX_BYTES)
        throw wrong();
      bodyBytes = lengthBytes;
      buffer = pool.take();
      isPooled = lengthBytes <= buffer.length;
      if (isPooled) return buffer;
      // A block over a pooled buffer's size is rare (not cut by us): it gets a buffer of its own.
      pool.give(buffer);
      buffer = Buffer.allocUnsafeSlow(lengthBytes);
      return buffer;
    };
    using deadline = new Deadline(timeoutMs, signal);
    try {
      await client.receive(target, routePath(storageRoutes.getBlock.path, { cid }), {
        onHead,
        stallMs,
        signal: deadline.signal,
      });
      if (buffer === undefined) throw wrong();
      const bytes = (buffer as Buffer).subarray(0, bodyBytes);
      if (!verify(cid, bytes)) throw wrong();
      return { bytes, release };
    } catch (error) {
      release();
      throw error;
    }
  };
}

/**
 * Stores a block that was received, and gives its buffer back in any case. Our storage hashes what it is given
 * and refuses the rest, so nothing is stored that was not verified.
 * `isYielding`: it takes room from nothing else.
 * @throws BlockCorrupt, StorageFull, ServiceUnavailable
 */
export async function storeBlock(
  client: PeerClient,
  cid: Cid,
  block: ReceivedBlock,
  lease: Lease | undefined,
  { signal, isYielding = false }: { signal: AbortSignal; isYielding?: boolean },
): Promise<void> {
  const yields = isYielding ? ({ yields: 'true' } as const) : {};
  try {
    await client.send(
      client.own('storage'),
      storageRoutes.putBlock,
      { params: { cid }, query: { lease, ...yields }, bytes: block.bytes },
      { signal },
    );
  } finally {
    block.release();
  }
}
