import { describe, expect, it } from '@jest/globals';
import type { MemberRecord, PeerId } from '@shoal/protocol';
import { News } from '../../src/members/news.ts';
import { NEWS_PER_MESSAGE_MAX } from '../../src/network/messages.ts';

const orderOf = (name: string, seq = 1) => ({ peerId: name as PeerId, incarnation: 1, seq });
/** The news need no more of a record than its order. */
const recordOf = (name: string, seq = 1) => orderOf(name, seq) as MemberRecord;
const signedOf = (name: string, seq = 1) => ({ payload: `${name} ${seq}`, signature: '' });

function open(size = 6) {
  const time = { nowMs: 100 };
  const news = new News({ clock: () => time.nowMs, size: () => size });
  const add = (name: string, seq?: number) =>
    news.addRecord(recordOf(name, seq), signedOf(name, seq));
  return { time, news, add };
}

describe('news of members', () => {
  it('are told a number of times that grows with the logarithm of the swarm', () => {
    for (const [size, times] of [
      [6, 9],
      [62, 18],
      [1022, 30],
    ] as const) {
      const { news, add } = open(size);
      add('a');
      let told = 0;
      while (news.take() !== undefined) told += 1;
      expect(told).toBe(times);
    }
  });

  it('go out a few at a time, the least told first, with their age', () => {
    const { time, news, add } = open();
    for (let index = 0; index < NEWS_PER_MESSAGE_MAX; index += 1) add(`old ${index}`);
    expect(news.take()?.records).toHaveLength(NEWS_PER_MESSAGE_MAX);
    time.nowMs += 50;
    add('new');
    time.nowMs += 7;
    const { records = [] } = news.take() ?? {};
    expect(records).toHaveLength(NEWS_PER_MESSAGE_MAX);
    expect(records[0]).toEqual({ signed: signedOf('new'), ageMs: 7 });
  });

  it('of one member are the newest word of it', () => {
    const { news, add } = open();
    add('a');
    news.addSuspicion(orderOf('a'));
    expect(news.take()).toEqual({ records: [], suspicions: [orderOf('a')] });
    add('a'); // what it is suspected under
    expect(news.take()?.suspicions).toHaveLength(1);
    add('a', 2);
    news.addSuspicion(orderOf('a'));
    expect(news.take()).toEqual({
      records: [{ signed: signedOf('a', 2), ageMs: 0 }],
      suspicions: [],
    });
  });

  it('are not kept without end', () => {
    const { news, add } = open(2 ** 20);
    for (let index = 0; index < 2000; index += 1) add(`member ${index}`);
    const told = new Set<string>();
    for (let message = 0; message < 600; message += 1)
      for (const { signed } of news.take()?.records ?? []) told.add(signed.payload);
    expect(told.size).toBe(512);
  });
});
