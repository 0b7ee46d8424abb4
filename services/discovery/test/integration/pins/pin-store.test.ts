import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { PeerId, type Pin } from '@shoal/protocol';
import { pinBucket, stampOf } from '@shoal/swarm';
import { openTemporaryFolder, type TemporaryFolder } from '@shoal/testkit';
import { open } from 'lmdb';
import type { StoredPin } from '../../../src/state/pin-tables.ts';
import { openState, type State } from '../../../src/state/state.ts';
import { draft } from '../peer.ts';

const ORIGIN = PeerId.parse('12D3KooWEGrzgVSMmfCxMBaLmRcJYCNqtvjdgMXeqwdzDYRQfEgP');
const signed = { payload: '', signature: '' };
const UNDELETE_MS = 5000;

let folder: TemporaryFolder;
let state: State;
let nowMs: number;

beforeEach(async () => {
  folder = await openTemporaryFolder();
  nowMs = 1000;
  state = openHere();
});
afterEach(async () => {
  await state[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function pinOf(name: string, part: Partial<Pin> = {}): Pin {
  const made = {
    v: 1,
    createdAtMs: 1,
    epoch: 1,
    deleted: false,
    clock: 1,
    origin: ORIGIN,
  } as const;
  return { ...draft(name), ...made, ...part };
}
const store = (pin: Pin) => state.pins.update(pin.root, () => ({ pin, signed }));
const listed = () => state.pins.newestRoots({ limit: 10 }).roots;
const openHere = (undeleteMs = UNDELETE_MS): State =>
  openState(folder.path, { nowMs: () => nowMs, undeleteMs });
const reopen = async (undeleteMs?: number) => {
  await state[Symbol.asyncDispose]();
  state = openHere(undeleteMs);
};

describe('pins with an end', () => {
  it('leave the lists when it comes, also after a restart, and stay known', async () => {
    const pin = pinOf('a', { expiresAtMs: 2000 });
    await store(pin);
    await store(pinOf('b', { createdAtMs: 2 }));
    nowMs = 1999;
    expect(await state.pins.turn(10)).toEqual({ ended: [], resumed: [], purged: [] });
    expect(state.pins.rootsBySha256(draft('a').sha256)).toEqual([pin.root]);
    await reopen();
    nowMs = 2000;
    expect(await state.pins.turn(10)).toEqual({ ended: [pin], resumed: [], purged: [] });
    expect(listed()).toEqual([draft('b').root]);
    expect(state.pins.rootsBySha256(draft('a').sha256)).toEqual([pin.root]);
    expect(state.pins.counts()).toEqual({ live: 1, deleted: 0, recoverable: 0 });
    expect(state.pins.get(pin.root)?.pin).toEqual(pin);
    await reopen();
    expect(await state.pins.turn(10)).toEqual({ ended: [], resumed: [], purged: [] });
  });

  it('come back when the end moves, with another upload, and when the clock goes back', async () => {
    const pin = pinOf('a', { expiresAtMs: 2000 });
    await store(pin);
    nowMs = 5000;
    await state.pins.turn(10);
    await store({ ...pin, clock: 2, expiresAtMs: 6000 });
    expect(listed()).toEqual([pin.root]);
    nowMs = 6000;
    expect((await state.pins.turn(10)).ended).toHaveLength(1);
    const { expiresAtMs: _, ...endless } = pin;
    await store({ ...endless, epoch: 2, createdAtMs: 6000 });
    expect(listed()).toEqual([pin.root]);
    expect(state.pins.counts()).toEqual({ live: 1, deleted: 0, recoverable: 0 });
    expect((await state.pins.turn(10)).ended).toEqual([]);

    await store(pinOf('b', { expiresAtMs: 7000 }));
    nowMs = 8000;
    await state.pins.turn(10);
    expect(state.pins.counts().live).toBe(1);
    nowMs = 100;
    expect((await state.pins.turn(10)).resumed).toHaveLength(1);
    expect(state.pins.counts().live).toBe(2);
    expect(listed()).toHaveLength(2);
  });

  it('that had ended when they came in are not listed, nor are deleted ones', async () => {
    const pin = pinOf('a', { expiresAtMs: 500 });
    await store(pin);
    expect(state.pins.counts()).toEqual({ live: 0, deleted: 0, recoverable: 0 });
    await store({ ...pin, deleted: true });
    await store(pinOf('b', { deleted: true }));
    expect(listed()).toEqual([]);
    expect(state.pins.counts()).toEqual({ live: 0, deleted: 2, recoverable: 0 });
    nowMs = 100;
    expect(await state.pins.turn(10)).toEqual({ ended: [], resumed: [], purged: [] });
  });

  it('end in several turns when they are many', async () => {
    for (const name of ['a', 'b', 'c']) await store(pinOf(name, { expiresAtMs: 2000 }));
    nowMs = 3000;
    expect((await state.pins.turn(2)).ended).toHaveLength(2);
    expect((await state.pins.turn(2)).ended).toHaveLength(1);
    expect(listed()).toEqual([]);
  });
});

describe('pages of a list', () => {
  it.each(['live', 'deleted'] as const)(
    'of %s files have each one once, whatever comes and goes between them',
    async (kind) => {
      const put = (name: string, atMs: number, part: Partial<Pin> = {}) => {
        const pin = pinOf(name, { createdAtMs: atMs, ...part });
        return kind === 'live'
          ? store(pin)
          : state.pins.update(pin.root, () => ({
              pin: { ...pin, deleted: true, deletedAtMs: atMs },
              signed,
              deletedSeenMs: atMs,
            }));
      };
      const drop = (name: string) => store(pinOf(name, { deleted: true, epoch: 2 }));
      const read = (after?: string) =>
        kind === 'live'
          ? state.pins.newestRoots({ limit: 2, after })
          : state.pins.recoverableRoots({ limit: 2, after });
      const rootsOf = (...names: string[]) => names.map((name) => draft(name).root);
      for (const [index, name] of ['a', 'b', 'c', 'd', 'e'].entries()) await put(name, 100 + index);
      const first = read();
      expect(first.roots).toEqual(rootsOf('e', 'd'));
      // Two of the page before go, its last one too, and another one comes before it.
      for (const name of ['e', 'd']) await drop(name);
      await put('f', 200);
      const second = read(first.next);
      expect(second.roots).toEqual(rootsOf('c', 'b'));
      await drop('c');
      expect(read(second.next)).toEqual({ roots: rootsOf('a'), next: undefined });
      expect(read()).toMatchObject({ roots: rootsOf('f', 'b') });
    },
  );

  it('of files of one moment go on behind the right one, and the last one says so', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await store(pinOf(name));
    const first = state.pins.newestRoots({ limit: 2 });
    const second = state.pins.newestRoots({ limit: 2, after: first.next });
    expect(second.next).toBeUndefined();
    expect([...first.roots, ...second.roots]).toEqual(state.pins.newestRoots({ limit: 4 }).roots);
  });
});

describe('deleted files that can be brought back', () => {
  const deletedOf = (name: string, part: Partial<Pin> = {}): Pin =>
    pinOf(name, { deleted: true, deletedAtMs: nowMs, ...part });
  const remove = (pin: Pin, deletedSeenMs = nowMs) =>
    state.pins.update(pin.root, () => ({ pin, signed, deletedSeenMs }));
  const roots = () => state.pins.purgeableRoots(10);

  it('stand by the time of their purge, also after a restart, and are purged when it comes', async () => {
    const [a, b] = [deletedOf('a'), deletedOf('b')];
    await remove(b, 2000);
    await remove(a, 1000);
    await store(pinOf('c'));
    expect(roots()).toEqual([a.root, b.root]);
    expect(state.pins.recoverableRoots({ limit: 1 }).roots).toEqual([b.root]);
    expect(state.pins.counts()).toEqual({ live: 1, deleted: 0, recoverable: 2 });
    await reopen();
    expect(state.pins.recoverable(a.root)).toEqual({ pin: a, deletedAtMs: 1000, purgeAtMs: 6000 });
    nowMs = 5999;
    expect((await state.pins.turn(10)).purged).toEqual([]);
    nowMs = 6000;
    expect((await state.pins.turn(10)).purged).toEqual([a]);
    expect(roots()).toEqual([b.root]);
    expect(state.pins.recoverable(a.root)).toBeUndefined();
    expect(state.pins.get(a.root)?.pin).toEqual(a); // others must still learn of it
    expect(state.pins.counts()).toEqual({ live: 1, deleted: 1, recoverable: 1 });
  });

  it('that were purged stay so, whatever becomes of the clock and of the setting', async () => {
    const [a, b] = [deletedOf('a'), deletedOf('b')];
    await remove(a, 1000);
    await remove(b, 4000);
    nowMs = 6000;
    await state.pins.turn(10);
    nowMs = 1500;
    await reopen(60_000);
    expect(roots()).toEqual([b.root]);
    expect(state.pins.recoverable(b.root)?.purgeAtMs).toBe(64_000);
    await reopen(0);
    nowMs = 4000;
    await reopen(0);
    expect((await state.pins.turn(10)).purged).toEqual([b]);
    await reopen(60_000);
    expect(roots()).toEqual([]);
  });

  it('are kept no longer than they would have been without the deletion', async () => {
    const pin = deletedOf('a', { expiresAtMs: 1500 });
    await remove(pin);
    expect(state.pins.recoverable(pin.root)?.purgeAtMs).toBe(1500);
    nowMs = 1500;
    await remove(deletedOf('b', { expiresAtMs: 1500 }));
    expect(roots()).toEqual([pin.root]);
    expect((await state.pins.turn(10)).purged).toEqual([pin]);
  });

  it('are no more when they are brought back, uploaded again or purged', async () => {
    const pin = deletedOf('a');
    const { deletedAtMs: _, ...purged } = pin;
    for (const next of [pinOf('a', { epoch: 2 }), purged]) {
      await remove(pin);
      expect(roots()).toEqual([pin.root]);
      await store(next);
      expect(roots()).toEqual([]);
      expect(state.pins.recoverable(pin.root)).toBeUndefined();
    }
  });

  it('are told from tombstones of before, also those that an earlier version had from a later one', async () => {
    const said = deletedOf('met', { deletedAtMs: 500 });
    const { deletedAtMs: _, ...known } = said;
    await state.pins.update(known.root, () => ({
      pin: known,
      signed: { payload: JSON.stringify(said), signature: '' },
    }));
    await store(pinOf('old', { deleted: true }));
    expect(state.pins.counts()).toMatchObject({ deleted: 2, recoverable: 0 });
    await state[Symbol.asyncDispose]();
    const env = open({ path: join(folder.path, 'state'), overlappingSync: false });
    await env.openDB<unknown, string>({ name: 'meta', encoding: 'json' }).put('pins-form', 4);
    await env.close();
    state = openHere();
    expect(state.pins.counts()).toMatchObject({ deleted: 1, recoverable: 1 });
    expect(state.pins.recoverable(said.root)).toMatchObject({ deletedAtMs: 500, purgeAtMs: 5500 });
  });
});

describe('a state', () => {
  it('of the form before epochs is rebuilt, once', async () => {
    await state[Symbol.asyncDispose]();
    await using old = await openTemporaryFolder();
    const env = open({ path: join(old.path, 'state'), overlappingSync: false });
    const pins = env.openDB<unknown, string>({ name: 'pins', encoding: 'json' });
    const stamps = env.openDB<unknown, [number, string]>({ name: 'pin-stamps', encoding: 'json' });
    const byTime = env.openDB<true, [number, string]>({ name: 'pins-by-time' });
    const { epoch: _, ...pin } = pinOf('a', { expiresAtMs: 2000 });
    await pins.put(pin.root, { pin, signed });
    await stamps.put([pinBucket(pin.root), pin.root], { root: pin.root, clock: 1, origin: ORIGIN });
    await byTime.put([pin.createdAtMs, pin.root], true);
    await env.close();

    state = openState(old.path, { nowMs: () => nowMs });
    const whole: Pin = { ...pin, epoch: 0 };
    expect(state.pins.get(pin.root)).toEqual({ pin: whole, signed } satisfies StoredPin);
    expect([...state.pins.stampsIn(pinBucket(pin.root), '')]).toEqual([stampOf(whole)]);
    expect(state.pins.counts()).toEqual({ live: 1, deleted: 0, recoverable: 0 });
    nowMs = 2000;
    expect((await state.pins.turn(10)).ended).toEqual([whole]);
    await state[Symbol.asyncDispose]();
    state = openState(old.path, { nowMs: () => nowMs });
    expect(state.pins.counts()).toEqual({ live: 0, deleted: 0, recoverable: 0 });
  });

  it('from before fields had bounds starts, without what is out of them, and names it once', async () => {
    await state[Symbol.asyncDispose]();
    await using old = await openTemporaryFolder();
    const env = open({ path: join(old.path, 'state'), overlappingSync: false });
    const pins = env.openDB<unknown, string>({ name: 'pins', encoding: 'json' });
    const byTime = env.openDB<true, [number, string]>({ name: 'pins-by-time' });
    const members = env.openDB<unknown, string>({ name: 'members', encoding: 'json' });
    const huge = pinOf('huge', { blocks: 2 ** 53 - 1 });
    const endless = pinOf('endless', { deleted: true, epoch: 2 ** 53 - 1 });
    const good = pinOf('good');
    for (const pin of [huge, endless, good]) {
      await pins.put(pin.root, { pin, signed });
      await byTime.put([pin.createdAtMs, pin.root], true);
    }
    await members.put(ORIGIN, { signed, seenAtMs: 1e300 });
    await env.close();

    const named: string[] = [];
    const onRefused = (...words: readonly string[]) => void named.push(words.join(' '));
    state = openState(old.path, { nowMs: () => nowMs, onRefused });
    expect(state.loadMembers()).toEqual([]);
    const faults = named.map((line) => line.split(': ')[0] ?? '').toSorted();
    const expected = [
      `member ${ORIGIN} seenAtMs`,
      `pin ${endless.root} epoch`,
      `pin ${huge.root} blocks`,
    ];
    expect(faults).toEqual(expected.toSorted());
    expect(listed()).toEqual([good.root]);
    expect(state.pins.counts()).toEqual({ live: 1, deleted: 0, recoverable: 0 });
    expect(state.pins.get(huge.root)).toBeUndefined();
    expect([...state.pins.stampsIn(pinBucket(endless.root), '')]).toEqual([]);
    named.length = 0;
    await state[Symbol.asyncDispose]();
    state = openState(old.path, { nowMs: () => nowMs, onRefused });
    expect(named).toEqual([]);
    expect(listed()).toEqual([good.root]);
  });

  it('remembers that the peer is draining, and gives no incarnation twice', async () => {
    expect(state.isDraining()).toBe(false);
    await state.saveDraining(true);
    expect(await state.nextIncarnation(5)).toBe(5);
    await reopen();
    expect(state.isDraining()).toBe(true);
    expect(await state.nextIncarnation(1)).toBe(6);
  });

  it('takes no pin under the root of another, and no time of deletion for a file that is there', async () => {
    const [a, b] = [pinOf('a'), pinOf('b')];
    await store(a);
    const wrong: [RegExp, StoredPin][] = [
      [/own root/, { pin: b, signed }],
      [/time at which it was deleted/, { pin: a, signed, deletedSeenMs: 1 }],
    ];
    for (const [why, stored] of wrong)
      await expect(state.pins.update(a.root, () => stored)).rejects.toThrow(why);
    expect(state.pins.get(a.root)).toEqual({ pin: a, signed });
    expect(state.pins.get(b.root)).toBeUndefined();
    expect(listed()).toEqual([a.root]);
  });

  it('hands on what an update throws, and keeps what was there', async () => {
    const pin = pinOf('a');
    await store(pin);
    const error = new Error('no');
    const refused = state.pins.update(pin.root, () => {
      throw error;
    });
    await expect(refused).rejects.toBe(error);
    expect(state.pins.get(pin.root)?.pin).toEqual(pin);
  });
});

describe('several versions of a root', () => {
  const other = PeerId.parse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5');
  const mine = pinOf('two', { expiresAtMs: 5000, replicas: 3 });
  const theirs = pinOf('two', { origin: other, author: other, clock: 2 });
  const versions = [mine, theirs].map((pin) => ({ pin, signed }));
  const whole = { ...theirs, replicas: 3 };
  const put = () => state.pins.update(mine.root, () => ({ pin: whole, signed, versions }));
  const stamps = () => [...state.pins.stampsIn(pinBucket(mine.root), '')];

  it('are listed once, as what they amount to, and stamped each, also after a restart', async () => {
    await put();
    for (const undeleteMs of [UNDELETE_MS, 2 * UNDELETE_MS]) {
      await reopen(undeleteMs);
      expect(listed()).toEqual([mine.root]);
      expect(state.pins.get(mine.root)).toEqual({ pin: whole, signed, versions });
      expect(stamps()).toEqual([stampOf(mine), stampOf(theirs)]);
    }
    // By another than its author: what tells two of one maker apart.
    const ofAnother = { ...mine, author: other };
    await state.pins.update(mine.root, () => ({
      pin: whole,
      signed,
      versions: [{ pin: ofAnother, signed }, ...versions],
    }));
    expect(stamps()[0]).toEqual({ ...stampOf(mine), author: other });
  });

  it('become one again, and none, when others of them are void', async () => {
    await put();
    const to = (kept: readonly Pin[]) =>
      state.pins.updateAll(
        [
          {
            root: mine.root,
            next: (all) => all.filter(({ pin }) => kept.some((each) => each.origin === pin.origin)),
          },
        ],
        { seal: () => [], form: ([only]) => only },
      );
    await to([mine]);
    expect(stamps()).toEqual([stampOf(mine)]);
    expect(state.pins.get(mine.root)).toEqual({ pin: mine, signed });
    const [{ old, now } = {}] = await to([]);
    expect([old?.pin, now]).toEqual([mine, undefined]);
    expect([stamps(), listed(), [...state.pins.after('')]]).toEqual([[], [], []]);
    expect(state.pins.rootsBySha256(draft('two').sha256)).toEqual([]);
    expect(state.pins.counts()).toEqual({ live: 0, deleted: 0, recoverable: 0 });
  });

  it('of a deleted file are purged here alone', async () => {
    const pin = pinOf('gone', { deleted: true, deletedAtMs: 1 });
    await state.pins.update(pin.root, () => ({ pin, signed, deletedSeenMs: 1000 }));
    expect(await state.pins.purgeHere(pin.root)).toBe(true);
    expect(state.pins.recoverable(pin.root)).toBeUndefined();
    expect(state.pins.get(pin.root)).toEqual({ pin, signed });
    expect(await state.pins.purgeHere(pin.root)).toBe(false);
  });
});

describe('the rules that pins were read by', () => {
  it('are none at first, and stay', async () => {
    expect(state.pins.readBy()).toBeUndefined();
    await state.pins.setReadBy('rules');
    await reopen();
    expect(state.pins.readBy()).toBe('rules');
  });
});
