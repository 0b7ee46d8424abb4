/** The chunks of a resumable upload in this peer's storage: held on to, looked for, and read back. */
import { decodeBits, getBit, verify } from '@shoal/blocks';
import type { PeerClient } from '@shoal/chassis';
import {
  CHUNK_SIZE_BYTES,
  CIDS_PER_BATCH_MAX,
  routePath,
  ServiceUnavailable,
  storageRoutes,
} from '@shoal/protocol';
import type { ResumableUpload } from './upload-state.ts';

/** Longest silence of our own storage, before a block or in it; then the block is unavailable for now. */
const READ_STALL_MS = 15_000;

/** A chunk that was durable is gone: its disk was lost, or it was found damaged. */
export class LeafLost extends Error {
  readonly index: number;
  constructor(index: number) {
    super(`chunk ${index} is gone`);
    this.index = index;
  }
}

/**
 * Puts all chunks under the upload's lease once more, so that it does not age out, and a storage that
 * was started anew knows it again.
 * @throws LeafLost with the first that is not there; ServiceUnavailable
 */
export async function holdLeaves(
  { leaves, log }: Pick<ResumableUpload, 'leaves' | 'log'>,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { lease } = log.head;
  for (let from = 0; from < leaves.count; from += CIDS_PER_BATCH_MAX) {
    const cids = leaves.slice(from, CIDS_PER_BATCH_MAX);
    const { bits } = await client.call(
      client.own('storage'),
      storageRoutes.leaseBlocks,
      { params: { lease }, body: { cids } },
      { signal },
    );
    const held = decodeBits(bits, cids.length);
    const lost = cids.findIndex((_, at) => !getBit(held, at));
    if (lost >= 0) throw new LeafLost(from + lost);
  }
}

/** A reader of chunks; what it gives is valid until the next one is read. */
export function createLeafReader(
  { leaves }: Pick<ResumableUpload, 'leaves'>,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): (index: number) => Promise<Uint8Array> {
  const storage = client.own('storage');
  let buffer: Uint8Array | undefined;

  return async (index) => {
    buffer ??= Buffer.allocUnsafeSlow(CHUNK_SIZE_BYTES);
    const into = buffer;
    const cid = leaves.at(index);
    let answer = { status: 0, sizeBytes: 0 };
    try {
      await client.receive(storage, routePath(storageRoutes.getBlock.path, { cid }), {
        onHead(status, sizeBytes) {
          answer = { status, sizeBytes };
          return status === 200 && sizeBytes <= CHUNK_SIZE_BYTES ? into : undefined;
        },
        stallMs: READ_STALL_MS,
        signal,
      });
    } catch (cause) {
      signal.throwIfAborted();
      throw new ServiceUnavailable({ service: 'storage' }, { cause });
    }
    if (answer.status === 404) throw new LeafLost(index);
    if (answer.status !== 200) throw new ServiceUnavailable({ service: 'storage' });
    const bytes = into.subarray(0, answer.sizeBytes);
    if (verify(cid, bytes)) return bytes;
    // Storage sets the damaged block aside, so that the same bytes can be put again.
    await client.call(storage, storageRoutes.checkBlock, { params: { cid } }, { signal });
    throw new LeafLost(index);
  };
}
