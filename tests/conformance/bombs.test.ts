/** What a few nodes that name each other often enough cost a peer over HTTP. No pin keeps them. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ask } from './ask.ts';
import { fileNode, makeCar, type MadeBlock, rawLeaf } from './make-dag.ts';
import { CAR, openRig, type Rig } from './rig.ts';

/** Each names the one below twice: a million million leaves of a byte, in some kilobytes. */
const LEVELS = 40;
/** Leaves that may be read for the nothing that they give; without a bound it was 95,000 in a minute. */
const READS_MAX = 20_000;

describe('a file of a million million bytes in 40 blocks', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await openRig([]);
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });
  const blocksRead = async (): Promise<number> => {
    const { body } = await ask(rig.importer.storage, '/metrics');
    const lines = String(body).split('\n');
    const sent = lines.filter((line) => /^shoal_storage_blocks_read_total\{.*"sent"/.test(line));
    return sent.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };

  it('is broken off once it gave next to nothing for what was read', async () => {
    const blocks: MadeBlock[] = [rawLeaf(Buffer.from('!'))];
    for (let level = 0; level < LEVELS; level += 1) {
      const below = blocks.slice(-1);
      blocks.push(fileNode(Buffer.alloc(0), [...below, ...below]));
    }
    const [root] = blocks.slice(-1);
    if (root === undefined) throw new Error('it has a root');
    const car = await makeCar(root.cid, blocks);
    const taken = await ask(rig.importer.gateway, '/ipfs?pin=false', {
      method: 'POST',
      headers: { 'content-type': CAR },
      body: car,
      timeoutMs: 60_000,
    });
    expect(taken.status).toBe(201);
    const before = await blocksRead();
    const answer = await ask(rig.importer.gateway, `/ipfs/${root.cid.toString()}`, {
      timeoutMs: 120_000,
    });
    // A refusal, or an answer that breaks off when its head was out already.
    expect(answer.status === 200 && answer.isWhole).toBe(false);
    expect([200, 422]).toContain(answer.status);
    expect((await blocksRead()) - before).toBeLessThan(READS_MAX);
  });
});
