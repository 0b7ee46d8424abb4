import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createLog, createLoops } from '@shoal/chassis';
import { hashBlock } from '@shoal/blocks';
import { type Cid, discoveryRoutes, type Pin, storageRoutes } from '@shoal/protocol';
import { Registry } from 'prom-client';
import { createMetrics } from '../../src/metrics.ts';
import type { Settled } from '../../src/settle/settle.ts';
import { type SettleLoop, startSettleLoop } from '../../src/settle/settle-loop.ts';
import { PinCache } from '../../src/peers/pin-cache.ts';
import { countedHolders } from '../../src/peers/member-view.ts';
import { bitsFor, cidOf, paperClient, type PaperMember, paperView, pinOf } from '../paper.ts';

const DELAY_MS = 1000;
const INTERVAL_MS = 60_000;
const RESETTLE_MS = 300_000;
const ALL: PaperMember[] = [{}, {}, {}, {}];

/** A loop over files whose copies are a table; what it settles, and when, is written down. */
function paperLoop(copies: Readonly<Record<string, number>>) {
  const pins = new Map(Object.keys(copies).map((name): [string, Pin] => [name, pinOf(name)]));
  const members = paperView(ALL);
  const settled: string[] = [];
  const unsettled = new Set<string>();
  let onSettle: (name: string) => Promise<void> | void = () => undefined;
  let counts = copies;
  const client = paperClient([
    [
      discoveryRoutes.findPins,
      ({ body }) => ({
        pins: (body['hashes'] as Cid[]).map(
          (hash) => [...pins.values()].find(({ root }) => root === hash) ?? null,
        ),
      }),
    ],
    [
      storageRoutes.keepBlocks,
      ({ body }) => {
        const blocks = body['blocks'] as { cid: Cid; replicas: number }[];
        kept.push(blocks.map(({ cid }) => cid));
        return bitsFor(blocks, ({ cid }) => held.has(cid));
      },
    ],
    [discoveryRoutes.listPins, () => ({ pins: [...pins.values()], isCurrent: true })],
    [
      discoveryRoutes.copies,
      ({ body: { roots } }) => ({ files: roots.map((cid) => ({ cid, copies: counts[cid] })) }),
    ],
  ]);
  const repaired: string[] = [];
  const held = new Set<Cid>();
  const kept: Cid[][] = [];
  const log = createLog('test', 'silent');
  const loop = startSettleLoop({
    cache: new PinCache(),
    client,
    view: members.view,
    metrics: createMetrics(new Registry()),
    loops: createLoops({ log }),
    log,
    async settle(root): Promise<Settled> {
      settled.push(root);
      await Promise.resolve(); // as every call to another service
      await onSettle(root);
      const isSettled = !unsettled.has(root);
      return {
        isSettled,
        copiedBlocks: root === 'one' ? 1 : 0,
        droppedBlocks: 0,
        pin: pins.get(root),
      };
    },
    onRepair: (root) => repaired.push(root),
    intervalMs: INTERVAL_MS,
    resettleMs: RESETTLE_MS,
    delayMs: DELAY_MS,
  });
  return {
    loop,
    pins,
    /** Blocks that are here. */
    held,
    /** Blocks of each call that marks some. */
    kept,
    view: members.view,
    settled,
    unsettled,
    repaired,
    members,
    count: (now: Readonly<Record<string, number>>) => {
      counts = now;
    },
    whileSettling: (hook: typeof onSettle) => {
      onSettle = hook;
    },
  };
}

describe('the settle loop', () => {
  let loop: SettleLoop | undefined;
  const start = (copies: Readonly<Record<string, number>>) => {
    const paper = paperLoop(copies);
    ({ loop } = paper);
    return paper;
  };
  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(async () => {
    await loop?.[Symbol.asyncDispose]();
    jest.useRealTimers();
  });

  it('settles the files with the fewest copies first, and tells of repairs', async () => {
    const { settled, repaired } = start({ three: 3, none: 0, one: 1, two: 2 });
    await pass(DELAY_MS);
    expect(settled).toEqual(['one', 'two', 'three', 'none']);
    expect(repaired).toEqual(['one']);
  });

  it('orders anew after the current file when members change meanwhile', async () => {
    const paper = start({ a: 1, b: 2, c: 3 });
    paper.whileSettling(() => {
      if (paper.settled.length > 1) return;
      paper.members.change([{}, {}, {}, { state: 'out' }]);
      paper.count({ a: 3, b: 3, c: 1 });
    });
    await pass(DELAY_MS);
    // `a` was settled for members that are gone: it is due again, in its new place.
    expect(paper.settled).toEqual(['a', 'c', 'a', 'b']);
  });

  it('passes over a settled file until a fresh look is due', async () => {
    const { settled, loop: running, pins } = start({ a: 3 });
    await pass(DELAY_MS);
    const pin = pins.get('a') as Pin;
    expect(running.isSettled(pin)).toBe(true);
    await pass(RESETTLE_MS - INTERVAL_MS);
    expect(settled).toEqual(['a']);
    await pass(2 * INTERVAL_MS);
    expect(settled).toEqual(['a', 'a']);
    pins.set('a', pinOf('a', { clock: 2, replicas: 2 }));
    expect(running.isSettled(pins.get('a') as Pin)).toBe(false);
    await pass(INTERVAL_MS);
    expect(settled).toEqual(['a', 'a', 'a']);
  });

  it('a reboot of a member makes it look at nothing that is settled', async () => {
    const { settled, members } = start({ a: 3, b: 3 });
    await pass(DELAY_MS);
    members.change([{}, {}, {}, { state: 'down' }]);
    await pass(DELAY_MS);
    members.change(ALL);
    await pass(2 * DELAY_MS);
    expect(settled).toEqual(['a', 'b']);
  });

  it('tries an unsettled file again, ever later, and at once when a member is back', async () => {
    const { settled, unsettled, members } = start({ a: 3 });
    unsettled.add('a');
    await pass(DELAY_MS);
    members.change([{}, {}, {}, { state: 'down' }]);
    await pass(1500 + 3000 + 6000 + 12_000 + 24_000 + 1000);
    expect(settled).toHaveLength(6);
    unsettled.clear();
    members.change(ALL);
    await pass(DELAY_MS);
    expect(settled).toHaveLength(7);
    await pass(INTERVAL_MS);
    expect(settled).toHaveLength(7);
  });

  it('looks again at files that are named, also while they are being settled', async () => {
    const paper = start({ a: 3, b: 3 });
    await pass(DELAY_MS);
    paper.loop.lookAgain([cidOf('b')]);
    await pass(2000);
    expect(paper.settled).toEqual(['a', 'b', 'b']);
    paper.whileSettling(() => {
      if (paper.settled.length === 4) paper.loop.lookAgain([cidOf('a')]);
    });
    await paper.loop.settleAll([cidOf('a')]);
    await pass(4000);
    expect(paper.settled).toEqual(['a', 'b', 'b', 'a', 'a']);
  });

  describe('looks at small files together', () => {
    /** Pins of small files, and which of them belong here. */
    const smallFiles = (paper: ReturnType<typeof start>, count: number, clock = 1) => {
      const pins = Array.from({ length: count }, (_, index) => {
        const root = hashBlock('raw', Buffer.from(`small ${index}`));
        return pinOf(root, { blocks: 1, replicas: 2, clock });
      });
      for (const pin of pins) paper.pins.set(pin.root, pin);
      const isMine = ({ root, replicas }: Pin) =>
        countedHolders(paper.view, root, replicas).some(({ isSelf }) => isSelf);
      const mine = pins.filter(isMine);
      for (const { root } of mine) paper.held.add(root);
      return { pins, mine };
    };

    it('and settles none that has its block where it belongs', async () => {
      const paper = start({});
      const { pins, mine } = smallFiles(paper, 100);
      expect(mine.length).toBeGreaterThan(10);
      expect(mine.length).toBeLessThan(90);
      await paper.loop.settleAll(pins.slice(0, 64).map(({ root }) => root));
      expect(paper.kept.map(({ length }) => length)).toEqual([64]);
      expect(paper.loop.isSettled(pins[0] as Pin)).toBe(true);
      await pass(DELAY_MS); // a pass takes the others so
      expect(paper.loop.isSettled(pins[99] as Pin)).toBe(true);
      expect(paper.settled).toEqual([]);
    });

    it('and settles those that lack it or have one too many, new ones a little later', async () => {
      const paper = start({});
      const { pins, mine } = smallFiles(paper, 20);
      const [lacking, surplus] = [mine[0], pins.find((pin) => !mine.includes(pin))];
      if (lacking === undefined || surplus === undefined) throw new Error('some are, some are not');
      paper.held.delete(lacking.root);
      paper.held.add(surplus.root);
      await paper.loop.settleAll(pins.map(({ root }) => root));
      const wrong = [lacking.root, surplus.root].toSorted();
      expect(paper.settled.toSorted()).toEqual(wrong);

      const young = start({});
      const others = smallFiles(young, 20, Date.now());
      const [missing] = others.mine;
      if (missing === undefined) throw new Error('some are');
      young.held.delete(missing.root);
      await young.loop.settleAll(others.pins.map(({ root }) => root));
      expect(young.settled).toEqual([]);
      await pass(2000);
      expect(young.settled).toEqual([missing.root]);
      await paper.loop[Symbol.asyncDispose]();
    });
  });

  it('is not held up by members that change faster than its delay', async () => {
    const { settled, members } = start({ a: 3 });
    for (let round = 0; round < 7; round += 1) {
      const out = 1 + (round % 3);
      members.change(ALL.map((_, index) => (index === out ? { state: 'out' } : {})));
      await pass(DELAY_MS / 2);
    }
    expect(settled.length).toBeGreaterThanOrEqual(3);
  });

  it('looks at a new file a second time, because offers may have come in behind the first', async () => {
    const { settled, pins, unsettled } = start({ a: 3 });
    pins.set('a', pinOf('a', { clock: Date.now() }));
    await pass(DELAY_MS);
    expect(settled).toEqual(['a']);
    unsettled.add('a'); // something is surplus by then
    await pass(20_000);
    unsettled.clear();
    await pass(1500);
    expect(settled).toEqual(['a', 'a', 'a']);
    await pass(RESETTLE_MS / 2);
    expect(settled.length).toBeLessThanOrEqual(4); // a first look again, after it was in disorder
  });

  it('keeps on after a settle that failed, and tries it again', async () => {
    const paper = start({ a: 1, b: 2 });
    paper.whileSettling((name) => {
      if (name === 'a' && paper.settled.length === 1) throw new Error('discovery is away');
    });
    await pass(DELAY_MS + 2000);
    expect(paper.settled).toEqual(['a', 'b', 'a']);
  });
});
