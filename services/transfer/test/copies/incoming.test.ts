import { describe, expect, it } from '@jest/globals';
import { createIncoming } from '../../src/copies/incoming.ts';
import { cidOf } from '../paper.ts';

const cid = cidOf('a block');

describe('incoming', () => {
  it('knows a block as coming while it is claimed, and no longer when the copy failed', () => {
    const incoming = createIncoming();
    const lookedAtMs = performance.now();
    expect(incoming.isComing(cid, lookedAtMs)).toBe(false);
    incoming.claim(cid)[Symbol.dispose]();
    expect(incoming.isComing(cid, lookedAtMs)).toBe(false);
    using claim = incoming.claim(cid);
    expect(claim.before).toBeUndefined();
    expect(incoming.isComing(cid, lookedAtMs)).toBe(true);
    expect(incoming.isComing(cidOf('another'), lookedAtMs)).toBe(false);
  });

  it('knows what arrived after it was looked for, and not what may be gone again since', async () => {
    const incoming = createIncoming();
    const before = performance.now();
    const claim = incoming.claim(cid);
    claim.arrived();
    claim[Symbol.dispose]();
    expect(incoming.isComing(cid, before)).toBe(true);
    expect(incoming.isComing(cid, performance.now() + 1)).toBe(false);
  });

  it('lets each claim of a block wait for the one before it alone', async () => {
    const incoming = createIncoming();
    const order: string[] = [];
    const copy = async (name: string, work: Promise<void>) => {
      using claim = incoming.claim(cid);
      await claim.before;
      await work;
      order.push(name);
    };
    const slow = Promise.withResolvers<void>();
    const copies = [
      copy('first', slow.promise),
      copy('second', Promise.resolve()),
      copy('third', Promise.resolve()),
    ];
    slow.resolve();
    await Promise.all(copies);
    expect(order).toEqual(['first', 'second', 'third']);
    expect(incoming.isComing(cid, Infinity)).toBe(false);
  });
});
