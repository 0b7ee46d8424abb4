import { describe, expect, it } from '@jest/globals';
import { createPeerPools } from '../../src/client/peer-pools.ts';
import { newPeer } from './stand.ts';

describe('pools of connections to peers', () => {
  const here = newPeer();
  const [one, other] = [newPeer().peerId, newPeer().peerId];
  const target = (index: number, peerId = one) => ({ peerId, origin: `http://127.0.0.1:${index}` });

  it('are kept for each peer and address alone', async () => {
    await using pools = createPeerPools(here.tls, { connectTimeoutMs: 100 });
    expect(pools.to(target(1))).toBe(pools.to(target(1)));
    expect(pools.to(target(1))).not.toBe(pools.to(target(2)));
    expect(pools.to(target(1))).not.toBe(pools.to(target(1, other)));
  });

  it('are closed when there are too many, the one first that was used least recently, and all in the end', async () => {
    const pools = createPeerPools(here.tls, { connectTimeoutMs: 100 });
    const first = pools.to(target(1));
    const second = pools.to(target(2));
    for (let index = 3; index <= 512; index += 1) pools.to(target(index));
    pools.to(target(1));
    pools.to(target(513));
    expect([first.closed, second.closed]).toEqual([false, true]);
    await pools[Symbol.asyncDispose]();
    expect(first.destroyed).toBe(true);
  });
});
