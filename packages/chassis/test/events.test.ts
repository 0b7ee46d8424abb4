import { describe, expect, it } from '@jest/globals';
import { connectEvents, readEvent } from '../src/redis/events.ts';
import { createLog } from '../src/process/log.ts';

it('tells nothing, and holds nobody up, while Redis is away', () => {
  using events = connectEvents('/nowhere/redis.sock', createLog('test', 'silent'));
  expect(() =>
    events.publish({
      kind: 'upload',
      atMs: 0,
      name: 'a file',
      phase: 'receiving',
      receivedBytes: 0,
      copies: 0,
    }),
  ).not.toThrow();
});

describe('a message on the channel of events', () => {
  const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

  it('is read as the event that it is', () => {
    const event = { kind: 'pin', atMs: 1, cid, name: 'a.txt' };
    expect(readEvent(JSON.stringify(event))).toEqual(event);
  });

  it('is refused with line ends in a name, which no file can have', () => {
    const name = 'a\n\nevent: member\ndata: {}';
    expect(readEvent(JSON.stringify({ kind: 'pin', atMs: 1, cid, name }))).toBeUndefined();
  });

  it.each(['', '{', '{"kind":"secret"}', 'null', '{"kind":"pin","atMs":1,"cid":"no","name":"a"}'])(
    'is refused as %s',
    (message) => {
      expect(readEvent(message)).toBeUndefined();
    },
  );
});
