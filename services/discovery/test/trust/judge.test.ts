import { describe, expect, it } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import type { BlockPlace, PeerId } from '@shoal/protocol';
import { createHolders } from '../../src/holders/holders.ts';
import { createMetrics } from '../../src/metrics.ts';
import { ClaimedBlocks } from '../../src/trust/claimed-blocks.ts';
import { Judge } from '../../src/trust/judge.ts';
import { draft, haveMap } from '../integration/peer.ts';

const [SELF, PEER] = ['self' as PeerId, 'peer' as PeerId]; // nothing here parses them
const { root } = draft('file');
const placeAt = (index: number): BlockPlace => ({ root, index });
const failed = (index: number) =>
  ({ place: placeAt(index), cid: draft(`block ${index}`).root, outcome: 'failed' }) as const;

describe('a file of which a member failed blocks', () => {
  it('counts again once none of them is claimed, and no sooner', () => {
    const holders = createHolders({ clock: () => 0 });
    const judge = new Judge({
      claimed: new ClaimedBlocks({ self: SELF, holders }),
      holders,
      opinions: { note: () => undefined },
      metrics: createMetrics(),
      log: createLog('test', 'silent'),
    });
    const claim = (...indexes: number[]) => holders.note(root, PEER, haveMap(root, 3, indexes));
    const isProved = () => holders.last(root, PEER)?.proof?.isProved;
    claim(0, 1, 2);
    judge.note(PEER, [failed(0), failed(1)]);
    expect(isProved()).toBe(false);
    claim(1, 2);
    expect(judge.again(PEER)).toEqual([placeAt(1)]);
    expect(isProved()).toBe(false);
    claim(2);
    expect(judge.again(PEER)).toEqual([]);
    expect(isProved()).toBeUndefined();
  });
});
