import { describe, expect, it } from '@jest/globals';
import type { MemberRecord, PeerId } from '@shoal/protocol';
import fc from 'fast-check';
import { DEATH_SLACK_MS, HEARSAY_OUT_MIN_MS, MemberTable } from '../src/member-table.ts';

const SELF = 'self' as PeerId;
const A = 'a' as PeerId;
const TTL_MS = 15_000;
const OUT_MS = 600_000;

function record(part: Partial<MemberRecord> = {}): MemberRecord {
  return {
    v: 1,
    peerId: A,
    incarnation: 1,
    seq: 0,
    libp2p: [],
    http: {} as MemberRecord['http'],
    domain: { host: 'h', disk: 'd' },
    version: '0',
    capacityBytes: 1,
    usedBytes: 0,
    freeBytes: 1,
    blocks: 0,
    leaving: false,
    draining: false,
    tls: true,
    ...part,
  };
}

const open = (membersMax = 10) =>
  new MemberTable<string>({
    self: SELF,
    ttlMs: () => TTL_MS,
    outAfterMs: OUT_MS,
    version: 0,
    membersMax,
  });
const news = (part: Partial<MemberRecord>, seenAtMs: number) => ({
  record: record(part),
  signed: JSON.stringify(part),
  seenAtMs,
});

describe('a member', () => {
  it('goes alive, suspect, alive, down, out', () => {
    const table = open();
    expect(table.learn(news({}, 0), 0)).toBe('joined');
    expect(table.suspect(A, 0)).toBe(true);
    expect(table.get(A)?.state).toBe('suspect');
    expect(table.hear(A, 10)).toBe(true);
    expect(table.get(A)?.state).toBe('alive');
    expect(table.tick(10 + TTL_MS)).toEqual([]);
    expect(table.tick(11 + TTL_MS)).toEqual([A]);
    expect(table.get(A)?.state).toBe('down');
    expect(table.tick(11 + TTL_MS + OUT_MS)).toEqual([]);
    expect(table.tick(12 + TTL_MS + OUT_MS)).toEqual([A]);
    expect(table.get(A)?.state).toBe('out');
  });

  it('that refused is not revived by a record from before its death', () => {
    const table = open();
    table.learn(news({ seq: 1 }, 0), 0);
    expect(table.declareDown(A, 1, 5000)).toBe(true);
    expect(table.learn(news({ seq: 2 }, 4000), 6000)).toBe('refreshed');
    expect(table.hear(A, 6000)).toBe(false);
    expect(table.get(A)?.state).toBe('down');
    expect(table.learn(news({ seq: 3 }, 5001 + DEATH_SLACK_MS), 7000)).toBe('returned');
    expect(table.get(A)?.state).toBe('alive');
  });

  it('returns at once with a newer incarnation, and an old accusation misses it', () => {
    const table = open();
    table.learn(news({}, 0), 0);
    table.declareDown(A, 1, 100);
    expect(table.learn(news({ incarnation: 2 }, 150), 150)).toBe('returned');
    expect(table.declareDown(A, 1, 200)).toBe(false);
  });

  it('that says good-bye is down at once and out three times later', () => {
    const table = open();
    table.learn(news({}, 0), 0);
    expect(table.learn(news({ seq: 1, leaving: true }, 10), 10)).toBe('left');
    table.tick(20 + 2 * OUT_MS);
    expect(table.get(A)?.state).toBe('down');
    table.tick(20 + 3 * OUT_MS);
    expect(table.get(A)?.state).toBe('out');
  });

  it('that says good-bye after it drained is out at once, in whatever way we hear of it', () => {
    const goodbye = { seq: 2, leaving: true, draining: true };
    const table = open();
    table.learn(news({}, 0), 0);
    const version = table.version();
    expect(table.learn(news({ seq: 1, draining: true }, 5), 5)).toBe('updated');
    expect(table.version()).toBe(version + 1);
    expect(table.get(A)?.state).toBe('alive');
    expect(table.learn(news(goodbye, 10), 10)).toBe('left');
    expect(table.get(A)?.state).toBe('out');
    expect(table.learn(news({ incarnation: 2 }, 20), 20)).toBe('returned');
    expect(table.get(A)?.state).toBe('alive');

    const refused = open();
    refused.learn(news({ seq: 1, draining: true }, 0), 0);
    refused.declareDown(A, 1, 5);
    const before = refused.version();
    refused.learn(news(goodbye, 4), 6);
    expect(refused.get(A)?.state).toBe('out');
    expect(refused.version()).toBe(before + 1);

    const stranger = open();
    stranger.learn(news(goodbye, 4), 6);
    expect(stranger.get(A)?.state).toBe('out');
  });

  it('is not blamed for a pause of ours', () => {
    const table = open();
    table.learn(news({}, 0), 0);
    table.forgive(60_000);
    expect(table.tick(60_000 + TTL_MS)).toEqual([]);
  });

  it('that is old news enters as down', () => {
    const table = open();
    expect(table.learn(news({}, 0), TTL_MS + 1)).toBe('updated');
    expect(table.get(A)?.state).toBe('down');
  });

  it('that is a suspect is cleared by a newer record than it was suspected under, and by no other', () => {
    const table = open();
    table.learn(news({ seq: 1 }, 0), 0);
    expect(table.suspect(A, 10)).toBe(true);
    table.learn(news({ seq: 1 }, 20), 20);
    expect(table.get(A)).toMatchObject({ state: 'suspect', record: { seq: 1 } });
    expect(table.suspect(A, 30)).toBe(false);
    table.learn(news({ seq: 2 }, 40), 40);
    expect(table.get(A)).toMatchObject({ state: 'alive', suspectUnder: undefined });
  });

  it('that stays a suspect for too long is down, however young its last sign of life is', () => {
    const suspicionMs = () => 1000;
    const settings = { self: SELF, outAfterMs: OUT_MS, version: 0, suspicionMs };
    const table = new MemberTable<string>({ ...settings, ttlMs: () => TTL_MS });
    table.learn(news({}, 0), 0);
    table.suspect(A, 10);
    table.forgive(500);
    expect(table.tick(1510)).toEqual([]);
    table.hear(A, 1510);
    table.suspect(A, 1600);
    expect(table.learn(news({ seq: 1 }, 1700), 1700)).toBe('updated');
    table.suspect(A, 2000);
    expect(table.tick(3000)).toEqual([]);
    expect(table.tick(3001)).toEqual([A]);
    expect(table.get(A)?.state).toBe('down');
  });

  it('is no younger and no less dead when others tell the same record again', () => {
    const table = open();
    table.learn(news({ seq: 1 }, 0), 0);
    expect(table.learn(news({ seq: 1 }, 500), 500)).toBe('stale');
    expect(table.get(A)?.heardAtMs).toBe(0);
    table.declareDown(A, 1, 1000);
    expect(table.learn(news({ seq: 1 }, 9000), 9000)).toBe('stale');
    expect(table.get(A)?.state).toBe('down');
    expect(table.learn({ ...news({ seq: 1 }, 9000), isDirect: true }, 9000)).toBe('returned');
  });

  it('of an earlier run comes back by any word, and with the record that we have', () => {
    const table = open();
    table.learn({ ...news({ seq: 1 }, 0), isSaidGone: true, isRestored: true }, 100);
    expect(table.get(A)?.state).toBe('down');
    expect(table.learn(news({ seq: 1 }, 5000), 5000)).toBe('returned');
    table.declareDown(A, 1, 6000);
    expect(table.learn(news({ seq: 1 }, 9000), 9000)).toBe('stale');
  });

  it('lives by a first word no longer than that lasts, however often it is said again', () => {
    const table = open();
    table.learn(news({ seq: 1 }, 0), 0);
    for (let nowMs = 1000; nowMs <= 4 * TTL_MS; nowMs += 1000) {
      expect(table.learn(news({ seq: 1 }, nowMs), nowMs)).toBe('stale');
      table.tick(nowMs);
      expect(table.get(A)?.state).toBe(nowMs > TTL_MS ? 'down' : 'alive');
    }
  });

  it('that others said is gone comes back by the first who says that it lives, if that is soon', () => {
    const gone = { ...news({ seq: 1 }, 0), isSaidGone: true };
    const soon = open();
    soon.learn(gone, 1000);
    expect(soon.get(A)?.state).toBe('down');
    expect(soon.learn(news({ seq: 1 }, 1000 + TTL_MS), 1000 + TTL_MS)).toBe('returned');
    const late = open();
    late.learn(gone, 1000);
    expect(late.learn(news({ seq: 1 }, 1001 + TTL_MS), 1001 + TTL_MS)).toBe('refreshed');
    expect(late.get(A)?.state).toBe('down');
  });

  it('is not out by what others say before there was time to hear from somebody else', () => {
    const table = open();
    table.learn({ ...news({}, -10 * OUT_MS), isSaidGone: true }, 0);
    expect(table.tick(HEARSAY_OUT_MIN_MS)).toEqual([]);
    expect(table.tick(HEARSAY_OUT_MIN_MS + 1)).toEqual([A]);
    expect(table.get(A)?.state).toBe('out');
  });

  it('is as old as its clock says, when a relay kept its record back', () => {
    const table = open();
    table.learn({ ...news({ seq: 1, atMs: 1_000_000 }, 0), isDirect: true }, 0);
    table.declareDown(A, 1, 5000);
    for (const seq of [2, 3, 4]) {
      const nowMs = 60_000 * seq;
      table.learn(news({ seq, atMs: 1_000_000 + seq * 1000 }, nowMs), nowMs);
      expect(table.get(A)).toMatchObject({ state: 'down', record: { seq } });
    }
    // One that lives goes on signing, and one whose clock was set back is not dead for it.
    expect(table.learn(news({ seq: 5, atMs: 1_300_000 }, 300_000), 300_000)).toBe('returned');
    table.suspect(A, 310_000);
    expect(table.learn(news({ seq: 6, atMs: 500 }, 320_000), 320_000)).toBe('updated');
    expect(table.get(A)).toMatchObject({ state: 'alive', heardAtMs: 320_000 });
  });

  it('is no older than when its record came, when a relay said too great an age before another', () => {
    const table = open();
    table.learn({ ...news({ seq: 1 }, 0), isDirect: true }, 0);
    expect(table.learn(news({ seq: 2 }, -1e9), 10_000)).toBe('refreshed');
    expect(table.get(A)?.heardAtMs).toBe(0);
    expect(table.learn(news({ seq: 2 }, 12_000), 12_000)).toBe('refreshed');
    expect(table.get(A)?.heardAtMs).toBe(10_000);
    expect(table.learn(news({ seq: 2 }, 14_000), 14_000)).toBe('stale');
  });

  it('is never ourselves', () => {
    const table = open();
    expect(table.learn(news({ peerId: SELF }, 0), 0)).toBe('stale');
    expect(table.all()).toEqual([]);
  });
});

describe('the table', () => {
  it('makes room by forgetting who is down longest, and nobody who is up', () => {
    const table = open(2);
    table.learn(news({ peerId: 'a' as PeerId }, 0), 0);
    table.learn(news({ peerId: 'b' as PeerId }, 0), 0);
    expect(table.learn(news({ peerId: 'c' as PeerId }, 0), 0)).toBe('stale');
    table.declareDown('b' as PeerId, 1, 1);
    expect(table.learn(news({ peerId: 'c' as PeerId }, 1), 1)).toBe('joined');
    expect(table.all().map(({ record: { peerId } }) => peerId)).toEqual(['a', 'c']);
  });

  it('changes its version for a state and an address, not for a figure', () => {
    const table = open();
    table.learn(news({}, 0), 0);
    const version = table.version();
    table.learn(news({ seq: 1, usedBytes: 5 }, 1), 1);
    expect(table.version()).toBe(version);
    table.learn(news({ seq: 2, libp2p: ['/ip4/1.2.3.4/tcp/5'] }, 2), 2);
    expect(table.version()).toBe(version + 1);
  });

  it('ends with the newest record in whatever order the news came', () => {
    const item = fc.record({ incarnation: fc.nat(3), seq: fc.nat(5), ageMs: fc.nat(100) });
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 20 }), (items) => {
        const table = open();
        for (const { incarnation, seq, ageMs } of items)
          table.learn(news({ incarnation, seq }, 1000 - ageMs), 1000);
        const newest = Math.max(...items.map(({ incarnation, seq }) => incarnation * 10 + seq));
        const kept = table.get(A)?.record;
        return Number(kept?.incarnation) * 10 + Number(kept?.seq) === newest;
      }),
      { seed: 1 },
    );
  });

  it('never revives a member by anything heard of the time before its death', () => {
    const item = fc.record({ seq: fc.nat(50), seenAtMs: fc.nat(5000) });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 20 }), (items) => {
        const table = open();
        table.learn(news({}, 0), 0);
        table.declareDown(A, 1, 5000);
        for (const { seq, seenAtMs } of items) table.learn(news({ seq }, seenAtMs), 5500);
        return table.get(A)?.state === 'down';
      }),
      { seed: 2 },
    );
  });

  it('takes nobody for alive longer after its death than a record lasts, whatever a relay tells in whatever order', () => {
    const item = fc.record({ seq: fc.nat(20), ageMs: fc.nat(2 * TTL_MS), gapMs: fc.nat(TTL_MS) });
    const signedAtMs = (seq: number) => seq * 1000;
    const diedAtMs = 20_000;
    fc.assert(
      fc.property(fc.array(item, { maxLength: 40 }), (items) => {
        const table = open();
        table.learn({ ...news({ atMs: 1_000_000 }, 0), isDirect: true }, 0);
        let nowMs = diedAtMs;
        for (const { seq, ageMs, gapMs } of items) {
          nowMs += gapMs;
          table.tick(nowMs);
          const atMs = 1_000_000 + signedAtMs(seq);
          table.learn(news({ seq, atMs }, nowMs - ageMs), nowMs);
          // A thousandth more than its clock says, for one that runs slow.
          if (nowMs > diedAtMs + TTL_MS + 20 && table.get(A)?.state === 'alive') return false;
        }
        return true;
      }),
      { seed: 3 },
    );
  });
});
