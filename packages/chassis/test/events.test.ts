import { describe, expect, it } from '@jest/globals';
import { connectEvents, readEvents } from '../src/redis/events.ts';
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

  const event = { kind: 'pin', atMs: 1, cid, name: 'a.txt' };

  it('is read as the events that it holds', () => {
    expect(readEvents(JSON.stringify([event, event]))).toEqual({
      events: [event, event],
      refused: 0,
    });
  });

  it('is refused with line ends in a name, which no file can have, and the others of it are read', () => {
    const name = 'a\n\nevent: member\ndata: {}';
    const message = JSON.stringify([event, { kind: 'pin', atMs: 1, cid, name }]);
    expect(readEvents(message)).toEqual({ events: [event], refused: 1 });
  });

  it.each(['', '{', '{"kind":"secret"}', 'null', '{"kind":"pin","atMs":1,"cid":"no","name":"a"}'])(
    'is refused as %s',
    (message) => {
      expect(readEvents(message)).toEqual({ events: [], refused: 1 });
    },
  );
});
