import { hashBlock } from '@shoal/blocks';
import { createLog, createRegistry, type PeerClient } from '@shoal/chassis';
import { CHUNK_SIZE_BYTES } from '@shoal/protocol';
import { openHold } from '../../src/intake/hold.ts';
import type { IntakeDeps } from '../../src/intake/intake.ts';
import { createMetrics } from '../../src/metrics.ts';

const { signal } = new AbortController();

/** An intake's surroundings on paper; discovery answers each pin with what is thrown here, or takes it. */
export function paper(refusals: readonly (Error | undefined)[] = []) {
  const ends: string[] = [];
  const queue = [...refusals];
  const add = async () => {
    const refusal = queue.shift();
    if (refusal !== undefined) throw refusal;
    return { replicas: 1 };
  };
  const deps = {
    client: { own: () => ({ origin: 'x' }) } as unknown as PeerClient,
    pins: { add },
    quota: { check: async () => Infinity },
    log: createLog('chunker', 'silent'),
    metrics: createMetrics(createRegistry('chunker')),
    leases: {
      end: async (_: string, { keep }: { keep: boolean }) => void ends.push(`here ${keep}`),
    },
    replicator: {
      open: () => ({
        add() {},
        finish() {},
        release: async ({ keep }: { keep: boolean }) => void ends.push(`elsewhere ${keep}`),
        close: () => ends.push('closed'),
      }),
    },
    progressEvents: { open: () => ({ received() {}, now() {} }) },
    members: { placeableCount: async () => 1 },
    buffers: { inUse: 0, take: async () => Buffer.alloc(CHUNK_SIZE_BYTES), giveBack() {} },
    pinTimeoutMs: 0,
    copiesTimeoutMs: 0,
    stopping: signal,
  } as unknown as IntakeDeps; // what pinning uses of it
  const hold = () => openHold(deps, { replicas: 1 });
  const dagOf = (name: string, held: ReturnType<typeof hold>) => ({
    draft: {
      root: hashBlock('raw', Buffer.from(name)),
      kind: 'file' as const,
      name,
      sizeBytes: 1,
      blocks: 1,
      replicas: 1,
    },
    copies: 1,
    isHere: true,
    hold: held,
    progress: deps.progressEvents.open(name),
  });
  return { deps, ends, hold, dagOf };
}
