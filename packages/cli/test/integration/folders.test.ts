/** Folders on a real disk: read into forms, written from CARs. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
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
import { folderForm } from '../../src/files/folder-form.ts';
import { type Hidden, listFolder } from '../../src/files/list-folder.ts';
import { openFile, openSource } from '../../src/files/open-file.ts';
import { writeTree } from '../../src/files/write-tree.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-folders-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('listFolder', () => {
  const paths = async (hidden: Hidden = 'list') =>
    (await listFolder(folder, { hidden })).entries.map(({ path, kind }) => `${path} ${kind}`);
  const left = async (hidden: Hidden = 'list') => (await listFolder(folder, { hidden })).leftOut;

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

  it('tells what is hidden and left out, unless one or the other was asked for', async () => {
    mkdirSync(join(folder, '.git'));
    writeFileSync(join(folder, '.git/config'), 'x');
    writeFileSync(join(folder, 'a'), 'a');
    expect(await paths()).toEqual(['a file']);
    expect(await left()).toEqual([{ path: '.git', reason: expect.stringContaining('--hidden') }]);
    expect(await left('pass-over')).toEqual([]);
    expect(await left('take')).toEqual([]);
    expect(await paths('take')).toEqual(['.git folder', '.git/config file', 'a file']);
  });

  it('takes every name that POSIX allows and UTF-8 can say', async () => {
    const names = [
      'back\\slash',
      'Icon\r',
      '\u200eltr',
      '\ufffd',
      '\ufeffmark',
      '\u001b[2J',
      '\n',
      ' ',
    ];
    for (const name of names) writeFileSync(join(folder, name), '');
    expect((await paths()).toSorted()).toEqual(names.map((name) => `${name} file`).toSorted());
    expect(await left()).toEqual([]);
  });

  it('leaves out and tells what can not be kept, and takes the rest', async () => {
    writeFileSync(join(folder, 'good'), '');
    writeFileSync(Buffer.concat([Buffer.from(join(folder, 'bad')), Buffer.of(0xff)]), '');
    mkdirSync(join(folder, ...Array.from({ length: 31 }, () => 'd')), { recursive: true });
    const server = createServer().listen(join(folder, 'socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    try {
      expect(await paths()).toContain('good file');
      expect(await left()).toEqual([
        { path: 'bad\ufffd', reason: 'its name is not valid UTF-8' },
        {
          path: Array.from({ length: 31 }, () => 'd').join('/'),
          reason: expect.stringContaining('deeper'),
        },
        { path: 'socket', reason: 'it is no file, folder or symlink' },
      ]);
    } finally {
      server.close();
    }
  });
});

describe('a file that is sent', () => {
  const context = { env: {}, cwd: '/', out: () => {}, err: () => {}, isWatched: false };
  const read = async (source: AsyncIterable<Uint8Array>) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of source) pieces.push(piece);
    return Buffer.concat(pieces);
  };

  it('of which the system knows no size is read to its end', async () => {
    await using file = await openFile('/proc/version', undefined, context);
    const bytes = await read(file.source);
    expect(bytes).toEqual(readFileSync('/proc/version'));
    expect(bytes.length).toBeGreaterThan(0);
    expect(file.sizeBytes).toBe(bytes.length);
    expect(await file.hasChanged()).toBe(false);
  });

  it.each([0, 1, 256 * 1024 - 1, 256 * 1024, 600_000])(
    'of %d bytes has all of them',
    async (size) => {
      const path = join(folder, 'f');
      writeFileSync(path, Buffer.alloc(size, 'ab'));
      await using file = await openFile(path, undefined, context);
      expect(file.sizeBytes).toBe(size);
      expect((await read(file.source)).equals(readFileSync(path))).toBe(true);
      expect(await file.hasChanged()).toBe(false);
    },
  );

  it('and grows is cut off where it ended, and said to have changed', async () => {
    const path = join(folder, 'log');
    writeFileSync(path, Buffer.alloc(600_000));
    await using file = await openFile(path, undefined, context);
    appendFileSync(path, 'more');
    expect((await read(file.source)).length).toBe(600_000);
    expect(await file.hasChanged()).toBe(true);
  });

  it('and shrinks is a fault of its own, by name; in a folder it is said to have changed', async () => {
    const path = join(folder, 'log');
    writeFileSync(path, Buffer.alloc(600_000));
    await using file = await openFile(path, undefined, context);
    await using part = await openSource(path, { isOwn: true });
    truncateSync(path, 300_000);
    await expect(read(file.source)).rejects.toThrow(`${path} changed while it was sent`);
    expect((await read(part.source)).length).toBe(300_000);
    expect(await part.hasChanged()).toBe(true);
  });

  it('and can not be read is a fault of its own, by name', async () => {
    await expect(openFile('/proc/self/mem', undefined, context)).rejects.toThrow(
      "/proc/self/mem can't be read",
    );
  });
});

it('folderForm writes one part for each entry, the folder itself first', async () => {
  writeFileSync(join(folder, 'ä "b"'), 'bytes');
  mkdirSync(join(folder, 'c'));
  symlinkSync('c', join(folder, 'd'));
  let sent = 0;
  writeFileSync(join(folder, 'e'), 'gone');
  const { entries } = await listFolder(folder, { hidden: 'list' });
  rmSync(join(folder, 'e'));
  const leftOut: string[] = [];
  const { contentType, body } = folderForm({ name: 'top' }, entries, {
    onBytes: (bytes) => (sent += bytes),
    onLeftOut: ({ path }) => void leftOut.push(path),
    onChanged: (path) => void leftOut.push(`${path} changed`),
  });
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
  expect(leftOut).toEqual(['e']);
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
    writeTree(once(car), root, join(folder, 'out'), { onBytes: () => {}, withLinksOut: true });

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

  it.each(['../evil', '..', 'a/b', '/etc/evil', '', 'a\0b'])(
    'writes nothing under the name %j',
    async (name) => {
      const store = blockstore();
      const { cid } = await store.directory([{ name, ...store.raw('x') }]);
      await expect(write(await store.car(cid), cid)).rejects.toThrow(/can't be written here/);
      expect(readdirSync(folder)).toEqual(['out']);
      expect(readdirSync(join(folder, 'out'))).toEqual([]);
    },
  );

  it('writes odd names as they are', async () => {
    const store = blockstore();
    const names = ['a\\b', 'Icon\r', '\u202egpj.exe', '\ufeffx', 'n'.repeat(255)];
    const { cid } = await store.directory(names.map((name) => ({ name, ...store.raw('x') })));
    await write(await store.car(cid), cid);
    expect(readdirSync(join(folder, 'out')).toSorted()).toEqual(names.toSorted());
  });

  it('refuses symlinks that lead out, unless they are asked for', async () => {
    const store = blockstore();
    const link = store.put(buildSymlink(Buffer.from('../outside')));
    const { cid } = await store.directory([{ name: 'l', ...link }]);
    const car = await store.car(cid);
    const out = join(folder, 'out');
    await expect(writeTree(once(car), cid, out, { onBytes: () => {} })).rejects.toThrow(
      /symlink l may lead out of the folder, to \.\.\/outside.*--links-out/,
    );
  });

  it('sets modes and times that the directory carries when it is asked to', async () => {
    const store = blockstore();
    const mtime = { secs: 1_000_000_000n, nsecs: 500_000_000 };
    const dag = createDagBuilder();
    const { cid: leaf } = store.raw('#!');
    dag.addLeaf({ cid: leaf, sizeBytes: 2 });
    const { root, nodes, treeSizeBytes } = dag.finish({ mode: 0o4750, mtime });
    nodes.forEach(store.put);
    const sealed = await buildDirectory([{ name: 'run', cid: root, treeSizeBytes }], {
      mode: 0o555,
      mtime,
    });
    sealed.nodes.forEach(store.put);
    const { cid } = await store.directory([{ name: 'sealed', ...sealed }]);
    await writeTree(once(await store.car(cid)), cid, join(folder, 'out'), {
      onBytes: () => {},
      isPreserving: true,
    });
    for (const [path, mode] of [
      ['out/sealed', 0o555],
      ['out/sealed/run', 0o750],
    ] as const) {
      const status = statSync(join(folder, path));
      expect([path, status.mode & 0o7777, status.mtimeMs]).toEqual([path, mode, 1_000_000_000_500]);
    }
  });

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
