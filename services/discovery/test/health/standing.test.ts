import { describe, expect, it } from '@jest/globals';
import type { Member, MemberState, PeerId, Pin } from '@shoal/protocol';
import { createHolders } from '../../src/holders/holders.ts';
import { ANSWER_AGE_MAX_MS, standingOf } from '../../src/health/standing.ts';
import { draft, haveMap } from '../integration/peer.ts';

const WALL_MS = 1_000_000;
const pin = { ...draft('x'), replicas: 3 } as unknown as Pin; // what is read of it

interface Told {
  readonly state?: MemberState;
  /** What it said last; `silent` when it never said anything. */
  readonly holds?: readonly number[] | 'silent';
  readonly ageMs?: number;
  readonly isReachable?: boolean;
  readonly goneForMs?: number;
  readonly outInMs?: number;
  /** What came of asking it to prove blocks of the file. */
  readonly isProved?: boolean;
  readonly isDistrusted?: boolean;
  readonly freeBytes?: number;
}

/** Where the file stands when these members, by name, are as told. */
function standing(
  told: Readonly<Record<string, Told>>,
  {
    isYoung = false,
    knownForMs = undefined as number | undefined,
    replicas = 3,
    isJoining = false,
    asideFor = undefined as string | undefined,
  } = {},
) {
  const time = { nowMs: 0 };
  const holders = createHolders({ clock: () => time.nowMs });
  const nowMs = 100_000;
  for (const [name, { state = 'alive', holds = [0, 1, 2], ageMs = 0, isProved }] of Object.entries(
    told,
  )) {
    if (holds === 'silent') continue;
    time.nowMs = nowMs - ageMs;
    holders.note(
      pin.root,
      name as PeerId,
      holds.length === 0 ? undefined : haveMap(pin.root, 3, holds),
    );
    time.nowMs = nowMs;
    holders.noteProof(pin.root, name as PeerId, isProved);
    if (state === 'down' || state === 'out') holders.turn(name as PeerId);
  }
  const members = Object.entries(told).map(
    ([name, { state = 'alive', goneForMs, outInMs, isDistrusted, freeBytes = 1 }]) => ({
      peerId: name,
      isDistrusted,
      state,
      domain: { host: name, disk: 'd' },
      capacityBytes: 1,
      freeBytes,
      draining: false,
      goneForMs,
      outInMs,
    }),
  ) as unknown as Member[]; // what is read of them
  const { state, causes, copies, atMs } = standingOf(
    { ...pin, replicas },
    {
      holders,
      members,
      isReachable: ({ peerId }) => told[peerId]?.isReachable ?? true,
      isJoining,
      asideFor,
      isYoung: () => isYoung,
      knownForMs: () => knownForMs,
      nowMs,
      repairFromMs: ({ outInMs = 0 }) => WALL_MS + outInMs,
    },
  );
  return { state, copies, ageMs: atMs === undefined ? undefined : nowMs - atMs, causes };
}

const away = (...peers: string[]) => ({ peers, count: peers.length });
const OLD = ANSWER_AGE_MAX_MS + 1;

describe('where a file stands', () => {
  it('is safe while enough copies are confirmed, whoever else is silent', () => {
    expect(standing({ a: {}, b: { ageMs: 40 }, c: {} })).toEqual({
      state: 'safe',
      copies: 3,
      ageMs: 40,
      causes: [],
    });
    const told = { a: {}, b: {}, c: {}, d: { holds: 'silent' }, e: { ageMs: OLD } } as const;
    expect(standing(told)).toMatchObject({ state: 'safe', copies: 3, ageMs: 0 });
  });

  it('counts no copy of who could not prove it, and says so', () => {
    const causes = [{ kind: 'unproved', ...away('c') }];
    const told = { a: { isProved: true }, b: {}, c: { isProved: false } };
    expect(standing(told)).toMatchObject({ state: 'reduced', copies: 2, causes });
    // Of one that is distrusted nothing counts, whether it was asked of this file or proved some of it.
    const liar = { a: {}, b: {}, c: { isProved: true, isDistrusted: true } };
    expect(standing(liar)).toMatchObject({ state: 'reduced', copies: 2, causes });
    // Whether it answers changes nothing either; nor does it make a file reduced that has enough others.
    expect(standing({ ...liar, c: { isDistrusted: true, ageMs: OLD } })).toMatchObject({
      state: 'reduced',
      copies: 2,
    });
    expect(standing({ a: {}, b: {}, d: {}, c: { isDistrusted: true } })).toMatchObject({
      state: 'safe',
      copies: 3,
      causes: [],
    });
    const nothing = { a: {}, b: {}, c: { isDistrusted: true, holds: [] } };
    expect(standing(nothing, { isYoung: true })).toMatchObject({ causes: [{ kind: 'new' }] });
    const lost = { a: { isProved: false }, b: { isDistrusted: true } };
    expect(standing(lost)).toMatchObject({ state: 'missing', copies: 0 });
  });

  it('is unknown just after the start, whatever was remembered of the others', () => {
    const causes = [{ kind: 'joining' }];
    const remembered = { a: {}, b: { state: 'out' }, c: { state: 'down' } } as const;
    expect(standing(remembered, { isJoining: true })).toEqual({
      state: 'unknown',
      copies: 1,
      ageMs: 0,
      causes,
    });
    const alone = { a: { holds: 'silent' } } as const;
    expect(standing(alone, { isJoining: true })).toMatchObject({ state: 'unknown', causes });
    expect(standing({ a: {} }, { isJoining: true, replicas: 1 })).toMatchObject({ state: 'safe' });
  });

  it('is unknown while this process stands aside for another one', () => {
    const gateway = 'http://127.0.0.1:7100';
    const causes = [{ kind: 'aside', gateway }];
    for (const isJoining of [true, false])
      expect(
        standing({ a: {}, b: { ageMs: OLD } }, { isJoining, asideFor: gateway }),
      ).toMatchObject({ state: 'unknown', causes });
  });

  it('is unknown, with the last number and its date, when somebody who is up does not answer', () => {
    const causes = [{ kind: 'unanswered', ...away('c') }];
    const late = { a: {}, b: {}, c: { ageMs: OLD } };
    expect(standing(late)).toEqual({ state: 'unknown', copies: 3, ageMs: OLD, causes });
    expect(standing({ ...late, c: { isReachable: false, ageMs: 50 } })).toEqual({
      state: 'unknown',
      copies: 3,
      ageMs: 50,
      causes,
    });
    expect(standing({ ...late, c: { holds: 'silent' } })).toMatchObject({
      state: 'unknown',
      causes,
    });
    expect(standing({ a: { holds: 'silent' } })).toMatchObject({
      state: 'unknown',
      copies: 0,
      ageMs: undefined,
    });
    // A suspect is one who may be busy: what it said a moment ago stands.
    const suspect = { a: {}, b: {}, c: { state: 'suspect', ageMs: 500 } } as const;
    expect(standing(suspect)).toMatchObject({ state: 'safe', copies: 3, ageMs: 500 });
  });

  it('is reduced when a peer with a copy is away, and says from when new ones are made', () => {
    const b = { state: 'down', outInMs: 600_000, goneForMs: 100, ageMs: 5000 } as const;
    const causes: object[] = [{ kind: 'away', ...away('b'), repairFromMs: WALL_MS + 600_000 }];
    const spare = { a: {}, b, c: {}, d: { holds: [] } } as const;
    expect(standing(spare)).toMatchObject({ state: 'reduced', copies: 2, causes });
    // A new file too: it had its copies.
    expect(standing(spare, { isYoung: true })).toMatchObject({ state: 'reduced', causes });
    // Without a peer to spare there is nobody to make them at.
    causes.push({ kind: 'few-peers', count: 2 });
    expect(standing({ a: {}, b, c: {} })).toMatchObject({ state: 'reduced', copies: 2, causes });
    // Nobody can read it now, and it is not lost.
    expect(standing({ a: { holds: [] }, b })).toMatchObject({ state: 'reduced', copies: 0 });
  });

  it('blames nobody who is away for copies that it never had', () => {
    const others = { a: {}, c: {}, d: { holds: [] } } as const;
    const b = { state: 'down', goneForMs: 5000, outInMs: 1 } as const;
    const young = { isYoung: true, knownForMs: 1000 };
    expect(standing({ ...others, b: { ...b, holds: [] } }, young)).toMatchObject({
      state: 'spreading',
      causes: [{ kind: 'new' }],
    });
    expect(standing({ ...others, b: { ...b, holds: 'silent' } }, young)).toMatchObject({
      state: 'spreading',
    });
    // It may have had it, when it was there after the file came.
    expect(
      standing({ ...others, b: { ...b, holds: 'silent' } }, { ...young, knownForMs: 9000 }),
    ).toMatchObject({ state: 'reduced' });
  });

  it('says that copies of a peer that is gone are being made anew', () => {
    const b = { state: 'out', ageMs: OLD } as const;
    expect(standing({ a: {}, b, c: {}, d: { holds: [] } })).toMatchObject({
      state: 'reduced',
      copies: 2,
      causes: [{ kind: 'gone', ...away('b') }],
    });
  });

  it('is limited by the peers there are', () => {
    const causes = [{ kind: 'few-peers', count: 2 }];
    expect(standing({ a: {}, b: {} })).toMatchObject({ state: 'limited', copies: 2, causes });
    expect(standing({ a: {}, b: {}, c: { state: 'out' } })).toMatchObject({
      state: 'limited',
      causes,
    });
    expect(standing({ a: {}, b: { holds: [] } }, { isYoung: true })).toMatchObject({
      state: 'spreading',
      causes: [{ kind: 'new' }, ...causes],
    });
    // Said whatever else there is to say.
    expect(standing({ a: {}, b: { ageMs: OLD } })).toMatchObject({
      state: 'unknown',
      copies: 2,
      causes: [{ kind: 'unanswered', ...away('b') }, ...causes],
    });
    expect(standing({ a: {}, b: { state: 'down', outInMs: 5 } }, { replicas: 5 })).toMatchObject({
      state: 'reduced',
      causes: [{ kind: 'away' }, { kind: 'few-peers', count: 1 }],
    });
    // One that is full takes none, and keeps the one that it has.
    const full = { a: {}, b: { freeBytes: 0 }, c: { freeBytes: 0, holds: [] } } as const;
    expect(standing(full)).toMatchObject({ state: 'limited', copies: 2, causes });
    expect(standing({ ...full, c: { freeBytes: 0 } })).toMatchObject({ state: 'safe' });
    // A peer that is away takes no copy of a new file.
    const gap = { a: {}, b: {}, c: { state: 'down', goneForMs: 5000, holds: 'silent' } } as const;
    const young = { isYoung: true, knownForMs: 1000 };
    expect(standing(gap, young)).toMatchObject({ state: 'limited', copies: 2, causes });
    expect(standing({ ...gap, b: { holds: [] } }, young)).toMatchObject({
      state: 'spreading',
      causes: [{ kind: 'new' }, ...causes],
    });
  });

  it('is at risk without a reason, and missing only when nobody who may have it is expected', () => {
    expect(standing({ a: {}, b: {}, c: { holds: [0, 1] } })).toMatchObject({
      state: 'at-risk',
      copies: 2,
      causes: [],
    });
    expect(standing({ a: { holds: [0, 1] }, b: { holds: [] } }, { replicas: 1 })).toMatchObject({
      state: 'missing',
      copies: 0,
    });
    expect(standing({ a: { holds: [] }, b: { state: 'out' } }, { replicas: 1 })).toMatchObject({
      state: 'missing',
      causes: [{ kind: 'gone', ...away('b') }],
    });
  });
});
