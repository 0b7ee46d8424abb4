import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import { type Cid, type HaveMap, type PeerId, WANT_ROOTS_MAX } from '@shoal/protocol';
import { createAnnounce } from '../../src/holders/announce.ts';
import { createHolders } from '../../src/holders/holders.ts';
import { createMetrics } from '../../src/metrics.ts';
import { Budget } from '../../src/network/budget.ts';
import type { Holdings } from '../../src/network/messages.ts';
import { haveMap } from '../integration/peer.ts';

const SELF = 'self' as PeerId;
const rootOf = (index: number) => `root-${index}` as Cid; // nothing here parses it

/** Announcements of a storage that holds what `held` says. */
function announcements() {
  const held = new Map<Cid, HaveMap | 'unread'>();
  const sent: Holdings[] = [];
  const holders = createHolders({ clock: () => 0 });
  const announcing = createAnnounce({
    self: SELF,
    wire: {
      broadcast: (_, message) => void sent.push(message as Holdings),
      listen: () => {},
      budget: new Budget({
        clock: () => 0,
        metrics: createMetrics(),
        log: createLog('discovery', 'silent'),
      }),
    },
    holders,
    readHaveMap: async (root) => ({ haveMap: held.get(root), readAtMs: 0 }),
    onHolding: () => {},
  });
  /** Announces, and what was sent of it. */
  const announce = async (...roots: Cid[]) => {
    sent.length = 0;
    await announcing.announce(roots);
    jest.runAllTimers();
    return sent.map(({ haves, gone }) => [haves.map(({ root }) => root), gone]);
  };
  return { held, holders, sent, announcing, announce };
}

describe('an announcement', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it('tells what is held and what is not, and remembers it', async () => {
    const { held, holders, announce } = announcements();
    held.set(rootOf(1), haveMap(rootOf(1), 3, [0, 2]));
    expect(await announce(rootOf(1), rootOf(2))).toEqual([[[rootOf(1)], [rootOf(2)]]]);
    expect(holders.last(rootOf(1), SELF)?.haveMap).toEqual(held.get(rootOf(1)));
    expect(holders.last(rootOf(2), SELF)).toMatchObject({ haveMap: undefined });
  });

  it('does not tell the same twice, and tells each change', async () => {
    const { held, announce } = announcements();
    const [root] = [rootOf(1)];
    held.set(root, haveMap(root, 3, [0]));
    expect(await announce(root)).toEqual([[[root], []]]);
    held.set(root, { ...haveMap(root, 3, [0]), checkedAtMs: 5 });
    expect(await announce(root)).toEqual([]);
    held.set(root, haveMap(root, 3, [0, 1]));
    expect(await announce(root)).toEqual([[[root], []]]);
    held.delete(root);
    expect(await announce(root)).toEqual([[[], [root]]]);
    expect(await announce(root)).toEqual([]);
    held.set(root, haveMap(root, 3, [0, 1]));
    expect(await announce(root)).toEqual([[[root], []]]);
  });

  it('tells nothing of what storage can not read now, and leaves what was told', async () => {
    const { held, holders, announce } = announcements();
    const [root] = [rootOf(1)];
    held.set(root, haveMap(root, 3, [0]));
    await announce(root);
    held.set(root, 'unread');
    expect(await announce(root)).toEqual([]);
    expect(holders.last(root, SELF)?.haveMap).toEqual(haveMap(root, 3, [0]));
  });

  it('sends what comes at about the same time together, in messages of bounded length', async () => {
    const { announcing, sent } = announcements();
    for (let index = 0; index <= WANT_ROOTS_MAX; index += 1)
      await announcing.announce([rootOf(index)]);
    expect(sent).toEqual([]);
    jest.runAllTimers();
    expect(sent.map(({ gone }) => gone.length)).toEqual([WANT_ROOTS_MAX, 1]);
  });

  it('keeps messages small, and leaves out what is too large for one', async () => {
    const { held, announce } = announcements();
    const blocks = 300_000; // 50,000 characters
    for (const index of [1, 2]) held.set(rootOf(index), haveMap(rootOf(index), blocks, [0]));
    held.set(rootOf(3), haveMap(rootOf(3), 2 * blocks, [0]));
    expect(await announce(rootOf(1), rootOf(2), rootOf(3))).toEqual([
      [[rootOf(1)], []],
      [[rootOf(2)], []],
    ]);
  });
});
