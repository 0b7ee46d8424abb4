import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createLog } from '@shoal/chassis';
import { BlockCorrupt, BlockNotFound, type Member } from '@shoal/protocol';
import { Registry } from 'prom-client';
import { createAskStorage } from '../../src/fetch/ask-storage.ts';
import { createFetchBlock, type FetchBlock, type Providers } from '../../src/fetch/fetch.ts';
import { createMetrics } from '../../src/metrics.ts';
import { paperClient, paperView, peerOf } from '../paper.ts';

const CID = hashBlock('raw', Buffer.from('a block'));
const WANT = { cid: CID, sizeBytes: undefined };
const signal = AbortSignal.timeout(60_000);
const SELF = 0;

type Answer = 'block' | 'absent' | 'fails' | 'lies';

/** Six peers, ours is 0; each answers as a test says, after its milliseconds. */
function rig() {
  const answers = new Map<string, { answer: Answer; durationMs: number }>();
  const asked: number[] = [];
  const absent: number[] = [];
  const lines: Record<string, unknown>[] = [];
  const { view } = paperView(Array.from({ length: 6 }, () => ({})));
  const registry = new Registry();
  const metrics = createMetrics(registry);
  const log = createLog('transfer', 'debug', {}, (line) =>
    lines.push(JSON.parse(line) as Record<string, unknown>),
  );
  const ask = createAskStorage({
    client: paperClient([]),
    view,
    metrics,
    log,
    reportCorrupt: () => undefined,
    async receive({ cid }, { peerId }) {
      asked.push(Number(peerId.split('-')[1]));
      const { answer, durationMs } = answers.get(peerId) ?? { answer: 'absent', durationMs: 0 };
      await new Promise((resolve) => setTimeout(resolve, durationMs));
      if (answer === 'fails') throw new Error('ECONNRESET');
      if (answer === 'lies') throw new BlockCorrupt({ cid, peer: peerId });
      if (answer === 'absent') throw new BlockNotFound({ cid });
      return { bytes: Buffer.from('a block'), release: () => undefined };
    },
  });
  const fetchBlock = createFetchBlock({ ask, view, metrics, log }, { signal });
  const member = (index: number): Member => {
    const found = view.get(peerOf(index));
    if (found === undefined) throw new Error(`no peer ${index}`);
    return found;
  };
  const groups = (named: Partial<Record<keyof Providers, readonly number[]>>): Providers => ({
    said: (named.said ?? []).map(member),
    placed: (named.placed ?? []).map(member),
    unsure: (named.unsure ?? []).map(member),
  });
  return {
    asked,
    absent,
    lines,
    registry,
    groups,
    answers: (peers: readonly number[], answer: Answer, durationMs = 0) => {
      for (const peer of peers) answers.set(peerOf(peer), { answer, durationMs });
    },
    /** Fetches the block; answers the peers that were asked, in order. */
    async fetch(
      named: Parameters<typeof groups>[0],
      source: Partial<Parameters<FetchBlock>[1]> = {},
    ) {
      const before = asked.length;
      const onAbsent = ({ peerId }: Member) => absent.push(Number(peerId.split('-')[1]));
      const providers = () => groups(named);
      const fetched = fetchBlock(WANT, { providers, onAbsent, ...source }, { signal });
      let isOver = false;
      const end = () => void (isOver = true);
      fetched.then(end, end);
      while (!isOver) await jest.advanceTimersByTimeAsync(1);
      await fetched;
      return asked.slice(before);
    },
  };
}

describe('the peer that a block comes from', () => {
  let swarm: ReturnType<typeof rig>;
  // The quicker one must not be the one that a busy machine happened to be quicker for.
  beforeEach(() => {
    jest.useFakeTimers();
    swarm = rig();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('is our own when the block is placed here, also when it did not say what it has', async () => {
    swarm.answers([SELF, 1], 'block');
    expect(await swarm.fetch({ said: [1], placed: [SELF] })).toEqual([SELF]);
    expect(await swarm.fetch({ said: [1, SELF] })).toEqual([SELF]);
  });

  it('is not our own when nothing speaks for it, until the others do not have the block', async () => {
    swarm.answers([SELF, 1], 'block');
    expect(await swarm.fetch({ placed: [1], unsure: [SELF] })).toEqual([1]);
    swarm.answers([1], 'absent');
    expect(await swarm.fetch({ placed: [1], unsure: [SELF] })).toEqual([1, SELF]);
  });

  it('is one that said it has the block, before one that was never asked and only may have it', async () => {
    swarm.answers([1], 'block', 15);
    await swarm.fetch({ said: [1] }); // now a block from it is known to take longer than a guess
    expect(await swarm.fetch({ said: [1], unsure: [2, 3] })).toEqual([1]);
  });

  it('may be one that the block is placed on, though it came back just now and did not say', async () => {
    swarm.answers([1], 'block', 15);
    swarm.answers([2], 'block');
    await swarm.fetch({ said: [1] });
    expect(await swarm.fetch({ said: [1], placed: [2] })).toEqual([2]);
  });

  it('is one that the block is placed on, before the others that did not say', async () => {
    swarm.answers([4, 5], 'block');
    swarm.answers([4], 'block', 15);
    await swarm.fetch({ said: [4] });
    expect(await swarm.fetch({ placed: [4], unsure: [2, 3, 5] })).toEqual([4]);
  });

  it('is the quicker one of those that are as likely to have it', async () => {
    swarm.answers([1], 'block', 30);
    swarm.answers([2], 'block', 1);
    for (const said of [[1], [2]]) await swarm.fetch({ said });
    expect(await swarm.fetch({ said: [1, 2] })).toEqual([2]);
  });

  it('is a guess, when the one that said it has the block keeps failing', async () => {
    swarm.answers([1], 'fails');
    swarm.answers([2], 'block');
    for (let time = 0; time < 2; time += 1)
      expect(await swarm.fetch({ said: [1], unsure: [2] })).toEqual([1, 2]);
    expect(await swarm.fetch({ said: [1], unsure: [2] })).toEqual([2]);
  });

  it('stays the same after it said honestly, and often, that it does not have another block', async () => {
    swarm.answers([2], 'block');
    for (let time = 0; time < 4; time += 1)
      expect(await swarm.fetch({ said: [1], unsure: [2] })).toEqual([1, 2]);
    expect(swarm.absent).toEqual([1, 1, 1, 1]);
    swarm.answers([1], 'block');
    expect(await swarm.fetch({ said: [1], placed: [2] })).toEqual([1]);
    const text = await swarm.registry.metrics();
    expect(text).toContain('blocks_fetched_total{source="peer",outcome="absent"} 4');
    expect(text).not.toContain('blocks_fetched_total{source="peer",outcome="failed"}');
    expect(text).toContain('shoal_transfer_retries_total 0');
  });

  it('is the last one that may have it, though it lied before', async () => {
    swarm.answers([1], 'lies');
    swarm.answers([2], 'block');
    expect(await swarm.fetch({ said: [1], unsure: [2] })).toEqual([1, 2]);
    swarm.answers([1], 'block');
    swarm.answers([2], 'absent');
    expect(await swarm.fetch({ said: [1], unsure: [2] })).toEqual([2, 1]);
  });

  it('is one that got the block just now, as soon as that is known, though it had said no', async () => {
    const got: Partial<Record<keyof Providers, readonly number[]>>[] = [{ said: [1] }];
    swarm.answers([1], 'absent');
    swarm.answers([2], 'block');
    const source = {
      providers: () => swarm.groups(got.at(-1) ?? {}),
      again: { forMs: 6000, learn: async () => void got.push({ said: [2] }) },
    };
    expect(await swarm.fetch({}, source)).toEqual([1, 2]);
  });

  it('is the same that lacked it before, when it gets it while it must be somewhere', async () => {
    swarm.answers([1], 'absent');
    const again = { forMs: 6000, learn: async () => swarm.answers([1], 'block') };
    expect(await swarm.fetch({ unsure: [1] }, { again })).toEqual([1, 1]);
  });

  it('is logged, with why it was that one', async () => {
    swarm.answers([2], 'block');
    await swarm.fetch({ said: [1], placed: [2], unsure: [3] });
    const [absent, fetched] = swarm.lines;
    expect(absent).toMatchObject({ msg: 'peer does not have the block', peer: peerOf(1) });
    expect(fetched).toMatchObject({
      msg: 'block fetched',
      cid: CID,
      peer: peerOf(2),
      group: 'placed',
      tier: 0,
      costMs: 1,
      providers: 2,
      before: { peer: peerOf(3), group: 'unsure', tier: 0 },
      isHedge: false,
      durationMs: expect.any(Number),
    });
    expect(fetched).not.toHaveProperty('member');
  });
});
