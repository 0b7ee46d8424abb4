import { describe, expect, it } from '@jest/globals';
import type { FileEntry } from '@shoal/protocol';
import type { Look, PeerLook } from './chaos/looks.ts';
import { faultsOf, faultsOfSurvey, looksBetween } from './chaos/truth-rules.ts';

const NOW_MS = 1_000_000;
const LOOK_MS = 500;
const DIGESTS = ['one', 'two'];

type Phase = 'serving' | 'starting' | 'away';
/** What a peer was when, in milliseconds before now: the last one that began counts. */
type Past = readonly (readonly [fromMsAgo: number, Phase, blocks?: readonly string[]])[];

/** Looks over a minute before now and some seconds after it, at peers with these pasts. */
function looksAt(pasts: Readonly<Record<string, Past>>): Look[] {
  const at = (atMs: number): Look => ({
    startMs: atMs,
    endMs: atMs + 100,
    peers: new Map(
      Object.entries(pasts).map(([peerId, past]): [string, PeerLook] => {
        const [, phase = 'away', blocks = DIGESTS] =
          past.findLast(([fromMsAgo]) => atMs >= NOW_MS - fromMsAgo) ?? [];
        const isServing = phase === 'serving';
        return [peerId, { blocks: new Set(blocks), isRunning: phase !== 'away', isServing }];
      }),
    ),
  });
  return Array.from({ length: 140 }, (_, index) => at(NOW_MS - 60_000 + index * LOOK_MS));
}

const UP: Past = [[99_999, 'serving']];
const away = (...peers: string[]) => ({
  kind: 'away',
  peers,
  count: peers.length,
  repairFromMs: 0,
});
const unanswered = (...peers: string[]) => ({ kind: 'unanswered', peers, count: peers.length });

/** What is wrong with this answer of now, in the words of the rules. */
function faults(
  said: {
    state: FileEntry['state'];
    copies: number;
    causes?: readonly object[];
    ageMs?: number;
    blocks?: number;
  },
  pasts: Readonly<Record<string, Past>>,
) {
  const { ageMs = 0, causes = [], blocks = 2, ...rest } = said;
  const entry = { replicas: 3, blocks, causes, verifiedAtMs: NOW_MS - ageMs, ...rest };
  return faultsOf(
    { peerId: 'a', entry: entry as unknown as FileEntry, askedMs: NOW_MS, answeredMs: NOW_MS + 50 }, // what is read of it
    DIGESTS,
    looksAt(pasts),
  )?.join('; ');
}

describe('the rules of truth', () => {
  const three = { a: UP, b: UP, c: UP };

  it('hold a number to what lay there, in both directions', () => {
    expect(faults({ state: 'safe', copies: 3 }, three)).toBe('');
    expect(faults({ state: 'safe', copies: 4 }, three)).toContain('more than the 3');
    expect(faults({ state: 'at-risk', copies: 2 }, three)).toContain('less than the 3');
    expect(faults({ state: 'missing', copies: 0 }, three)).toContain('less than the 3');
    // One block more than what can be looked up: too few may be true, too many is not.
    expect(faults({ state: 'at-risk', copies: 2, blocks: 3 }, three)).toBe('');
    expect(faults({ state: 'safe', copies: 4, blocks: 3 }, three)).toContain('more than the 3');
    const half = { ...three, c: [[99_999, 'serving', ['one']]] as Past };
    expect(faults({ state: 'safe', copies: 3 }, half)).toContain('more than the 2');
    expect(faults({ state: 'at-risk', copies: 2 }, half)).toBe('');
  });

  it('hold it to its date', () => {
    const lost = { ...three, c: [...UP, [8000, 'serving', []]] as Past };
    expect(faults({ state: 'safe', copies: 3, ageMs: 9000 }, lost)).toBe('');
    expect(faults({ state: 'safe', copies: 3, ageMs: 1000 }, lost)).toContain('more than the 2');
    expect(faults({ state: 'safe', copies: 3, ageMs: 30_000 }, three)).toContain('told as of now');
    expect(faults({ state: 'safe', copies: 3, ageMs: -5000 }, three)).toContain('dated ahead');
  });

  it('take away for a reason only of a peer that was away', () => {
    const two = (causes: object[]) => ({ state: 'reduced', copies: 2, causes }) as const;
    const gone = { ...three, c: [...UP, [1000, 'away']] as Past };
    expect(faults(two([away('c')]), gone)).toBe('');
    expect(faults(two([away('c')]), three)).toContain('called away');
    expect(faults(two([]), gone)).toContain('by nobody');
    const starting = {
      ...three,
      c: [
        [5000, 'away'],
        [4000, 'starting'],
      ] as Past,
    };
    expect(faults(two([away('c')]), starting)).toBe('');
    const back = {
      ...three,
      c: [
        [9000, 'away'],
        [4000, 'serving'],
      ] as Past,
    };
    expect(faults(two([away('c')]), back)).toContain('less than the 3');
    expect(faults(two([away('b')]), gone)).toContain('called away');
  });

  it('let "unknown" be too little by the silent peers that it names, and never too much', () => {
    const unknown = (copies: number, ...peers: string[]) =>
      ({
        state: 'unknown',
        copies,
        causes: peers.length === 0 ? [] : [unanswered(...peers)],
      }) as const;
    expect(faults(unknown(2, 'c'), three)).toBe('');
    expect(faults(unknown(1, 'c'), three)).toContain('does not say are silent');
    expect(faults(unknown(4, 'c'), three)).toContain('more than the 3');
    expect(faults(unknown(3), three)).toContain('because of nobody');
    expect(faults(unknown(2, 'c'), { ...three, c: [[99_999, 'away']] })).toContain('not there');
  });

  it('let a peer that was just started know nothing, and no other', () => {
    const joining = { state: 'unknown', copies: 0, causes: [{ kind: 'joining' }] } as const;
    const started: Past = [
      [99_999, 'away'],
      [5000, 'serving'],
    ];
    expect(faults(joining, { ...three, a: started })).toBe('');
    expect(faults(joining, three)).toContain('was ready for long');
  });

  it('judge nothing that was not looked at', () => {
    const looks = looksAt(three);
    expect(looksBetween(looks, NOW_MS - 5000, NOW_MS)).toHaveLength(11);
    expect(looksBetween(looks, NOW_MS - 70_000, NOW_MS)).toBeUndefined();
    expect(looksBetween(looks, NOW_MS, NOW_MS + 60_000)).toBeUndefined();
    const gap = looks.filter(({ startMs }) => Math.abs(startMs - NOW_MS + 4000) > 2000);
    expect(looksBetween(gap, NOW_MS - 8000, NOW_MS)).toBeUndefined();
  });

  it('hold figures to what there is in all', () => {
    const file = { sizeBytes: 10, blocks: 2, replicas: 3, digests: DIGESTS };
    const survey = (files: Record<string, number>, belowTargetBytes = 0) =>
      faultsOfSurvey(
        { files, belowTargetBytes, surveyedMs: NOW_MS - 1000, seenMs: NOW_MS },
        [file, file],
        looksAt(three),
      )?.join('; ');
    expect(survey({ safe: 2 })).toBe('');
    expect(survey({ safe: 1, unknown: 1 })).toBe('');
    expect(survey({ safe: 1, missing: 1 })).toContain('1 files missing, and there were at most 0');
    expect(survey({ reduced: 1 })).toContain('1 files below target');
    expect(survey({ safe: 3 })).toContain('3 files safe');
    expect(survey({ safe: 2 }, 10)).toContain('10 bytes below target');
    const lost = { ...three, c: [[99_999, 'away']] as Past };
    const atLoss = faultsOfSurvey(
      { files: { safe: 1 }, belowTargetBytes: 0, surveyedMs: NOW_MS - 1000, seenMs: NOW_MS },
      [file],
      looksAt(lost),
    );
    expect(atLoss).toEqual(['1 files safe, and there were at most 0']);
  });
});
