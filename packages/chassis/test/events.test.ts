import { expect, it } from '@jest/globals';
import { connectEvents } from '../src/process/events.ts';
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
