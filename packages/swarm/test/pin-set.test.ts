import { describe, expect, it } from '@jest/globals';
import type { Cid, PeerId, Pin, PinDraft, Sha256 } from '@shoal/protocol';
import fc from 'fast-check';
import {
  comparePins,
  createPinDigest,
  isLive,
  mergePins,
  nextPin,
  PIN_BUCKETS,
  pinBucket,
} from '../src/pin-set.ts';

const ROOT = 'root' as Cid;
const pinOf = (part: Partial<Pin>): Pin => ({
  v: 1,
  root: ROOT,
  name: 'n',
  sizeBytes: 1,
  sha256: 's' as Sha256,
  blocks: 1,
  replicas: 3,
  createdAtMs: 1,
  deleted: false,
  clock: 1,
  origin: 'a' as PeerId,
  ...part,
});
const pins = fc
  .record({
    clock: fc.nat(3),
    origin: fc.constantFrom('a', 'b', 'c').map((id) => id as PeerId),
    name: fc.constantFrom('x', 'y'),
    deleted: fc.boolean(),
  })
  .map(pinOf);
const draft: PinDraft = pinOf({});

describe('merging pins', () => {
  it('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(pins, pins, pins, (a, b, c) => {
        expect(mergePins(a, b)).toEqual(mergePins(b, a));
        expect(mergePins(mergePins(a, b), c)).toEqual(mergePins(a, mergePins(b, c)));
        expect(mergePins(a, a)).toEqual(a);
      }),
      { seed: 1 },
    );
  });

  it('lets a tombstone win over any older pin', () => {
    const tombstone = pinOf({ clock: 5, deleted: true });
    expect(mergePins(pinOf({ clock: 4, origin: 'z' as PeerId }), tombstone)).toBe(tombstone);
    expect(isLive(tombstone, 0)).toBe(false);
  });
});

describe('the next pin', () => {
  const at = { nowMs: 100, origin: 'b' as PeerId };

  it('wins over the one that stands, even when that has a clock from the future', () => {
    fc.assert(
      fc.property(pins, fc.nat(1000), (old, ahead) => {
        const standing = { ...old, clock: old.clock + ahead };
        return comparePins(nextPin(draft, standing, at), standing) > 0;
      }),
      { seed: 2 },
    );
  });

  it('keeps the time and the copies of a live one, and nothing of a deleted one', () => {
    const old = pinOf({ replicas: 7, createdAtMs: 3 });
    expect(nextPin(draft, old, at)).toMatchObject({ replicas: 7, createdAtMs: 3, clock: 100 });
    const deleted = { ...old, deleted: true };
    expect(nextPin(draft, deleted, at)).toMatchObject({ replicas: 3, createdAtMs: 100 });
  });
});

describe('a digest', () => {
  it('is the same for the same pins in any order, and differs in the bucket of another pin', () => {
    const roots = Array.from({ length: 50 }, (_, index) => `root-${index}` as Cid);
    const [a, b] = [createPinDigest(), createPinDigest()];
    for (const root of roots) a.toggle(pinOf({ root }));
    for (const root of roots.toReversed()) b.toggle(pinOf({ root }));
    expect(a.total()).toBe(b.total());
    b.toggle(pinOf({ root: ROOT }));
    const differing = a
      .buckets()
      .flatMap((each, index) => (each === b.buckets()[index] ? [] : [index]));
    expect(differing).toEqual([pinBucket(ROOT)]);
    expect(a.total()).not.toBe(b.total());
    b.toggle(pinOf({ root: ROOT }));
    expect(a.buckets()).toEqual(b.buckets());
  });

  it('spreads roots over all buckets', () => {
    const used = new Set(Array.from({ length: 4000 }, (_, index) => pinBucket(`r${index}` as Cid)));
    expect(used.size).toBe(PIN_BUCKETS);
  });
});
