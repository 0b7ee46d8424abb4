import { describe, expect, it } from '@jest/globals';
import type { Cid, PeerId, Pin, PinDraft, Sha256 } from '@shoal/protocol';
import fc from 'fast-check';
import {
  changedPin,
  comparePins,
  createPinDigest,
  isLive,
  mergePins,
  nextPin,
  PIN_BUCKETS,
  pinBucket,
  purgedPin,
  stampOf,
  tombstoneOf,
  undeletedPin,
} from '../src/pin-set.ts';

const ROOT = 'root' as Cid;
const pinOf = (part: Partial<Pin>): Pin => ({
  v: 1,
  root: ROOT,
  kind: 'file',
  name: 'n',
  sizeBytes: 1,
  sha256: 's' as Sha256,
  blocks: 1,
  replicas: 3,
  createdAtMs: 1,
  epoch: 1,
  deleted: false,
  clock: 1,
  origin: 'a' as PeerId,
  ...part,
});
const pins = fc
  .record({
    epoch: fc.nat(2),
    clock: fc.nat(3),
    origin: fc.constantFrom('a', 'b', 'c').map((id) => id as PeerId),
    name: fc.constantFrom('x', 'y'),
    end: fc.constantFrom({}, { deleted: true }, { deleted: true, deletedAtMs: 5 }),
  })
  .map(({ end, ...part }) => pinOf({ ...part, ...end }));
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

  it('orders by epoch, then tombstone, then purge, then clock, then origin', () => {
    const z = 'z' as PeerId;
    const ascending = [
      pinOf({ epoch: 1, clock: 9 }),
      pinOf({ epoch: 1, clock: 9, origin: z }),
      pinOf({ epoch: 1, clock: 10 }),
      pinOf({ epoch: 1, clock: 2, deleted: true, deletedAtMs: 9 }),
      pinOf({ epoch: 1, clock: 3, deleted: true, deletedAtMs: 1 }),
      pinOf({ epoch: 1, clock: 1, deleted: true }),
      pinOf({ epoch: 2, clock: 0 }),
    ];
    for (const [index, pin] of ascending.entries())
      for (const other of ascending.slice(index + 1)) {
        expect(mergePins(pin, other)).toBe(other);
        expect(mergePins(other, pin)).toBe(other);
      }
  });
});

const DAY_MS = 86_400_000;
/** Wall clocks up to a day apart, as whoever makes a pin reads its own. */
const makers = fc.record({
  nowMs: fc.integer({ min: 10 * DAY_MS, max: 12 * DAY_MS }),
  origin: fc.constantFrom('a', 'b', 'c').map((id) => id as PeerId),
});
const edits = fc.record(
  {
    name: fc.constantFrom('x', 'y'),
    replicas: fc.integer({ min: 1, max: 5 }),
    expiresAtMs: fc.constantFrom(null, 20 * DAY_MS),
  },
  { requiredKeys: [] },
);
const changes = fc.array(fc.record({ edit: edits, maker: makers }), { maxLength: 5 });

describe('deletion', () => {
  it('beats every change of its upload, made before or after it, whatever the clocks say', () => {
    fc.assert(
      fc.property(makers, changes, makers, changes, (uploader, before, deleter, aside) => {
        const apply = (pin: Pin, list: typeof before) =>
          list.reduce((each, { edit, maker }) => changedPin(each, edit, maker), pin);
        const uploaded = nextPin(draft, undefined, uploader);
        const tombstone = tombstoneOf(apply(uploaded, before), deleter);
        expect(mergePins(apply(uploaded, aside), tombstone)).toBe(tombstone);
        expect(mergePins(tombstone, apply(uploaded, aside))).toBe(tombstone);
        expect(isLive(tombstone, 0)).toBe(false);
      }),
      { seed: 3 },
    );
  });

  it('gives way to an upload after it, whatever the clocks say', () => {
    fc.assert(
      fc.property(makers, makers, makers, changes, (first, deleter, second, aside) => {
        const uploaded = nextPin(draft, undefined, first);
        const tombstone = tombstoneOf(uploaded, deleter);
        const again = nextPin(draft, tombstone, second);
        const late = aside.reduce((pin, { edit, maker }) => changedPin(pin, edit, maker), uploaded);
        expect([tombstone, late].reduce(mergePins, again)).toBe(again);
        expect(again).toMatchObject({ deleted: false, createdAtMs: second.nowMs, replicas: 3 });
      }),
      { seed: 4 },
    );
  });
});

type Step = 'change' | 'delete' | 'purge' | 'undelete' | 'upload';
/** What a peer makes of the pin that it knows, as far as that may be. */
const stepOf = (step: Step, pin: Pin, maker: { nowMs: number; origin: PeerId }): Pin => {
  const isKept = pin.deleted && pin.deletedAtMs !== undefined;
  if (step === 'upload') return nextPin(draft, pin, maker);
  if (step === 'undelete') return isKept ? undeletedPin(pin, maker) : pin;
  if (step === 'purge') return pin.deleted && !isKept ? pin : purgedPin(pin, maker);
  if (pin.deleted) return pin;
  return step === 'change' ? changedPin(pin, { replicas: 5 }, maker) : tombstoneOf(pin, maker);
};
const steps = fc.array(
  fc.record({
    step: fc.constantFrom<Step[]>('change', 'delete', 'purge', 'undelete', 'upload'),
    maker: makers,
    /** Which peer does it, and which one it hears from before: nobody, when that is itself. */
    at: fc.nat(2),
    from: fc.nat(2),
  }),
  { maxLength: 12 },
);

describe('a deleted file that can be brought back', () => {
  const at = (nowMs: number) => ({ nowMs, origin: 'b' as PeerId });

  it('comes back as it was, in an epoch that wins over deletion, purge and changes of the last', () => {
    fc.assert(
      fc.property(makers, changes, makers, makers, (deleter, before, purger, saver) => {
        const live = before.reduce(
          (each, { edit, maker }) => changedPin(each, edit, maker),
          nextPin(draft, undefined, deleter),
        );
        const tombstone = tombstoneOf(live, deleter);
        const purged = purgedPin(live, purger);
        const back = undeletedPin(tombstone, saver);
        for (const other of [live, tombstone, purged])
          expect([mergePins(back, other), mergePins(other, back)]).toEqual([back, back]);
        const { epoch: _, clock: __, origin: ___, ...rest } = back;
        expect(live).toMatchObject(rest);
        expect('deletedAtMs' in back).toBe(false);
      }),
      { seed: 6 },
    );
  });

  it('is purged by who purges it, whoever deletes it at the same time with a later clock', () => {
    const live = pinOf({});
    const [tombstone, purged] = [tombstoneOf(live, at(9000)), purgedPin(live, at(10))];
    expect(mergePins(tombstone, purged)).toBe(purged);
    expect(mergePins(purged, tombstone)).toBe(purged);
    expect(mergePins(tombstone, purgedPin(tombstone, at(10)))).not.toBe(tombstone);
    expect([tombstone.deletedAtMs, purged.deletedAtMs]).toEqual([9000, undefined]);
    expect([isLive(tombstone, 0), isLive(purged, 0)]).toEqual([false, false]);
  });

  it('is the same at all peers in the end, whoever does what and hears from whom', () => {
    fc.assert(
      fc.property(makers, steps, (uploader, list) => {
        const first = nextPin(draft, undefined, uploader);
        const known = [first, first, first];
        const made = [first];
        for (const { step, maker, at: peer, from } of list) {
          const heard = mergePins(known[peer] ?? first, known[from] ?? first);
          known[peer] = mergePins(heard, stepOf(step, heard, maker));
          made.push(known[peer]);
          expect(comparePins(known[peer], heard)).toBeGreaterThanOrEqual(0);
        }
        const ends = known.map((own, index) =>
          [own, ...known.slice(index), ...known.slice(0, index)].reduce(mergePins),
        );
        const all = made.reduce(mergePins);
        expect(ends).toEqual([all, all, all]);
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe('a change', () => {
  it('wins over what it changes, stays in its epoch, and keeps what it does not name', () => {
    fc.assert(
      fc.property(pins, edits, makers, (old, edit, maker) => {
        const live = { ...old, deleted: false };
        const now = changedPin(live, edit, maker);
        expect(comparePins(now, live)).toBeGreaterThan(0);
        expect(now).toMatchObject({
          epoch: live.epoch,
          name: edit.name ?? live.name,
          replicas: edit.replicas ?? live.replicas,
          createdAtMs: live.createdAtMs,
          origin: maker.origin,
        });
      }),
      { seed: 5 },
    );
  });

  it('may lower the copies, and set, move and lift the end', () => {
    const at = { nowMs: 100, origin: 'b' as PeerId };
    const old = pinOf({ replicas: 5, expiresAtMs: 900 });
    expect(changedPin(old, { replicas: 1 }, at)).toMatchObject({ replicas: 1, expiresAtMs: 900 });
    expect(changedPin(old, { expiresAtMs: 500 }, at).expiresAtMs).toBe(500);
    expect('expiresAtMs' in changedPin(old, { expiresAtMs: null }, at)).toBe(false);
    expect(changedPin(pinOf({}), { expiresAtMs: 500 }, at).expiresAtMs).toBe(500);
  });
});

describe('the next pin', () => {
  const at = { nowMs: 100, origin: 'b' as PeerId };

  it('wins over the one that stands, even when that is from the future', () => {
    fc.assert(
      fc.property(pins, fc.nat(1000), fc.nat(1000), (old, ahead, epochAhead) => {
        const standing = { ...old, clock: old.clock + ahead, epoch: old.epoch + epochAhead };
        return comparePins(nextPin(draft, standing, at), standing) > 0;
      }),
      { seed: 2 },
    );
  });

  it('keeps the time and the copies of a live one, and nothing of a deleted or ended one', () => {
    const old = pinOf({ replicas: 7, createdAtMs: 3 });
    expect(nextPin(draft, old, at)).toMatchObject({ replicas: 7, createdAtMs: 3, clock: 100 });
    for (const gone of [
      { ...old, deleted: true },
      { ...old, expiresAtMs: 100 },
    ])
      expect(nextPin(draft, gone, at)).toMatchObject({ replicas: 3, createdAtMs: 100 });
  });

  it('ends when the later of the two does', () => {
    const endOf = (draftEndMs?: number, liveEndMs?: number) => {
      const end = (expiresAtMs?: number) => (expiresAtMs === undefined ? {} : { expiresAtMs });
      return nextPin({ ...draft, ...end(draftEndMs) }, pinOf(end(liveEndMs)), at).expiresAtMs;
    };
    expect(endOf(500, 700)).toBe(700);
    expect(endOf(900, 700)).toBe(900);
    expect(endOf(undefined, 700)).toBeUndefined();
    expect(endOf(500, undefined)).toBeUndefined();
    expect(nextPin({ ...draft, expiresAtMs: 500 }, pinOf({ deleted: true }), at).expiresAtMs).toBe(
      500,
    );
  });
});

describe('in whose name a file was put, and with which token,', () => {
  const [a, b] = ['a', 'b'].map((origin) => origin as PeerId);
  if (a === undefined || b === undefined) throw new Error('no peers');
  const by = (origin: PeerId) => ({ nowMs: 10, origin });
  const put = nextPin({ ...draft, token: 't' }, undefined, by(a));

  it.each([
    ['a change', (pin: Pin) => changedPin(pin, { name: 'other' }, by(b))],
    ['a deletion', (pin: Pin) => tombstoneOf(pin, by(b))],
    ['a purge', (pin: Pin) => purgedPin(pin, by(b))],
    ['bringing it back', (pin: Pin) => undeletedPin(tombstoneOf(pin, by(b)), by(b))],
    ['another upload', (pin: Pin) => nextPin({ ...draft, token: 'u' }, pin, by(b))],
  ] as const)('outlives %s', (_, next) => {
    expect(next(put)).toMatchObject({ author: a, token: 't', origin: b });
    // One from before there was an author: its origin.
    const { author: __, ...old } = put;
    expect(next({ ...old, v: 1 })).toMatchObject({ v: 2, author: a, token: 't', origin: b });
  });

  it('begins anew with an upload after a deletion', () => {
    const again = nextPin({ ...draft, token: 'u' }, tombstoneOf(put, by(a)), by(b));
    expect(again).toMatchObject({ author: b, token: 'u' });
    expect(nextPin(draft, tombstoneOf(put, by(a)), by(b))).not.toHaveProperty('token');
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

  it('tells a tombstone and another epoch from the pin', () => {
    const totalOf = (part: Partial<Pin>) => {
      const digest = createPinDigest();
      digest.toggle(stampOf(pinOf(part)));
      return digest.total();
    };
    expect(new Set([{}, { deleted: true }, { epoch: 2 }, { clock: 2 }].map(totalOf)).size).toBe(4);
  });

  it('spreads roots over all buckets', () => {
    const used = new Set(Array.from({ length: 4000 }, (_, index) => pinBucket(`r${index}` as Cid)));
    expect(used.size).toBe(PIN_BUCKETS);
  });
});
