import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createLog, createRegistry, type PeerClient } from '@shoal/chassis';
import { type Cid, decodeFrames, Lease, ServiceUnavailable } from '@shoal/protocol';
import { BlockPuts } from '../../src/intake/put-blocks.ts';
import { createMetrics } from '../../src/metrics.ts';

const { signal } = new AbortController();
const lease = Lease.parse('5d8bd1a8-9c4f-4c5c-8c7d-0d3c5a0ae0a1');
const blockOf = (name: string) => {
  const bytes = Buffer.from(name);
  return { cid: hashBlock('raw', bytes), bytes };
};
const [A, B] = [blockOf('a'), blockOf('b')];

/** Puts whose transfer service answers these copies, in order, or not at all. */
function paper(answer: readonly number[] | Error) {
  const stored: Cid[] = [];
  const jobs: Cid[] = [];
  const asked: unknown[] = [];
  let spreads = 0;
  const client = {
    own: (service: string) => service,
    async send(to: string, _: unknown, { query, bytes }: { query: unknown; bytes: Uint8Array }) {
      const cids = decodeFrames(bytes).map((frame) => hashBlock(frame.codec, frame.bytes));
      if (to === 'storage') {
        stored.push(...cids);
        return { blocks: cids.map((cid) => ({ cid })) };
      }
      asked.push(query);
      if (answer instanceof Error) throw answer;
      return { blocks: cids.map((cid, at) => ({ cid, copies: answer[at] ?? 0 })) };
    },
  } as unknown as PeerClient; // what puts use of it
  const puts = new BlockPuts(
    {
      client,
      metrics: createMetrics(createRegistry('chunker')),
      log: createLog('chunker', 'silent'),
      buffers: { inUse: 0 } as never, // no chunk is put here
      putsMax: 4,
      onLeaf: (cid) => jobs.push(cid),
      onFailure: () => undefined,
      spread: { replicas: 3, copies: 2 },
      onSpread: () => void (spreads += 1),
    },
    lease,
    { signal, stopping: signal },
  );
  const put = async (): Promise<number> => {
    await puts.putNamed([A, B]);
    await puts.finish();
    return puts.copies;
  };
  return { put, stored, jobs, asked, spreads: () => spreads };
}

describe('named blocks that are spread', () => {
  it('have as many copies as the one that has fewest, and are not stored or queued here', async () => {
    const { put, stored, jobs, asked, spreads } = paper([3, 2]);
    expect(await put()).toBe(2);
    expect([stored, jobs, spreads()]).toEqual([[], [], 1]);
    expect(asked).toEqual([{ replicas: 3, copies: 2, lease }]);
  });

  it('are stored here, and copied by jobs, where nobody took them', async () => {
    const { put, stored, jobs } = paper([2, 0]);
    expect(await put()).toBe(1);
    expect([stored, jobs]).toEqual([[B.cid], [B.cid]]);
  });

  it('are all stored here while transfer is away, and members are told of the end all the same', async () => {
    const { put, stored, jobs, spreads } = paper(new ServiceUnavailable({ service: 'transfer' }));
    expect(await put()).toBe(1);
    expect([stored, jobs, spreads()]).toEqual([[A.cid, B.cid], [A.cid, B.cid], 1]);
  });
});
