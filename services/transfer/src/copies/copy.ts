/**
 * A block from another peer's storage into our own. Our storage hashes what it is given and refuses
 * the rest, so nothing is kept that was not verified. Copies are few at a time over the whole
 * process: making replicas must not starve readers.
 */
import type { PeerClient } from '@shoal/chassis';
import { type Cid, type Lease, storageRoutes } from '@shoal/protocol';
import type { ReceivedBlock } from '../fetch/receive-block.ts';

/** Runs at most `max` tasks at a time; the others wait their turn, in order. */
export type Limit = <T>(task: () => Promise<T>) => Promise<T>;

export function createLimit(max: number): Limit {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (task) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next(); // hands its place over: `running` stays
    }
  };
}

/**
 * Stores a block that was received; gives its buffer back whatever happens.
 * `isYielding`: it takes room from nothing else.
 * @throws BlockCorrupt, StorageFull, ServiceUnavailable
 */
export async function keepBlock(
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
