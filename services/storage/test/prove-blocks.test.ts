import { expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { Overloaded, type PeerId } from '@shoal/protocol';
import { createMetrics } from '../src/metrics.ts';
import { createProveBlocks } from '../src/serve/prove-blocks.ts';
import { Registry } from 'prom-client';

const CALLS_MAX = 16;

it('refuses another peer past its places, has our own services wait, and keeps them apart', async () => {
  const release = Promise.withResolvers<undefined>();
  const deps = {
    store: { readRanges: async () => release.promise }, // a disk that takes its time
    metrics: createMetrics(new Registry()),
  };
  const forPeers = createProveBlocks({ ...deps, waitingMax: 0 });
  const forUs = createProveBlocks({ ...deps, waitingMax: 4 });
  const [asker, holder] = ['asker', 'holder'] as unknown as [PeerId, PeerId]; // nothing here parses them
  const question = {
    nonce: 'n'.repeat(22),
    asker,
    holder,
    cids: [hashBlock('raw', Uint8Array.of(1))],
  };
  const times = (count: number, prove: typeof forPeers) =>
    Array.from({ length: count }, () => prove(question));

  const ofPeers = times(CALLS_MAX, forPeers);
  await expect(forPeers(question)).rejects.toThrow(Overloaded);
  const ofUs = times(CALLS_MAX + 4, forUs);
  await expect(forUs(question)).rejects.toThrow(Overloaded);
  release.resolve(undefined);
  const answers = await Promise.all([...ofPeers, ...ofUs]);
  expect(answers).toHaveLength(2 * CALLS_MAX + 4);
  // All places are free again.
  await Promise.all([...times(CALLS_MAX, forPeers), ...times(CALLS_MAX + 4, forUs)]);
});
