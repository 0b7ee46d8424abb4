/**
 * Storing a block that was received from another peer. Our storage hashes what it is given and refuses the
 * rest, so nothing is stored that was not verified.
 */
import type { PeerClient } from '@shoal/chassis';
import { type Cid, type Lease, storageRoutes } from '@shoal/protocol';
import type { ReceivedBlock } from '../fetch/receive-block.ts';

/**
 * Stores a block, and gives its buffer back whatever happens.
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
