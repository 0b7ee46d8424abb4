/**
 * Power cuts: a store works, all that it does to its disk is recorded, and then it is opened in many
 * of the states that the disk could have been left in. Whatever it had acknowledged must be there,
 * whole; whatever it had deleted must be gone; and it must open without anybody's help.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { env, stdout } from 'node:process';
import { describe, expect, it } from '@jest/globals';
import { createLog, createRegistry } from '@shoal/chassis';
import { KiB, type Lease } from '@shoal/protocol';
import {
  crashStateAt,
  createDiskRecord,
  createRandom,
  type DiskRecord,
  materialise,
  type Random,
  seededBytes,
} from '@shoal/testkit';
import { openBlockIndex } from '../../src/index/block-index.ts';
import { type Digest, digestOfHash } from '../../src/disk/block-record.ts';
import { type Blockstore } from '../../src/store/blockstore.ts';
import { openDiskBlockstore } from '../../src/store/disk-blockstore.ts';
import { type FileIo, nodeFileIo } from '../../src/disk/file-io.ts';
import { createMetrics } from '../../src/metrics.ts';
import { newLease } from './harness.ts';

/** States to open; POWER_CUT_STATES=10000 for a long run. Each commit opens others. */
const STATES = Number(env['POWER_CUT_STATES'] ?? 300);
const SEED = env['POWER_CUT_SEED'] ?? commitHere() ?? '20261122';
/** Hundreds of folders are made for each state: in memory that is quick. */
const PARENT = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const ROUNDS = 60;
const SIZES = [0, 100, 20 * KiB, 65 * KiB, 70 * KiB, 90 * KiB];

function commitHere(): string | undefined {
  const { status, stdout: hash } = spawnSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' });
  return status === 0 ? hash.trim() : undefined;
}

/** Files as the store makes them, each call noted before and after. */
function recordingIo(record: DiskRecord, dir: string): FileIo {
  const open = new Map<number, number>();
  const named = new Map<string, number>();
  let files = 0;
  const at = (path: string) => relative(dir, path);
  const fileOf = (fd: number) => open.get(fd) ?? -1;
  return {
    create(path) {
      const fd = nodeFileIo.create(path);
      files += 1;
      open.set(fd, files);
      named.set(at(path), files);
      record.now({ kind: 'create', path: at(path), file: files });
      return fd;
    },
    async writeAll(fd, bytes) {
      const copy = Uint8Array.from(bytes);
      const end = record.begin({ kind: 'write', file: fileOf(fd), offset: 0, bytes: copy });
      await nodeFileIo.writeAll(fd, bytes);
      end();
    },
    async sync(fd) {
      const end = record.begin({ kind: 'sync', file: fileOf(fd) });
      await nodeFileIo.sync(fd);
      end();
    },
    close(fd) {
      nodeFileIo.close(fd);
      open.delete(fd);
    },
    rename(from, to) {
      nodeFileIo.rename(from, to);
      const file = named.get(at(from)) ?? -1;
      named.delete(at(from));
      named.set(at(to), file);
      record.now({ kind: 'rename', from: at(from), to: at(to), file });
    },
    async remove(path) {
      const end = record.begin({ kind: 'remove', path: at(path) });
      await nodeFileIo.remove(path);
      end();
    },
    removeNow(path) {
      nodeFileIo.removeNow(path);
      record.now({ kind: 'remove', path: at(path) });
    },
    makeFolder(path) {
      nodeFileIo.makeFolder(path);
      record.now({ kind: 'make-folder', path: at(path) });
    },
    async syncFolder(path) {
      const end = record.begin({ kind: 'sync-folder', path: at(path) });
      await nodeFileIo.syncFolder(path);
      end();
    },
  };
}

/** The index, with a snapshot of its file after each commit. */
function recordingIndex(record: DiskRecord, dir: string): typeof openBlockIndex {
  return (path, options) => {
    const file = join(path, 'data.mdb');
    record.now({ kind: 'make-folder', path: relative(dir, path) });
    const index = openBlockIndex(path, options);
    record.now({ kind: 'create', path: relative(dir, file), file: 0 });
    record.beginCommit(relative(dir, file))(readFileSync(file));
    return {
      ...index,
      async write(changes) {
        const end = record.beginCommit(relative(dir, file));
        await index.write(changes);
        end(readFileSync(file));
      },
      [Symbol.asyncDispose]: () => index[Symbol.asyncDispose](),
    };
  };
}

interface Folder extends Disposable {
  readonly path: string;
}

function openFolder(parent: string): Folder {
  const path = mkdtempSync(join(parent, 'shoal-power-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function openStore(
  dir: string,
  more: { isDurable: boolean; io?: FileIo; openIndex?: typeof openBlockIndex },
): Promise<Blockstore> {
  return openDiskBlockstore({
    dir,
    capacityBytes: undefined,
    reserveBytes: 0,
    repairShare: 0,
    readsMax: 8,
    waitingMax: 100,
    leaseIdleMs: 3_600_000,
    scrubIntervalMs: 3_600_000,
    nowMs: Date.now,
    uptimeMs: () => performance.now(),
    metrics: createMetrics(createRegistry('storage')),
    log: createLog('storage', 'silent', {}),
    ...more,
  });
}

/** A round of the run: what was held once it was over, and what was acknowledged within it. */
interface Round {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly held: ReadonlySet<Digest>;
  /** Puts of this round, and the tick at which each was acknowledged. */
  readonly puts: ReadonlyMap<Digest, number>;
}

interface Run {
  readonly record: DiskRecord;
  /** The tick at which the store was open: before, there was nothing to keep. */
  readonly openedAt: number;
  readonly rounds: readonly Round[];
  readonly blocks: ReadonlyMap<Digest, Uint8Array>;
}

/** Works a store at random: puts with and without leases, leases that end either way, pins, drops. */
async function work(dir: string, random: Random): Promise<Run> {
  const record = createDiskRecord();
  const io = recordingIo(record, dir);
  const openIndex = recordingIndex(record, dir);
  await using store = await openStore(dir, { isDurable: true, io, openIndex });
  const openedAt = record.ticks;
  const blocks = new Map<Digest, Uint8Array>();
  const rounds: Round[] = [];
  let leases: Lease[] = [newLease(), newLease()];
  const newBytes = (): Uint8Array => seededBytes(String(random.share()), random.pick(SIZES));
  const held = () => [...blocks.keys()].filter((digest) => store.find(digest) !== undefined);

  const putSome = async (puts: Map<Digest, number>): Promise<void> => {
    const count = random.int(1, 7);
    await Promise.all(
      Array.from({ length: count }, async () => {
        // Now and then bytes that were here before: they come back after a deletion.
        const isOld = blocks.size > 0 && random.share() < 0.2;
        const bytes = isOld ? random.pick([...blocks.values()]) : newBytes();
        const digest = digestOfHash(createHash('sha256').update(bytes).digest());
        blocks.set(digest, bytes);
        await store.put(digest, bytes, random.share() < 0.6 ? random.pick(leases) : undefined);
        record.now({ kind: 'note', text: `acknowledged ${digest}` });
        if (!puts.has(digest)) puts.set(digest, record.ticks);
      }),
    );
  };
  const actions: readonly ((puts: Map<Digest, number>) => Promise<unknown>)[] = [
    putSome,
    putSome,
    putSome,
    async () => {
      const lease = random.pick(leases);
      await store.endLease(lease, random.share() < 0.5 ? 'completed' : 'given-up');
      leases = [...leases.filter((other) => other !== lease), newLease()];
    },
    async () => {
      const entries = held()
        .filter(() => random.share() < 0.3)
        .map((digest) => ({ digest, isNode: false }));
      await store.mark(entries, 3);
    },
    async () => {
      const some = held().filter(() => random.share() < 0.2);
      await store.retire(
        some.map((digest) => ({ digest, isNode: false })),
        3,
      );
      await store.drop(some);
    },
  ];
  for (let round = 0; round < ROUNDS; round += 1) {
    const puts = new Map<Digest, number>();
    const startedAt = record.ticks;
    await random.pick(actions)(puts);
    rounds.push({ startedAt, endedAt: record.ticks, held: new Set(held()), puts });
  }
  return { record, openedAt, rounds, blocks };
}

/** What must be held, and what may be, when the power goes at this tick. */
function expectedAt(tick: number, { rounds }: Run) {
  const done = rounds.findLast(({ endedAt }) => endedAt <= tick);
  const before = done?.held ?? new Set<Digest>();
  const under = rounds.find(({ startedAt, endedAt }) => startedAt <= tick && endedAt > tick);
  if (under === undefined) return { must: before, may: before };
  const must = new Set([...before].filter((digest) => under.held.has(digest)));
  for (const [digest, acknowledgedAt] of under.puts) if (acknowledgedAt <= tick) must.add(digest);
  return { must, may: new Set([...before, ...under.held, ...under.puts.keys()]) };
}

describe('a power cut', () => {
  it(`at any moment leaves every acknowledged block whole, in ${STATES} states`, async () => {
    using folder = openFolder(PARENT);
    const random = createRandom(SEED);
    const run = await work(folder.path, random);
    const faults: string[] = [];
    const seen = { lost: 0, early: 0, partial: 0 };
    for (let state = 0; state < STATES; state += 1) {
      // Opening makes hundreds of folders: most cuts are to come later, where there is much to lose.
      const from = random.share() < 0.1 ? 0 : run.openedAt;
      const tick = random.int(from, run.record.ticks + 1);
      using dir = openFolder(PARENT);
      const disk = crashStateAt(run.record.steps, tick, random);
      materialise(disk, dir.path);
      const where = `seed ${SEED}, state ${state}, tick ${tick} of ${run.record.ticks}`;
      if (tick < run.openedAt) seen.early += 1;
      const { must, may } = expectedAt(tick, run);
      try {
        await using store = await openStore(dir.path, { isDurable: false });
        for (const [digest, bytes] of run.blocks) {
          using block = await store.read(digest);
          if (must.has(digest) && block === undefined) faults.push(`${where}: ${digest} is gone`);
          if (block !== undefined && !may.has(digest)) faults.push(`${where}: ${digest} is back`);
          if (block !== undefined && !Buffer.from(bytes).equals(block.bytes))
            faults.push(`${where}: ${digest} is wrong`);
          if (block === undefined && may.has(digest)) seen.lost += 1;
          if (block !== undefined && !must.has(digest)) seen.partial += 1;
        }
      } catch (error) {
        faults.push(`${where}: it does not open: ${String(error)}`);
      }
    }
    stdout.write(
      `power cut: ${STATES} states of ${run.record.ticks} ticks, ${run.blocks.size} blocks; ${seen.lost} unacknowledged gone, ${seen.partial} there, ${seen.early} states before the store was open\n`,
    );
    expect(faults).toEqual([]);
    // The states differ: otherwise nothing was tried.
    expect(Math.min(seen.lost, seen.partial, seen.early)).toBeGreaterThan(0);
  }, 600_000);
});
