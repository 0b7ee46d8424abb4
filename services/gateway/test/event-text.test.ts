import { describe, expect, it } from '@jest/globals';
import { SwarmEvent } from '@shoal/protocol';
import { eventText } from '../src/events.ts';

const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

describe('eventText', () => {
  it('writes the kind and the data on a line each', () => {
    const event = SwarmEvent.parse({ kind: 'pin', atMs: 1, cid, name: 'a.txt' });
    const [first, second, ...rest] = eventText(event).split('\n');
    expect(first).toBe('event: pin');
    expect(JSON.parse(String(second).replace('data: ', ''))).toEqual(event);
    expect(rest).toEqual(['', '']);
  });
});
