import { describe, expect, it } from '@jest/globals';
import { createLog, createLoops, type PeerClient } from '@shoal/chassis';
import { type LoopReport, type PeerId, type Route, ServiceUnavailable } from '@shoal/protocol';
import { createGatherLoops } from '../src/upkeep/gather-loops.ts';

const SELF = 'self' as PeerId;

describe('the loops of a peer', () => {
  const own = createLoops({ log: createLog('storage', 'silent') });
  own.track('scrub', () => 1000);
  const loop: LoopReport = { name: 'survey', isRunning: false, runs: 3 };
  const client = (refuse: (service: string) => Error | undefined) =>
    ({
      own: (service: string) => ({ peerId: SELF, origin: service }),
      call: async (_: unknown, { service }: Route) => {
        const error = refuse(service);
        if (error !== undefined) throw error;
        return { loops: [loop] };
      },
    }) as unknown as PeerClient; // what is called of it

  it('are those of each service, and a service that does not answer is named', async () => {
    const gather = createGatherLoops(
      client((service) =>
        service === 'chunker' ? new ServiceUnavailable({ service: 'chunker' }) : undefined,
      ),
      own,
    );
    const found = await gather({ signal: new AbortController().signal });
    expect(found.map(({ service, isSilent, loops }) => [service, isSilent, loops.length])).toEqual([
      ['gateway', false, 1],
      ['chunker', true, 0],
      ['storage', false, 1],
      ['transfer', false, 1],
      ['discovery', false, 1],
    ]);
    expect(found[2]?.loops[0]?.name).toBe('scrub');
  });

  it('are not made up for a caller that left', async () => {
    const left = new AbortController();
    left.abort(new Error('left'));
    const gather = createGatherLoops(
      client(() => new Error('aborted')),
      own,
    );
    await expect(gather({ signal: left.signal })).rejects.toThrow('left');
  });
});
