/** Folders on a real disk: read into forms, written from CARs. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  buildDirectory,
  buildSymlink,
  codecOf,
  createDagBuilder,
  digestOf,
  hashBlock,
  listDag,
} from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import { folderForm } from '../../src/folder-form.ts';
import { listFolder } from '../../src/list-folder.ts';
import { writeTree } from '../../src/write-tree.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-folders-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('listFolder', () => {
  const paths = async (withHidden = false) =>
    (await listFolder(folder, { withHidden })).map(({ path, kind }) => `${path} ${kind}`);

  it('tells files, empty folders and symlinks, folders before what is in them', async () => {
    mkdirSync(join(folder, 'b/empty'), { recursive: true });
    writeFileSync(join(folder, 'b/x'), 'x');
    writeFileSync(join(folder, 'a'), 'a');
    symlinkSync('b', join(folder, 'link'));
    symlinkSync('/nowhere', join(folder, 'broken'));
    expect(await paths()).toEqual([
      'a file',
      'b folder',
      'b/empty folder',
      'b/x file',
      'broken symlink',
      'link symlink',
    ]);
  });

  it('passes over what is hidden, unless it is asked for', async () => {
    mkdirSync(join(folder, '.git'));
    writeFileSync(join(folder, '.git/config'), 'x');
    writeFileSync(join(folder, 'a'), 'a');
    expect(await paths()).toEqual(['a file']);
    expect(await paths(true)).toEqual(['.git folder', '.git/config file', 'a file']);
  });

  it('refuses names that no peer takes, and what is neither file nor folder', async () => {
    writeFileSync(join(folder, 'back\\slash'), '');
    await expect(paths()).rejects.toThrow(/path separator/);
    rmSync(join(folder, 'back\\slash'));
    writeFileSync(Buffer.concat([Buffer.from(join(folder, 'bad')), Buffer.of(0xff)]), '');
    await expect(paths()).rejects.toThrow(/not valid Unicode/);
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    const server = createServer().listen(join(folder, 'socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    await expect(paths()).rejects.toThrow(/no file, folder or symlink/);
    server.close();
  });
});

it('folderForm writes one part for each entry, the folder itself first', async () => {
  writeFileSync(join(folder, 'ä "b"'), 'bytes');
  mkdirSync(join(folder, 'c'));
  symlinkSync('c', join(folder, 'd'));
  let sent = 0;
  const entries = await listFolder(folder, { withHidden: false });
  const { contentType, body } = folderForm('top', entries, { onBytes: (bytes) => (sent += bytes) });
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  const bytes = new Uint8Array(Buffer.concat(pieces));
  const parts = await new Response(bytes, { headers: { 'content-type': contentType } }).formData();
  const read = await Promise.all(
    parts.getAll('file').map(async (part) => {
      const file = part as File;
      return [decodeURIComponent(file.name), file.type, await file.text()];
    }),
  );
  expect(read).toEqual([
    ['top', 'application/x-directory', ''],
    ['top/c', 'application/x-directory', ''],
    ['top/d', 'application/symlink', 'c'],
    ['top/ä "b"', 'application/octet-stream', 'bytes'],
  ]);
  expect(sent).toBe(5);
});

/** Blocks, and CARs of what they make. */
function blockstore() {
  const blocks = new Map<Cid, Uint8Array>();
  const put = (block: { cid: Cid; bytes: Uint8Array }) => {
    blocks.set(block.cid, block.bytes);
    return { cid: block.cid, treeSizeBytes: block.bytes.length };
  };
  return {
    blocks,
    put,
    raw(text: string) {
      const bytes = Buffer.from(text);
      return put({ cid: hashBlock('raw', bytes), bytes });
    },
    async directory(entries: Parameters<typeof buildDirectory>[0]) {
      const { nodes, ...directory } = await buildDirectory(entries);
      nodes.forEach(put);
      return directory;
    },
    /** A CAR with every block where a walk comes by it. */
    async car(root: Cid, change: (cids: Cid[]) => Cid[] = (cids) => cids): Promise<Buffer> {
      const entries = await listDag(root, undefined, async (cid) => blocks.get(cid));
      return Buffer.concat([
        Buffer.from('11a265726f6f7473806776657273696f6e01', 'hex'), // no roots, version 1
        ...change(entries.map(({ cid }) => cid)).map((cid) => {
          const bytes = blocks.get(cid) ?? Buffer.from('lost');
          const name = [1, codecOf(cid) === 'raw' ? 0x55 : 0x70, 0x12, 32, ...digestOf(cid)];
          const sizeBytes = name.length + bytes.length;
          const size = sizeBytes < 128 ? [sizeBytes] : [(sizeBytes & 127) | 128, sizeBytes >> 7];
          return Buffer.from([...size, ...name, ...bytes]);
        }),
      ]);
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 50) yield bytes.subarray(at, at + 50);
}

describe('writeTree', () => {
  const write = (car: Uint8Array, root: Cid) =>
    writeTree(once(car), root, join(folder, 'out'), { onBytes: () => {} });

  it('writes files of one and of many blocks, folders and symlinks', async () => {
    const store = blockstore();
    const dag = createDagBuilder();
    for (const text of ['one ', 'two ', 'one ']) {
      const { cid } = store.raw(text);
      dag.addLeaf({ cid, sizeBytes: text.length });
    }
    const big = dag.finish();
    big.nodes.forEach(store.put);
    const link = store.put(buildSymlink(Buffer.from('../../outside')));
    const small = store.raw('small');
    const sub = await store.directory([
      { name: 'same', ...small },
      { name: 'link', ...link },
    ]);
    const { cid } = await store.directory([
      { name: 'big', cid: big.root, treeSizeBytes: big.treeSizeBytes },
      { name: 'small', ...small },
      { name: 'sub', ...sub },
      { name: 'empty', ...(await store.directory([])) },
    ]);
    const written = await write(await store.car(cid), cid);
    expect(written).toEqual({ files: 3, folders: 3, symlinks: 1, sizeBytes: 12 + 5 + 5 });
    const at = (path: string) => join(folder, 'out', path);
    expect(readFileSync(at('big'), 'utf8')).toBe('one two one ');
    expect(readFileSync(at('sub/same'), 'utf8')).toBe('small');
    expect(readlinkSync(at('sub/link'))).toBe('../../outside');
    expect(readdirSync(at('empty'))).toEqual([]);
  });

  it.each(['../evil', '..', 'a/b', '/etc/evil', '', 'a\0b', 'a\\b'])(
    'writes nothing under the name %j',
    async (name) => {
      const store = blockstore();
      const { cid } = await store.directory([{ name, ...store.raw('x') }]);
      await expect(write(await store.car(cid), cid)).rejects.toThrow(/can't be written here/);
      expect(readdirSync(folder)).toEqual(['out']);
      expect(readdirSync(join(folder, 'out'))).toEqual([]);
    },
  );

  it('writes nothing through a symlink, though a folder of its name follows', async () => {
    const store = blockstore();
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    const link = store.put(buildSymlink(Buffer.from(outside)));
    const file = store.raw('evil');
    const inner = await store.directory([{ name: 'planted', ...file }]);
    for (const second of [inner, file]) {
      // Two entries of one name: no honest directory has them.
      const { cid } = await store.directory([
        { name: 'a', ...link },
        { name: 'a', ...second },
      ]);
      await expect(write(await store.car(cid), cid)).rejects.toThrow(/EEXIST/);
      rmSync(join(folder, 'out'), { recursive: true });
    }
    expect(readdirSync(outside)).toEqual([]);
  });

  it('refuses blocks that are missing, swapped, spoilt or cut off', async () => {
    const store = blockstore();
    const [a, b] = [store.raw('first file'), store.raw('second file')];
    const { cid } = await store.directory([
      { name: 'a', ...a },
      { name: 'b', ...b },
    ]);
    const car = await store.car(cid);
    const tries: [Uint8Array, RegExp][] = [
      [await store.car(cid, (cids) => cids.slice(0, -1)), /left out block/],
      [
        await store.car(cid, ([root, ...rest]) => [root ?? cid, ...rest.toReversed()]),
        /another block/,
      ],
      [car.subarray(0, car.length - 3), /cut off/],
      [Buffer.from(car).fill('x', car.length - 3), /another block/],
      [Buffer.from('not a CAR'), /CAR/],
    ];
    for (const [bytes, words] of tries) {
      await expect(write(bytes, cid)).rejects.toThrow(words);
      rmSync(join(folder, 'out'), { recursive: true, force: true });
    }
  });

  it('touches nothing that is there', async () => {
    const store = blockstore();
    const { cid } = await store.directory([]);
    writeFileSync(join(folder, 'out'), 'mine');
    await expect(write(await store.car(cid), cid)).rejects.toThrow(/EEXIST/);
    expect(readFileSync(join(folder, 'out'), 'utf8')).toBe('mine');
    expect(existsSync(join(folder, 'out.part'))).toBe(false);
  });
});
