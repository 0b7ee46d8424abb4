import { describe, expect, it } from '@jest/globals';
import { buildDirectory } from '@shoal/blocks';
import { createBlockMemory, createLog } from '@shoal/chassis';
import { type Cid, MiB, storageRoutes } from '@shoal/protocol';
import type { ListedDag } from '../../src/fetch/listed-blocks.ts';
import { createNodeReads } from '../../src/fetch/node-reads.ts';
import { createManifests } from '../../src/file/manifests.ts';
import { paperClient } from '../paper.ts';

const left = new Error('the client left');

/** Three nodes that unfold to 1 + 40 + 1600. */
async function unfolding() {
  const nodes = new Map<Cid, Uint8Array>();
  const put = async (below: readonly Cid[]): Promise<Cid> => {
    const entries = below.map((cid, at) => ({ name: `${at}`, cid, treeSizeBytes: 100 }));
    const built = await buildDirectory(entries);
    for (const { cid, bytes } of built.nodes) nodes.set(cid, bytes);
    return built.cid;
  };
  let root = await put([]);
  for (let level = 0; level < 2; level += 1)
    root = await put(Array.from<Cid>({ length: 40 }).fill(root));
  const blockOf = (cid: Cid) => ({
    bytes: Buffer.from(nodes.get(cid) ?? []),
    release: () => undefined,
  });
  return { root, blockOf };
}

describe('nodes that were read a moment ago', () => {
  async function reader(signal: AbortSignal) {
    const { root, blockOf } = await unfolding();
    const fetch = async (cid: Cid) => blockOf(cid);
    const memory = createBlockMemory(MiB);
    const spend = () => undefined;
    return {
      root,
      reader: createNodeReads({ memory, fetch, fetchHere: fetch, spend }, { signal }),
    };
  }

  it.each(['getNode', 'getNodeHere'] as const)(
    'let others have their turn when %s gives them, and end with their reader',
    async (way) => {
      const leaving = new AbortController();
      const { root, reader: of } = await reader(leaving.signal);
      setImmediate(() => leaving.abort(left));
      let reads = 0;
      const readOn = async () => {
        for (; reads < 10_000; reads += 1) await of[way](root);
      };
      await expect(readOn()).rejects.toBe(left);
      expect(reads).toBeLessThanOrEqual(65);
    },
  );
});

describe('a manifest whose nodes stand in many places', () => {
  async function stand() {
    const { root, blockOf } = await unfolding();
    const fetched: Cid[] = [];
    const put: string[] = [];
    const client = paperClient([
      [storageRoutes.putBlock, ({ params }) => void put.push(params['cid'] ?? '')],
    ]);
    const manifests = createManifests({
      client,
      log: createLog('transfer', 'silent'),
    });
    const dag: Pick<ListedDag, 'fetch'> = {
      fetch: async ({ cid }) => {
        fetched.push(cid);
        return blockOf(cid);
      },
    };
    const list = (signal: AbortSignal) =>
      // A listing asks it for blocks alone.
      manifests.list({ root, sizeBytes: 0 }, dag as ListedDag, { signal });
    return { fetched, put, list };
  }

  it('is listed with each of them fetched and put once', async () => {
    const { fetched, put, list } = await stand();
    expect(await list(new AbortController().signal)).toHaveLength(1 + 40 + 40 * 40);
    expect(fetched).toHaveLength(3);
    expect(new Set(fetched).size).toBe(3);
    expect(put).toEqual(fetched);
  });

  it('is not listed to its end for who has left', async () => {
    const { list } = await stand();
    const leaving = new AbortController();
    setImmediate(() => leaving.abort(left));
    await expect(list(leaving.signal)).rejects.toBe(left);
  });
});
