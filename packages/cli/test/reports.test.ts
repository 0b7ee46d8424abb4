/** What commands say to people of what a peer answered. */
import { describe, expect, it } from '@jest/globals';
import {
  Cid,
  type FileCause,
  FileHealth,
  PeerId,
  Sha256,
  type UpkeepReport,
} from '@shoal/protocol';
import { describeDrain } from '../src/commands/peers/drain.ts';
import { openFiles, openJson } from '../src/commands/files/ls.ts';
import { stateOf } from '../src/commands/peers/peers.ts';
import { createScrubWatch, describeScrub } from '../src/commands/peers/scrub.ts';
import { healthReport } from '../src/commands/files/stat.ts';
import { describeSweep } from '../src/commands/peers/sweep.ts';
import { upkeepReport } from '../src/commands/peers/upkeep.ts';
import { formatTime } from '../src/terminal/format.ts';

const NOW_MS = Date.UTC(2026, 0, 15, 12);
const MINUTE_MS = 60_000;
const cid = Cid.parse('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');

const peerId = PeerId.parse('12D3KooWGC6KA2TxpgZQGvxgJqP5dnhQkDfEQF5WmsjJ1hLwLEps');
const file = {
  cid,
  name: 'report.pdf',
  sizeBytes: 1_500_000,
  sha256: Sha256.parse('ab'.repeat(32)),
  blocks: 3,
  replicas: 3,
  createdAtMs: NOW_MS - 2 * MINUTE_MS,
  kind: 'file' as const,
  state: 'safe' as const,
  causes: [] as FileCause[],
  copies: 3,
};

describe('shoal stat', () => {
  const health: FileHealth = {
    ...file,
    confirmed: 3,
    claimed: 4,
    proved: 3,
    survivesPeers: 2,
    disks: 3,
    machines: 2,
    verifiedAtMs: NOW_MS - 1000,
    checkedAtMs: NOW_MS - 7 * 24 * 60 * MINUTE_MS,
    holders: [
      {
        peerId,
        blocks: 2,
        share: 2 / 3,
        haveMap: { root: cid, blocks: 3, bits: 'wA' },
      },
    ],
  };

  it('tells the state, what the file survives, how fresh that is, and who holds how much', () => {
    const report = healthReport(health, NOW_MS);
    expect(report).toContain('size       1.4 MiB in 3 blocks\n');
    expect(report).toContain('state      safe, 3 of 3 copies\n');
    expect(report).toContain('proved     3 of 4 copies that peers say they hold\n');
    expect(report).toContain(
      'survives   the loss of any 2 peers; copies on 3 disks of 2 machines\n',
    );
    expect(report).toContain('expires    never\n');
    expect(report).toContain('verified   1 s ago\n');
    expect(report).toContain('re-hashed  7 d ago\n');
    expect(report).toMatch(/\n\nPEER +BLOCKS +SHARE\n…\w{8} +2 +66 %\n$/);
  });

  it('marks a holder that could not prove what it says', () => {
    const [holder] = health.holders;
    if (holder === undefined) throw new Error('it has one holder');
    const holders = [{ ...holder, proof: 'failed' as const }];
    expect(healthReport({ ...health, holders }, NOW_MS)).toMatch(/2 +66 %, could not prove it\n$/);
  });

  it.each([
    [
      { copies: 0, survivesPeers: 0, disks: 0 },
      'nothing: a block has no copy at a peer that is up',
    ],
    [{ copies: 1, survivesPeers: 0, disks: 1 }, 'not the loss of any peer'],
    [
      { copies: 2, survivesPeers: 1, disks: 1 },
      'the loss of any 1 peer, but not of their one disk',
    ],
    [
      { copies: 2, survivesPeers: 1, disks: 0 },
      'the loss of any 1 peer, but not of power: copies are in memory only',
    ],
  ])('never says more than %p is worth', (figures, words) => {
    const report = healthReport({ ...health, ...figures }, NOW_MS);
    expect(report).toContain(`survives   ${words}\n`);
  });

  it.each<[FileCause, string]>([
    [{ kind: 'new' }, 'its copies are being made'],
    [
      { kind: 'away', peers: [peerId], count: 1, repairFromMs: NOW_MS + 10 * MINUTE_MS },
      `…1hLwLEps is away; new copies from ${formatTime(NOW_MS + 10 * MINUTE_MS).slice(-5)} if that stays so`,
    ],
    [{ kind: 'gone', peers: [peerId], count: 2 }, '2 peers are gone; new copies are being made'],
    [
      { kind: 'unproved', peers: [peerId], count: 1 },
      '…1hLwLEps could not prove the copies it says it holds; new copies are being made',
    ],
    [
      { kind: 'unproved', peers: [peerId], count: 2 },
      '2 peers could not prove the copies they say they hold; new copies are being made',
    ],
    [
      { kind: 'joining' },
      'the peer was started a moment ago, and has not heard from the others yet',
    ],
    [
      { kind: 'aside', gateway: 'http://other.test:7100' },
      'the peer stands aside, since another process runs under its identity, at http://other.test:7100; ask there',
    ],
    [{ kind: 'few-peers', count: 2 }, '2 peers can take copies, and it asks for 3'],
    [
      { kind: 'unanswered', peers: [peerId], count: 1 },
      `no answer from …1hLwLEps; copies as of ${formatTime(NOW_MS - 1000).slice(-5)}`,
    ],
  ])('says why copies lack: %j', (cause, words) => {
    const report = healthReport(
      { ...health, state: 'reduced', copies: 2, causes: [cause] },
      NOW_MS,
    );
    expect(report).toContain(`state      reduced, 2 of 3 copies\n           ${words}\n`);
  });

  it('says when nobody holds anything, and when the oldest re-hash is not known', () => {
    const { checkedAtMs: _, ...unchecked } = health;
    const report = healthReport(
      { ...unchecked, holders: [], expiresAtMs: NOW_MS + MINUTE_MS },
      NOW_MS,
    );
    expect(report).toContain('re-hashed  not known of all holders\n');
    expect(report).toContain(`expires    ${formatTime(NOW_MS + MINUTE_MS)}\n`);
    expect(report).not.toContain('PEER');
  });
});

describe('shoal ls', () => {
  it('says why copies lack only if some do, and marks a number that is not of now', () => {
    expect(openFiles(NOW_MS)({ total: 1, files: [file] })).not.toContain('WHY');
    const unknown = {
      ...file,
      state: 'unknown' as const,
      causes: [{ kind: 'unanswered' as const, peers: [peerId], count: 1 }],
    };
    const table = openFiles(NOW_MS)({ total: 2, files: [file, unknown] });
    expect(table).toMatch(/CID +WHY\n/);
    expect(table).toMatch(/3\/3\? +unknown .*no answer from …/);
  });

  it('shows when files end only if one does', () => {
    expect(openFiles(NOW_MS)({ total: 1, files: [file] })).not.toContain('EXPIRES');
    const ending = { ...file, expiresAtMs: NOW_MS };
    const table = openFiles(NOW_MS)({ total: 2, files: [file, ending] });
    expect(table).toMatch(/EXPIRES +CID\n/);
    expect(table).toMatch(/2 min +never +baf/);
    expect(table).toContain(formatTime(NOW_MS));
  });

  it('keeps the columns of the first page, with one for what a later page may need', () => {
    const write = openFiles(NOW_MS);
    const first = write({ total: 2, files: [file], next: '1.x' });
    expect(first).toMatch(/EXPIRES +CID +WHY\n/);
    const ending = { ...file, expiresAtMs: NOW_MS };
    const second = write({ total: 2, files: [ending] });
    expect(second.split('\n')).toHaveLength(2);
    expect(second.indexOf(file.cid)).toBe(first.split('\n')[1]?.indexOf(file.cid));
  });

  it('is one answer as JSON, of however many pages', () => {
    const write = openJson();
    const text =
      write({ total: 3, files: [file, file], next: '1.x' }) +
      write({ total: 3, files: [], next: '1.y' }) +
      write({ total: 3, files: [file] });
    expect(JSON.parse(text)).toEqual({ total: 3, files: [file, file, file] });
    expect(JSON.parse(openJson()({ total: 0, files: [] }))).toEqual({ total: 0, files: [] });
  });
});

describe('shoal peers', () => {
  it('says who is draining', () => {
    expect(stateOf({ state: 'alive', draining: true, isSelf: true })).toBe(
      'alive, draining (asked)',
    );
    expect(stateOf({ state: 'down', draining: false, isSelf: false })).toBe('down');
    expect(stateOf({ state: 'down', draining: false, isSelf: false, outInMs: 5 * MINUTE_MS })).toBe(
      'down, replaced in 5 min',
    );
  });
});

describe('shoal drain', () => {
  const report = {
    isDraining: true,
    isDrained: false,
    filesTotal: 12,
    filesLeft: 3,
    filesBelow: 0,
    blocksLeft: 1,
  };

  it.each([
    [report, 'handing over: 3 of 12 files left, 1 block'],
    [
      { ...report, heldUpBy: 'no other peer is up' },
      'handing over: 3 of 12 files left, 1 block; held up: no other peer is up',
    ],
    [{ ...report, isDraining: false }, 'this peer stays: it is not draining'],
    [
      { ...report, isDrained: true, filesLeft: 0, blocksLeft: 0 },
      'drained: the other peers hold all copies of 12 files, this peer may be stopped for good',
    ],
    [
      { ...report, isDrained: true, filesLeft: 0, filesBelow: 4, blocksLeft: 0 },
      'drained: this peer has nothing more to give and may be stopped for good; without it 4 of 12 files have fewer copies than they ask for ("shoal ls" names them)',
    ],
  ])('%#: says how far it is', (state, sentence) => {
    expect(describeDrain(state)).toBe(sentence);
  });
});

describe('shoal sweep', () => {
  const report = {
    isDryRun: false,
    startedAtMs: NOW_MS,
    durationMs: 5,
    pins: 2,
    reachedBlocks: 40,
    leasedBlocks: 0,
    condemnedBlocks: 1,
    condemnedBytes: 1024,
    deletedBlocks: 0,
    deletedBytes: 0,
  };

  it.each([
    [report, '40 blocks kept by 2 files; 1 block (1.0 KiB) condemned, 0 blocks deleted'],
    [
      { ...report, isDryRun: true, leasedBlocks: 7 },
      '40 blocks kept by 2 files, 7 spared as young or in an upload; 1 block (1.0 KiB) would be condemned, 0 blocks would be deleted',
    ],
    [{ ...report, heldUpBy: 'pins are not current' }, 'nothing was done: pins are not current'],
  ])('%#: says what was done', (state, sentence) => {
    expect(describeSweep(state)).toBe(sentence);
  });
});

const upkeep: UpkeepReport = {
  scrub: { intervalMs: 7 * 24 * 60 * MINUTE_MS, bytesPerSecondMax: 1024, overdueBlocks: 0 },
  damaged: { blocks: 0, cids: [] },
  healedBlocks: 0,
  sweep: { intervalMs: 60 * MINUTE_MS, graceMs: 60 * MINUTE_MS },
  loops: [],
};
const round = { startedAtMs: 1000, checkedBlocks: 5, checkedBytes: 2048, damagedBlocks: 1 };
const whole = { ...round, endedAtMs: 2000 };

describe('shoal upkeep', () => {
  it('says so when nothing was done yet', () => {
    const report = upkeepReport(upkeep, NOW_MS);
    expect(report).toContain('scrub    every 7 d, at most 1.0 KiB/s\n');
    expect(report).toContain('         no whole round yet\n');
    expect(report).toContain('damaged  0 blocks now, 0 healed since the start\n');
    expect(report).toContain('         none yet\n');
  });

  it('names what is damaged and the round under way', () => {
    const report = upkeepReport(
      {
        ...upkeep,
        scrub: { ...upkeep.scrub, oldestCheckAtMs: NOW_MS - MINUTE_MS, round, lastWhole: whole },
        damaged: { blocks: 1, cids: [cid] },
      },
      2000 + 5 * MINUTE_MS,
    );
    expect(report).toContain('a round is under way: 5 blocks checked');
    expect(report).toContain('last whole round ended 5 min ago: 5 blocks, 1 damaged');
    expect(report).toContain(`         ${cid}\n`);
  });
});

describe('the loops of shoal upkeep', () => {
  it('are listed with their service, and those of a service that is silent are missed by name', () => {
    const report = upkeepReport(
      {
        ...upkeep,
        loops: [
          {
            service: 'discovery',
            isSilent: false,
            loops: [
              {
                name: 'survey',
                everyMs: 30_000,
                isRunning: true,
                runs: 4,
                lastRunAtMs: NOW_MS - 12_000,
                tookMs: 4.6,
                lastError: { atMs: NOW_MS - 5 * MINUTE_MS, what: 'TimeoutError' },
              },
            ],
          },
          {
            service: 'storage',
            isSilent: false,
            loops: [{ name: 'heal', isRunning: false, runs: 0 }],
          },
          { service: 'transfer', isSilent: true, loops: [] },
        ],
      },
      NOW_MS,
    );
    expect(report.slice(report.indexOf('LOOP')).split('\n')).toEqual([
      'LOOP    SERVICE    EVERY        LAST RUN           TOOK  ERROR',
      'survey  discovery  30 s         12 s ago, running  5 ms  5 min ago: TimeoutError',
      'heal    storage    when needed  not yet',
      'transfer does not answer, so its loops are not listed',
      '',
    ]);
  });

  it('are left out where a peer of an earlier version names none', () => {
    expect(upkeepReport(upkeep, NOW_MS)).not.toContain('LOOP');
  });
});

describe('shoal scrub', () => {
  const damaged = { blocks: 1, cids: [cid] };

  it('waits for its own round, not for one before it, and for the healing', () => {
    const watch = createScrubWatch(1000);
    const before = { ...whole, startedAtMs: 500 };
    expect(watch({ ...upkeep, scrub: { ...upkeep.scrub, round, lastWhole: before } }, 0)).toBe(
      false,
    );
    const after = { ...upkeep, scrub: { ...upkeep.scrub, round: whole, lastWhole: whole } };
    expect(watch({ ...after, damaged }, 1)).toBe(false);
    expect(watch(after, 2)).toBe(true);
  });

  it('gives the healing up after a while, and a round that stands still', () => {
    const after = {
      ...upkeep,
      scrub: { ...upkeep.scrub, round: whole, lastWhole: whole },
      damaged,
    };
    const healing = createScrubWatch(1000);
    expect(healing(after, 0)).toBe(false);
    expect(healing(after, 60_000)).toBe(true);
    const still = { ...upkeep, scrub: { ...upkeep.scrub, round } };
    const standing = createScrubWatch(1000);
    expect(standing(still, 0)).toBe(false);
    const moved = { ...still, scrub: { ...still.scrub, round: { ...round, checkedBlocks: 6 } } };
    expect(standing(moved, 119_000)).toBe(false);
    expect(standing(moved, 130_000)).toBe(false);
    expect(() => standing(moved, 300_000)).toThrow('stands still');
  });

  it('says what was found and whether it is replaced', () => {
    const scrub = { ...upkeep.scrub, lastWhole: whole };
    expect(describeScrub({ ...upkeep, scrub })).toBe(
      '5 blocks checked (2.0 KiB), 1 damaged and replaced',
    );
    expect(describeScrub({ ...upkeep, scrub, damaged })).toContain('1 block not replaced yet');
    const sound = { ...whole, damagedBlocks: 0 };
    expect(describeScrub({ ...upkeep, scrub: { ...scrub, lastWhole: sound } })).toBe(
      '5 blocks checked (2.0 KiB), 0 damaged',
    );
  });
});
