import { describe, expect, it } from '@jest/globals';
import { ServiceUnavailable, StorageFull } from '@shoal/protocol';
import { openIntake } from '../../src/intake/intake.ts';
import { pinAndConfirm } from '../../src/intake/pin-and-confirm.ts';
import { paper } from './paper.ts';

const { signal } = new AbortController();

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
