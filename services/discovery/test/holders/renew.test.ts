import { describe, expect, it } from '@jest/globals';
import { createLog, createLoops, type PeerClient } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { createHolders } from '../../src/holders/holders.ts';
import { OwnLosses } from '../../src/holders/own-losses.ts';
import { createRenew } from '../../src/holders/renew.ts';
import type { MemberNews } from '../../src/network/messages.ts';
import { draft, haveMap } from '../integration/peer.ts';

const SELF = 'self' as PeerId;
const A = 'a' as PeerId;
const log = createLog('discovery', 'silent');
const { root } = draft('x');
const NEWS: MemberNews = { records: [], suspicions: [{ peerId: A, incarnation: 1, seq: 1 }] };

/** A renewal whose one member answers as the test says. */
function stand() {
  const time = { nowMs: 0 };
  const holders = createHolders({ clock: () => time.nowMs });
  const heard: MemberNews[] = [];
  let answer: () => Promise<{ losses?: number; news?: MemberNews }> = async () => ({ losses: 7 });
  let questions = 0;
  const renew = createRenew({
    self: SELF,
    wire: {
      isConnected: () => true,
      request: async () => {
        questions += 1;
        return (await answer()) as never; // to the one kind of question that is asked
      },
    },
    holders,
    ownLosses: { count: 1 },
    membership: { hearNews: (news) => void heard.push(news) },
  });
  return {
    time,
    holders,
    heard,
    renew,
    setAnswer: (next: typeof answer) => (answer = next),
    asked: () => questions,
  };
}

describe('renewing what a member said', () => {
  it('asks it once for lists that come together, and not again within a second', async () => {
    const { time, renew, asked, holders } = stand();
    await Promise.all([renew([A]), renew([A])]);
    await renew([A]);
    expect(asked()).toBe(1);
    holders.note(root, A, haveMap(root, 3, [0]));
    time.nowMs = 2000;
    await renew([A]);
    expect(asked()).toBe(2);
    expect(holders.last(root, A)?.atMs).toBe(2000);
  });

  it('leaves the date of one that does not answer, or does not tell', async () => {
    const { time, renew, holders, setAnswer } = stand();
    await renew([A]);
    holders.note(root, A, haveMap(root, 3, [0]));
    time.nowMs = 5000;
    setAnswer(() => Promise.reject(new Error('no answer in time')));
    await renew([A]);
    expect(holders.last(root, A)?.atMs).toBe(0);
    setAnswer(async () => ({}));
    await renew([A]);
    expect(holders.last(root, A)?.atMs).toBe(0);
  });

  it('passes on the news that came with the answer, which count as told', async () => {
    const { renew, heard, setAnswer } = stand();
    setAnswer(async () => ({ losses: 7, news: NEWS }));
    await renew([A]);
    expect(heard).toEqual([NEWS]);
  });
});

describe('our own losses', () => {
  it('are unknown from when storage does not answer until it does again', async () => {
    let answer: () => Promise<{ losses: number }> = async () => ({ losses: 5 });
    const client = {
      own: () => ({}),
      call: async (_: unknown, __: unknown, { query }: { query: { known: number } }) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return query.known === -1 ? { losses: 5 } : answer();
      },
    } as unknown as PeerClient; // the two methods that are called
    const losses = new OwnLosses();
    expect(losses.count).toBeUndefined();
    using _following = losses.follow({ client, loops: createLoops({ log }), log });
    await eventually('a count', () => losses.count === 5);
    answer = () => Promise.reject(new Error('storage is away'));
    await eventually('nothing is known', () => losses.count === undefined);
    answer = async () => ({ losses: 6 });
    await eventually('another count', () => losses.count === 6);
  });
});
