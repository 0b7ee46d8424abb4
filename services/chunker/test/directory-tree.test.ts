import { describe, expect, it } from '@jest/globals';
import { buildDirectory, hashBlock, listDag, listEntries, readUnixfs } from '@shoal/blocks';
import type { Cid, DirectoryItem } from '@shoal/protocol';
import { DirectoryInvalid, PATH_SEGMENTS_MAX, PATH_SIZE_MAX_BYTES } from '@shoal/protocol';
import { createDirectoryTree, type ItemKind } from '../src/directory/directory-tree.ts';

const leafOf = (text: string) => ({
  cid: hashBlock('raw', Buffer.from(text)),
  sizeBytes: text.length,
  treeSizeBytes: text.length,
  blocks: 1,
});

/** Builds a tree of files, whose bytes are their paths; a trailing slash makes a folder. */
async function build(paths: readonly string[], name?: string) {
  const tree = createDirectoryTree({ name, entriesMax: 100 });
  for (const path of paths)
    if (path.endsWith('/')) tree.claim(path.slice(0, -1), 'directory');
    else tree.claim(path, 'file')(leafOf(path));
  const nodes = new Map<Cid, Uint8Array>();
  const items: DirectoryItem[] = [];
  const built = await tree.build({
    onNodes: async (more) => more.forEach(({ cid, bytes }) => nodes.set(cid, bytes)),
    onItem: (item) => void items.push(item),
  });
  return { ...built, name: tree.name, nodes, items };
}

describe('a tree of paths', () => {
  it('is named by the first segment that all share', async () => {
    const { name, entries, items } = await build(['top/a', 'top/sub/b', 'top/sub/deep/c']);
    expect(name).toBe('top');
    expect(entries).toBe(5);
    expect(items.map(({ path }) => path).toSorted()).toEqual([
      'a',
      'sub',
      'sub/b',
      'sub/deep',
      'sub/deep/c',
    ]);
  });

  it('is the same whatever the order, and whether or not folders are named', async () => {
    const one = await build(['t/a', 't/s/b', 't/s/c']);
    const other = await build(['t/', 't/s/c', 't/s/', 't/a', 't/s/b']);
    expect({ ...other, items: [], nodes: [] }).toEqual({ ...one, items: [], nodes: [] });
  });

  it('has the CID of its directories, and counts the blocks that a walk lists', async () => {
    const { cid, nodes, blocks, sizeBytes, treeSizeBytes } = await build(['t/a', 't/empty/']);
    const empty = await buildDirectory([]);
    const a = leafOf('t/a');
    const expected = await buildDirectory([
      { name: 'a', ...a },
      { name: 'empty', cid: empty.cid, treeSizeBytes: empty.treeSizeBytes },
    ]);
    expect({ cid, treeSizeBytes }).toEqual({
      cid: expected.cid,
      treeSizeBytes: expected.treeSizeBytes,
    });
    const listed = await listDag(cid, undefined, async (node) => nodes.get(node));
    expect(blocks).toBe(listed.length);
    expect(sizeBytes).toBe(3);
  });

  it('lies in a new directory when that has a name', async () => {
    const { name, items } = await build(['a', 'top/b'], 'around');
    expect(name).toBe('around');
    expect(items.map(({ path }) => path).toSorted()).toEqual(['a', 'top', 'top/b']);
  });

  it('may be empty, and may be one folder', async () => {
    expect((await build(['top/'])).cid).toBe((await buildDirectory([])).cid);
  });

  it.each([
    ['a segment that leads up', ['t/../etc/passwd']],
    ['a segment that stays', ['t/./a']],
    ['an absolute path', ['/t/a']],
    ['an empty segment', ['t//a']],
    ['a slash at the end of a file', ['t/a', 't/b//']],
    ['a NUL', ['t/a\u0000b']],
    ['a name of the whole that reads reversed', ['\u202egpj.exe/a']],
    ['a name of the whole with a backslash', ['t\\u/a']],
    ['half a character', ['t/\ud800']],
    ['a file that comes twice', ['t/a', 't/a']],
    ['a folder that is named twice', ['t/s/', 't/s/']],
    ['a file that becomes a folder', ['t/a', 't/a/b']],
    ['a folder that becomes a file', ['t/a/b', 't/a']],
    ['a named folder that becomes a file', ['t/a/', 't/a']],
    ['two roots', ['t/a', 'u/b']],
    ['a file without a folder', ['a']],
    ['a segment that is too long', [`t/${'x'.repeat(256)}`]],
    ['a path that is too long', [`t/${'xxxxxxx/'.repeat(PATH_SIZE_MAX_BYTES / 8)}y`]],
    ['a path that is too deep', [`t/${'x/'.repeat(PATH_SEGMENTS_MAX)}y`]],
    ['more entries than it may have', Array.from({ length: 101 }, (_, at) => `t/${at}`)],
  ])('refuses %s', async (_, paths) => {
    await expect(build(paths)).rejects.toThrow(DirectoryInvalid);
  });

  it('keeps every name that POSIX allows and UTF-8 can say', async () => {
    const names = [
      'a\\b',
      'Icon\r',
      '\u200ex',
      '\u202egpj.exe',
      '\u001b[2J',
      '\ufffd',
      '\ufeffx',
      '\t',
      '\n',
    ];
    const { cid, nodes, items } = await build(names.map((name) => `t/${name}`));
    expect(items.map(({ path }) => path).toSorted()).toEqual(names.toSorted());
    const listed: string[] = [];
    const root = nodes.get(cid);
    if (root === undefined) throw new Error('the root is among its nodes');
    for await (const { name } of listEntries(readUnixfs(cid, root), async (at) => nodes.get(at)))
      listed.push(name);
    expect(listed.toSorted()).toEqual(names.toSorted());
  });

  it('takes the deepest path that it may', async () => {
    const { entries } = await build([`t/${'x/'.repeat(PATH_SEGMENTS_MAX - 1)}y`]);
    expect(entries).toBe(PATH_SEGMENTS_MAX);
  });

  it('refuses a symlink in the place of a folder', () => {
    const tree = createDirectoryTree({ name: undefined, entriesMax: 10 });
    tree.claim('t/a', 'symlink' satisfies ItemKind);
    expect(() => tree.claim('t/a/b', 'file')).toThrow(/a file and a folder/);
  });
});
