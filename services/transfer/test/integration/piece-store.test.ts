import { randomBytes } from 'node:crypto';
import {
  mkdir,
  mkdtempDisposable,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import { openPieceStore } from '../../src/describe/piece-store.ts';

const log = createLog('test', 'silent');
const digests = Uint8Array.from(randomBytes(40));

describe('the store of digests', () => {
  it('gives back what was kept, also after it was opened again', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    const path = join(folder.path, 'transfer', 'pieces');
    const store = await openPieceStore(path, { log });
    expect(await store.read('a.sha1', 40)).toBeUndefined();
    await store.write('a.sha1', digests);
    expect(await store.read('a.sha1', 40)).toEqual(Buffer.from(digests));
    const again = await openPieceStore(path, { log });
    expect(await again.read('a.sha1', 40)).toEqual(Buffer.from(digests));
    expect(await again.read('a.sha256', 64)).toBeUndefined();
  });

  it('keeps nothing where its folder can not be, and ends nobody', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    const path = join(folder.path, 'pieces');
    await writeFile(path, 'in its place');
    const store = await openPieceStore(path, { log });
    await store.write('a.sha1', digests);
    expect(await store.read('a.sha1', 40)).toBeUndefined();
    await rm(path);
    await mkdir(path);
    await store.write('a.sha1', digests);
    expect(await store.read('a.sha1', 40)).toEqual(Buffer.from(digests));
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['cut short', (path) => truncate(path, 50)],
    ['empty', (path) => truncate(path, 0)],
    [
      'rotten',
      async (path) => {
        const bytes = await readFile(path);
        bytes[7] = (bytes[7] ?? 0) ^ 1;
        await writeFile(path, bytes);
      },
    ],
    ['gone', (path) => rm(path)],
    [
      'of another file',
      async (path) => {
        const store = await openPieceStore(join(path, '..'), { log });
        await store.write('other.sha1', digests);
        await rename(join(path, '..', 'other.sha1'), path);
      },
    ],
  ])('takes what is %s for absent, and keeps it anew', async (_, harm) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    const store = await openPieceStore(folder.path, { log });
    await store.write('a.sha1', digests);
    await harm(join(folder.path, 'a.sha1'));
    expect(await store.read('a.sha1', 40)).toBeUndefined();
    expect(await readdir(folder.path)).not.toContain('a.sha1');
    await store.write('a.sha1', digests);
    expect(await store.read('a.sha1', 40)).toEqual(Buffer.from(digests));
  });

  it('refuses digests of another size than the file has', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    const store = await openPieceStore(folder.path, { log });
    await store.write('a.sha1', digests);
    expect(await store.read('a.sha1', 60)).toBeUndefined();
  });

  it('clears what a crash left half written', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    await writeFile(join(folder.path, 'half.tmp'), 'half');
    await openPieceStore(folder.path, { log });
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('lets go of what was used longest ago', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    const options = { log, sizeMaxBytes: 3 * 4096 }; // small files count as 4 KiB
    const store = await openPieceStore(folder.path, options);
    for (const key of ['a', 'b', 'c']) await store.write(key, digests);
    await store.read('a', 40);
    await store.write('d', digests);
    expect((await readdir(folder.path)).toSorted()).toEqual(['a', 'c', 'd']);
    const again = await openPieceStore(folder.path, options);
    await again.write('e', digests);
    expect(await readdir(folder.path)).toHaveLength(3);
    expect(await again.read('d', 40)).toBeDefined();
  });

  it('goes on without what it can’t write', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'shoal-'));
    const path = join(folder.path, 'pieces');
    const store = await openPieceStore(path, { log });
    await rm(path, { recursive: true });
    await writeFile(path, 'a file in its place');
    await store.write('a.sha1', digests);
    expect(await store.read('a.sha1', 40)).toBeUndefined();
  });
});
