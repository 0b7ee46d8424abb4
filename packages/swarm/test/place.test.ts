import { describe, expect, it } from '@jest/globals';
import type { PeerId } from '@shoal/protocol';
import fc from 'fast-check';
import { type Candidate, place } from '../src/place.ts';

const SEED = { seed: 20261122 };
const peer = (index: number, over: Partial<Candidate> = {}): Candidate => ({
  peerId: `peer-${index}` as PeerId, // placement treats it as any string
  capacityBytes: 1e12,
  domain: { host: `host-${index}`, disk: '1' },
  ...over,
});
const peers = (count: number) => Array.from({ length: count }, (_, index) => peer(index));
const partition = fc.integer({ min: 0, max: 255 });

describe('place', () => {
  it('does not depend on the order in which members are known', () => {
    fc.assert(
      fc.property(partition, fc.shuffledSubarray(peers(9), { minLength: 9 }), (p, shuffled) => {
        expect(place(p, shuffled)).toEqual(place(p, peers(9)));
      }),
      SEED,
    );
  });

  it('moves only the leaver’s blocks, and only to the next in line', () => {
    fc.assert(
      fc.property(partition, fc.integer({ min: 4, max: 20 }), fc.nat(), (p, count, pick) => {
        const before = place(p, peers(count));
        const leaver = before[pick % count];
        const after = place(
          p,
          peers(count).filter(({ peerId }) => peerId !== leaver?.peerId),
        );
        expect(after).toEqual(before.filter((candidate) => candidate !== leaver));
      }),
      SEED,
    );
  });

  it('takes each disk once before any disk twice', () => {
    fc.assert(
      fc.property(
        partition,
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 12 }),
        (p, hosts) => {
          const members = hosts.map((host, index) =>
            peer(index, { domain: { host: `h${host}`, disk: '1' } }),
          );
          const distinct = new Set(hosts).size;
          const first = place(p, members).slice(0, distinct);
          expect(new Set(first.map(({ domain }) => domain.host)).size).toBe(distinct);
          expect(place(p, members)).toHaveLength(members.length);
        },
      ),
      SEED,
    );
  });

  it('gives each peer its share by capacity, and none to a peer without', () => {
    const members = [
      peer(0, { capacityBytes: 0 }),
      peer(1),
      peer(2),
      peer(3, { capacityBytes: 3e12 }),
    ];
    const counts = new Map<string, number>();
    for (let p = 0; p < 256; p += 1) {
      const [first] = place(p, members);
      counts.set(first?.peerId ?? '', (counts.get(first?.peerId ?? '') ?? 0) + 1);
    }
    expect(counts.get('peer-0')).toBeUndefined();
    const share = (counts.get('peer-3') ?? 0) / 256; // 3 of 5 parts
    expect(share).toBeGreaterThan(0.5);
    expect(share).toBeLessThan(0.7);
  });

  /** Of how many partitions this peer is first. */
  const firstShare = (members: readonly Candidate[], name: string) =>
    Array.from({ length: 256 }, (_, p) => place(p, members)[0]?.peerId).filter(
      (first) => first === name,
    ).length / 256;

  it('counts a claim at four times the median claim at most', () => {
    const claims = (capacityBytes: number) => [
      ...[0, 1, 2, 3].map((index) => peer(index)),
      peer(4, { capacityBytes }),
    ];
    const orders = (capacityBytes: number) =>
      Array.from({ length: 256 }, (_, p) => place(p, claims(capacityBytes)).map((c) => c.peerId));
    expect(orders(2 ** 52)).toEqual(orders(4e12));
    expect(orders(4e12)).not.toEqual(orders(2e12));
    expect(firstShare(claims(2 ** 52), 'peer-4')).toBeLessThan(0.6); // 4 of 8 parts
    // Of two peers the lower claim is the median: neither lifts its own bound.
    const two = [peer(0), peer(1, { capacityBytes: 2 ** 52 })];
    expect(firstShare(two, 'peer-1')).toBeLessThan(0.9); // 4 of 5 parts
  });

  it('is bounded by what the median says, though a minority claims what it likes', () => {
    fc.assert(
      fc.property(
        partition,
        fc.array(fc.integer({ min: 1, max: 2 ** 52 }), { minLength: 2, maxLength: 2 }),
        (p, [one = 1, two = 1]) => {
          const liars = (a: number, b: number) => [
            peer(0),
            peer(1),
            peer(2),
            peer(3, { capacityBytes: a }),
            peer(4, { capacityBytes: b }),
          ];
          // Above four medians of the honest, more changes nothing.
          const cut = (claim: number) => Math.min(claim, 4e12);
          expect(place(p, liars(one, two)).map(({ peerId }) => peerId)).toEqual(
            place(p, liars(cut(one), cut(two))).map(({ peerId }) => peerId),
          );
        },
      ),
      SEED,
    );
  });
});
