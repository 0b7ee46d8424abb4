import { describe, expect, it } from '@jest/globals';
import type { Lease } from '@shoal/protocol';
import fc from 'fast-check';
import type { BlockRecord, Digest } from '../src/disk/block-record.ts';
import { isOverdue } from '../src/store/census.ts';
import { createDigestMarks } from '../src/index/digest-marks.ts';
import { isDamage } from '../src/store/operations/inspect.ts';
import { verdictOn } from '../src/store/operations/judge.ts';
import {
  recordAfterCondemning,
  recordAfterJoin,
  recordAfterMark,
  recordAfterPut,
  recordAfterReach,
} from '../src/index/records.ts';

const A = '00000000-0000-4000-8000-00000000000a' as Lease;
const B = '00000000-0000-4000-8000-00000000000b' as Lease;
const record: BlockRecord = {
  sizeBytes: 10,
  place: 'lmdb',
  writtenAtMs: 1000,
  checkedAtMs: 1000,
  condemnedAtMs: 0,
  isDamaged: false,
  replicas: 3,
  isNode: true,
  lease: undefined,
};
const condemned = { ...record, replicas: 0, isNode: false, condemnedAtMs: 5000 };

describe('digest marks', () => {
  const digest = fc
    .tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 3 }))
    .map(([a, b]) => (String(a).padStart(16, '0') + String(b)).padEnd(64, '0') as Digest);

  it('know the highest demand on each prefix, and nothing else', () => {
    const mark = fc.tuple(digest, fc.integer({ min: 1, max: 16 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(digest), fc.array(mark), (held, asked) => {
        const marks = createDigestMarks(0);
        const model = new Map<string, { replicas: number; isNode: boolean }>();
        for (const each of [...new Set(held)].toSorted()) {
          marks.add(each, 3);
          model.set(each.slice(0, 16), { replicas: 0, isNode: false });
        }
        for (const [each, replicas, isNode] of asked) {
          const old = model.get(each.slice(0, 16));
          expect(marks.mark(each, { replicas, isNode })).toBe(old === undefined ? undefined : 3);
          if (old === undefined) continue;
          old.replicas = Math.max(old.replicas, replicas);
          old.isNode ||= isNode;
        }
        for (const each of [...held, ...asked.map(([one]) => one)])
          expect(marks.of(each)).toEqual(model.get(each.slice(0, 16)));
        expect(marks.size).toBe(model.size);
      }),
      { seed: 11, numRuns: 300 },
    );
  });

  it('grow past what was expected', () => {
    const marks = createDigestMarks(10);
    const digests = Array.from(
      { length: 5000 },
      (_, at) => at.toString(16).padStart(16, '0').padEnd(64, 'f') as Digest,
    );
    for (const [at, each] of digests.entries()) marks.add(each, at % 17);
    expect(marks.size).toBe(5000);
    expect(digests.map((each) => marks.mark(each, { replicas: 1, isNode: false }))).toEqual(
      digests.map((_, at) => at % 17),
    );
  });
});

describe('a verdict of the sweep', () => {
  const facts = {
    mark: { replicas: 0, isNode: false },
    isLeased: false,
    nowMs: 10_000,
    graceMs: 100,
  };
  it('spares what a pin reaches, an upload holds, or is young', () => {
    expect(verdictOn(record, { ...facts, mark: { replicas: 1, isNode: false } })).toBe('reached');
    expect(verdictOn(condemned, { ...facts, mark: { replicas: 1, isNode: false } })).toBe(
      'reached',
    );
    expect(verdictOn(condemned, { ...facts, isLeased: true })).toBe('spared');
    expect(verdictOn({ ...record, writtenAtMs: 9950 }, facts)).toBe('spared');
    expect(verdictOn({ ...record, writtenAtMs: 99_000 }, facts)).toBe('spared'); // the clock was set back
  });
  it('condemns first and deletes later', () => {
    expect(verdictOn(record, facts)).toBe('condemned');
    expect(verdictOn(condemned, facts)).toBe('doomed');
  });
});

describe('the record of a block', () => {
  it('is no longer condemned once somebody counts on it', () => {
    const put = { sizeBytes: 10, nowMs: 5, isSound: true, leases: [undefined] };
    expect(recordAfterPut(condemned, put)?.condemnedAtMs).toBe(0);
    expect(recordAfterJoin(condemned, A, 5)?.condemnedAtMs).toBe(0);
    expect(recordAfterMark(condemned, { isNode: false, replicas: 2 })).toMatchObject({
      replicas: 2,
      condemnedAtMs: 0,
    });
    expect(recordAfterReach(condemned, { isNode: false, replicas: 2 })?.condemnedAtMs).toBe(0);
  });

  it('is lowered to what pins ask, and never raised by the sweep', () => {
    expect(recordAfterReach(record, { isNode: true, replicas: 3 })).toBeUndefined();
    expect(recordAfterReach(record, { isNode: true, replicas: 5 })).toBeUndefined();
    expect(recordAfterReach(record, { isNode: false, replicas: 2 })).toMatchObject({
      replicas: 2,
      isNode: false,
    });
    expect(recordAfterCondemning(record, 77)).toMatchObject({
      replicas: 0,
      isNode: false,
      condemnedAtMs: 77,
    });
  });

  it('is damaged until its bytes are written again, and remembers the rest', () => {
    const damaged = { ...record, isDamaged: true, lease: A };
    const put = { sizeBytes: 10, nowMs: 5, isSound: false };
    expect(recordAfterPut(damaged, { ...put, leases: [A] })).toEqual({
      ...damaged,
      isDamaged: false,
      writtenAtMs: 5,
      checkedAtMs: 5,
    });
    expect(recordAfterPut(damaged, { ...put, leases: [undefined] })?.lease).toBeUndefined();
    expect(recordAfterMark(damaged, { isNode: false, replicas: 4 })).toMatchObject({
      isDamaged: true,
      replicas: 4,
    });
  });

  it('is tied to an upload only while that is the only one', () => {
    const nowMs = record.writtenAtMs;
    expect(recordAfterJoin({ ...record, lease: A }, A, nowMs)).toBeUndefined();
    expect(recordAfterJoin({ ...record, lease: A }, B, nowMs)?.lease).toBeUndefined();
    expect(recordAfterJoin(record, B, nowMs)).toBeUndefined();
  });

  it('is young again when anybody counts on it, which a restart does not forget', () => {
    const nowMs = record.writtenAtMs + 3_600_000;
    const put = { sizeBytes: 10, nowMs, isSound: true };
    const young = { ...record, writtenAtMs: nowMs, lease: undefined };
    expect(recordAfterJoin(record, A, nowMs)).toEqual(young);
    for (const lease of [A, undefined])
      expect(recordAfterPut(record, { ...put, leases: [lease] })).toEqual(young);
    const backMs = record.writtenAtMs - 3_600_000; // the clock was set back
    expect(recordAfterJoin(record, A, backMs)).toEqual({ ...young, writtenAtMs: backMs });
  });
});

describe('a check', () => {
  it('is overdue when it is old, or comes from the future', () => {
    const now = { nowMs: 1000, intervalMs: 100 };
    expect([899, 900, 901, 1000, 1001].map((at) => isOverdue(at, now))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
  });

  it('blames the disk for what it refuses, and not for what this process lacks', () => {
    const failed = (code: string) => Object.assign(new Error(code), { code, syscall: 'open' });
    expect(['EIO', 'EACCES', 'EISDIR', 'ELOOP', 'EUCLEAN'].map((c) => isDamage(failed(c)))).toEqual(
      [true, true, true, true, true],
    );
    expect(['EMFILE', 'ENFILE', 'ENOMEM'].map((c) => isDamage(failed(c)))).toEqual([
      false,
      false,
      false,
    ]);
    expect(isDamage(new TypeError('a bug'))).toBe(false);
  });
});
