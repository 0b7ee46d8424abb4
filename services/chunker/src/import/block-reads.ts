/** Reads whole blocks into memory: from our own storage, and from the swarm. */
import { decodeBits, getBit, verify } from '@shoal/blocks';
import type { PeerClient, Target } from '@shoal/chassis';
import {
  BLOCK_SIZE_MAX_BYTES,
  type Cid,
  CIDS_PER_BATCH_MAX,
  type Lease,
  routePath,
  type Service,
  ServiceUnavailable,
  storageRoutes,
} from '@shoal/protocol';

/** Longest silence of a service of this peer, before its answer or in it; asking the swarm included. */
const STALL_MS = 15_000;

/**
 * Puts those blocks under a lease that are here already, so that nothing takes them away; answers which
 * are. @throws ServiceUnavailable
 */
export async function holdPresent(
  cids: readonly Cid[],
  { client, lease }: { readonly client: PeerClient; readonly lease: Lease },
  { signal }: { signal: AbortSignal },
): Promise<ReadonlySet<Cid>> {
  const present = new Set<Cid>();
  for (let from = 0; from < cids.length; from += CIDS_PER_BATCH_MAX) {
    const batch = cids.slice(from, from + CIDS_PER_BATCH_MAX);
    const { bits } = await client.call(
      client.own('storage'),
      storageRoutes.leaseBlocks,
      { params: { lease }, body: { cids: batch } },
      { signal },
    );
    const held = decodeBits(bits, batch.length);
    for (const [at, cid] of batch.entries()) if (getBit(held, at)) present.add(cid);
  }
  return present;
}

/** A block of our own storage, in memory of its own; undefined when it is not here, or damaged. */
export async function readOwn(
  cid: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const path = routePath(storageRoutes.getBlock.path, { cid });
  const bytes = await readFrom(client, 'storage', path, { signal });
  if (bytes === undefined || verify(cid, bytes)) return bytes;
  // Storage sets the damaged block aside, so that the same bytes can be put again.
  await client.call(
    client.own('storage'),
    storageRoutes.checkBlock,
    { params: { cid } },
    { signal },
  );
  return undefined;
}

/** A block that any member holds, by way of our own transfer; undefined when nobody has it. */
export async function readFromSwarm(
  cid: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const bytes = await readFrom(client, 'transfer', `/ipfs/${cid}?format=raw`, { signal });
  return bytes !== undefined && verify(cid, bytes) ? bytes : undefined;
}

/** @throws ServiceUnavailable for every answer but 200 and 404. */
async function readFrom(
  client: PeerClient,
  service: Service,
  path: string,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const target: Target = client.own(service);
  let status = 0;
  let bytes: Uint8Array | undefined;
  try {
    await client.receive(target, path, {
      onHead(answered, sizeBytes) {
        status = answered;
        if (answered !== 200) return undefined;
        if (sizeBytes > BLOCK_SIZE_MAX_BYTES) throw new Error(`a block of ${sizeBytes} bytes`);
        return (bytes = Buffer.allocUnsafeSlow(sizeBytes));
      },
      stallMs: STALL_MS,
      signal,
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw new ServiceUnavailable({ service }, { cause });
  }
  if (status !== 200 && status !== 404) throw new ServiceUnavailable({ service });
  return bytes;
}
