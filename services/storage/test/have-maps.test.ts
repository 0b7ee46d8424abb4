import { describe, expect, it } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import { BlockNotFound, type Cid, type HaveMap, ManifestIncomplete } from '@shoal/protocol';
import { haveMapsOf } from '../src/dags/have-maps.ts';

const log = createLog('storage', 'silent');
const { signal } = new AbortController();
const options = { log, signal };
const rootOf = (name: string) => name as Cid; // nothing here parses it
const ROOTS = Array.from({ length: 20 }, (_, index) => rootOf(`root-${index}`));
const mapOf = (root: Cid, bits = 'gA'): HaveMap => ({ root, blocks: 1, bits });
const never = new Promise<never>(() => undefined);

describe('haveMapsOf', () => {
  it('answers in the order asked, whatever is ready first', async () => {
    const read = async (root: Cid) => {
      if (root.endsWith('0')) await new Promise(setImmediate);
      return mapOf(root);
    };
    expect(await haveMapsOf(ROOTS, read, options)).toEqual(ROOTS.map((root) => mapOf(root)));
  });

  it('says of each why it is not told, and tells the others', async () => {
    const [absent, incomplete, broken, sound] = ROOTS as [Cid, Cid, Cid, Cid];
    const read = async (root: Cid) => {
      if (root === absent) throw new BlockNotFound({ cid: root });
      if (root === incomplete) throw new ManifestIncomplete({ root, cid: root });
      if (root === broken) throw new Error('a disk error');
      return mapOf(root);
    };
    expect(await haveMapsOf([absent, incomplete, broken, sound], read, options)).toEqual([
      'absent',
      'incomplete',
      'unread',
      mapOf(sound),
    ]);
  });

  it('does not lose the others to one that takes too long, nor hears of it later', async () => {
    const slow = Promise.withResolvers<HaveMap>();
    const read = async (root: Cid) => (root === ROOTS[2] ? slow.promise : mapOf(root));
    const found = await haveMapsOf(ROOTS, read, { ...options, timeoutMs: 50 });
    const expected = ROOTS.map((root, index) => (index === 2 ? 'unread' : mapOf(root)));
    expect(found).toEqual(expected);
    slow.resolve(mapOf(rootOf('root-2')));
    await new Promise(setImmediate);
    expect(found).toEqual(expected);
  });

  it('reads a few at a time, and none once the time is over', async () => {
    let reads = 0;
    const read = () => {
      reads += 1;
      return never;
    };
    const found = await haveMapsOf(ROOTS, read, { ...options, timeoutMs: 20 });
    expect(new Set(found)).toEqual(new Set(['unread']));
    expect(reads).toBe(4);
  });

  it('leaves out what would make the answer too large', async () => {
    const read = async (root: Cid) => mapOf(root, 'A'.repeat(10));
    const found = await haveMapsOf(ROOTS, read, { ...options, bitsMaxChars: 35 });
    expect(found.filter((said) => said !== 'unread')).toHaveLength(3);
  });

  it('stops when the caller leaves', async () => {
    const caller = new AbortController();
    let reads = 0;
    const read = async (root: Cid) => {
      reads += 1;
      caller.abort(new Error('the caller left'));
      return mapOf(root);
    };
    const reading = haveMapsOf(ROOTS, read, { log, signal: caller.signal });
    await expect(reading).rejects.toThrow('the caller left');
    expect(reads).toBeLessThanOrEqual(4);
  });
});
