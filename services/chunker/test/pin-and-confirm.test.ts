import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createLog, createRegistry, type PeerClient } from '@shoal/chassis';
import { ServiceUnavailable, StorageFull } from '@shoal/protocol';
import { openHold } from '../src/intake/hold.ts';
import { type IntakeDeps, openIntake } from '../src/intake/intake.ts';
import { pinAndConfirm } from '../src/intake/pin-and-confirm.ts';
import { createMetrics } from '../src/metrics.ts';

const { signal } = new AbortController();

/** An intake's surroundings on paper; discovery answers each pin with what is thrown here, or takes it. */
function paper(refusals: readonly (Error | undefined)[] = []) {
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
    buffers: { inUse: 0 },
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

const away = () => new ServiceUnavailable({ service: 'discovery' });

describe('pinning and confirming', () => {
  it('ends a lease once, here before elsewhere, and keeps the blocks', async () => {
    const { deps, ends, hold, dagOf } = paper();
    const shared = hold();
    const { files } = await pinAndConfirm([dagOf('a', shared), dagOf('b', shared)], deps, {
      signal,
    });
    expect(files.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(ends).toEqual(['here true', 'elsewhere true', 'closed']);
  });

  it('keeps the blocks of a pin that may have been taken, also for those that share its lease', async () => {
    const { deps, ends, hold, dagOf } = paper([away(), away()]);
    const shared = hold();
    const failed = pinAndConfirm([dagOf('a', shared), dagOf('b', shared)], deps, { signal });
    await expect(failed).rejects.toThrow('the pin may have been put');
    await new Promise(setImmediate);
    expect(ends).toEqual(['here true', 'closed']);
  });

  it('lets go of what was refused, not of what was pinned beside it', async () => {
    const full = new StorageFull({ limit: 'disk space', freeBytes: 0 });
    const { deps, ends, hold, dagOf } = paper([undefined, full, full]);
    const dags = ['a', 'b', 'c'].map((name) => dagOf(name, hold()));
    await expect(pinAndConfirm(dags, deps, { signal })).rejects.toBe(full);
    await new Promise(setImmediate);
    expect(ends.filter((end) => end === 'here true')).toHaveLength(1);
    expect(ends.filter((end) => end === 'here false')).toHaveLength(2);
    expect(ends.filter((end) => end === 'elsewhere false')).toHaveLength(2);
    expect(ends.filter((end) => end === 'closed')).toHaveLength(3);
  });
});

describe('an intake', () => {
  const wishes = { name: 'a', replicas: 1, copiesAtOnce: true };

  it('that fails while it is filled lets its blocks go', async () => {
    const { deps, ends } = paper();
    const intake = openIntake(deps, wishes, { signal });
    const failed = intake.fill(() => Promise.reject(new Error('broken')));
    await expect(failed).rejects.toThrow('broken');
    await new Promise(setImmediate);
    expect(ends).toEqual(['here false', 'elsewhere false', 'closed']);
  });

  it('whose sender leaves at its end keeps nothing', async () => {
    const { deps, ends } = paper();
    const left = new AbortController();
    const intake = openIntake(deps, wishes, { signal: left.signal });
    const failed = intake.fill(async () => left.abort(new Error('left')));
    await expect(failed).rejects.toThrow('left');
    await new Promise(setImmediate);
    expect(ends).toEqual(['here false', 'elsewhere false', 'closed']);
  });

  it('that another request can resume leaves its blocks to age', async () => {
    const { deps, ends } = paper();
    const intake = openIntake(deps, wishes, { signal });
    const failed = intake.fill(
      () => Promise.reject(new Error('incomplete')),
      () => true,
    );
    await expect(failed).rejects.toThrow('incomplete');
    await new Promise(setImmediate);
    expect(ends).toEqual(['elsewhere true', 'closed']);
  });

  it('ends once', () => {
    const { deps } = paper();
    const intake = openIntake(deps, wishes, { signal });
    intake.drop(new Error('first'));
    expect(() => intake.drop(new Error('second'))).toThrow(/given up once/);
  });
});
