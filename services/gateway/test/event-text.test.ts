import { describe, expect, it } from '@jest/globals';
import { eventText } from '../src/events.ts';

const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

describe('eventText', () => {
  it('writes the kind and the data on a line each', () => {
    const event = { kind: 'pin', atMs: 1, cid, name: 'a.txt' };
    const [first, second, ...rest] = String(eventText(JSON.stringify(event))).split('\n');
    expect(first).toBe('event: pin');
    expect(JSON.parse(String(second).replace('data: ', ''))).toEqual(event);
    expect(rest).toEqual(['', '']);
  });

  it('refuses a name with line ends, which no file can have', () => {
    const name = 'a\n\nevent: member\ndata: {}';
    expect(eventText(JSON.stringify({ kind: 'pin', atMs: 1, cid, name }))).toBeUndefined();
  });

  it.each(['', '{', '{"kind":"secret"}', 'null', '{"kind":"pin","atMs":1,"cid":"no","name":"a"}'])(
    'refuses %s',
    (message) => {
      expect(eventText(message)).toBeUndefined();
    },
  );
});
