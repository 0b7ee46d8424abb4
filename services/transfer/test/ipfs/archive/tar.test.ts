import { describe, expect, it } from '@jest/globals';
import { buildSymlink, hashBlock, readCid } from '@shoal/blocks';
import { type Cid, FormatUnsupported, LinkLeadsOut, ManifestInvalid } from '@shoal/protocol';
import { createNode, encode } from '@ipld/dag-pb';
import fc from 'fast-check';
import { UnixFS } from 'ipfs-unixfs';
import { CID } from 'multiformats/cid';
import { Parser } from 'tar/parse';
import { createLinkRoom } from '../../../src/fetch/read-budget.ts';
import { tarEntries } from '../../../src/ipfs/archive/tar-entries.ts';
import {
  TAR_END,
  type TarHead,
  tarHeader,
  tarPadding,
} from '../../../src/ipfs/archive/tar-frames.ts';

/** What another program reads out of headers, each followed by as many bytes as it says. */
async function readBack(heads: readonly TarHead[]) {
  const read: { path: string; type: string; size: number; mtime: number; linkTo: string }[] = [];
  const parser = new Parser({ strict: true });
  parser.on('entry', (entry) => {
    const { path, type, size, mtime, linkpath } = entry;
    read.push({ path, type, size, mtime: Number(mtime), linkTo: linkpath ?? '' });
    entry.resume();
  });
  const done = new Promise((resolve, reject) => parser.on('end', resolve).on('error', reject));
  for (const head of heads) {
    parser.write(Buffer.from(tarHeader(head)));
    parser.write(Buffer.alloc(head.sizeBytes));
    parser.write(Buffer.from(tarPadding(head.sizeBytes)));
  }
  parser.end(Buffer.from(TAR_END));
  await done;
  return read;
}

const TYPES = { file: 'File', directory: 'Directory', symlink: 'SymbolicLink' };
const plain = { linkTo: '', attributes: undefined };

describe('the frames of a TAR', () => {
  it('say names, sizes, times and links as other programs read them', async () => {
    const segment = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 120 })
      .map((text) => text.replaceAll(/[/\0\n]/g, '_'))
      .filter((text) => text.isWellFormed() && text.trim() !== '' && !/^\.+$/.test(text));
    const head = fc.record({
      kind: fc.constantFrom('file', 'directory', 'symlink'),
      path: fc.array(segment, { minLength: 1, maxLength: 6 }).map((names) => names.join('/')),
      bytes: fc.nat(2000),
      secs: fc.bigInt(-(2n ** 40n), 2n ** 40n),
      linkTo: segment,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(head, { minLength: 1, maxLength: 5 }), async (drafts) => {
        const heads = drafts.map(({ kind, path, bytes, secs, linkTo }): TarHead => ({
          kind,
          path,
          sizeBytes: kind === 'file' ? bytes : 0,
          linkTo: kind === 'symlink' ? linkTo : '',
          attributes: { mode: undefined, mtime: { secs, nsecs: 0 } },
        }));
        expect(await readBack(heads)).toEqual(
          heads.map(({ kind, path, sizeBytes, linkTo, attributes }) => ({
            path,
            type: TYPES[kind],
            size: sizeBytes,
            mtime: 1000 * Number(attributes?.mtime?.secs),
            linkTo,
          })),
        );
      }),
      { seed: 12, numRuns: 100 },
    );
  });

  it('have no slash behind a directory, no set-user-id, and the epoch where no time is said', () => {
    const header = Buffer.from(
      tarHeader({ kind: 'directory', path: 'root', sizeBytes: 0, ...plain }),
    );
    expect(header.length).toBe(512);
    expect(header.toString('latin1', 0, 5)).toBe('root\0');
    expect(header.toString('latin1', 100, 107)).toBe('000755 ');
    expect(header.toString('latin1', 136, 147)).toBe('0000000000 ');
    const attributes = { mode: 0o4755, mtime: { secs: 2n ** 62n, nsecs: 0 } };
    const odd = tarHeader({
      kind: 'file',
      path: 'f',
      sizeBytes: 9 * 2 ** 30,
      linkTo: '',
      attributes,
    });
    expect(Buffer.from(odd).toString('latin1', odd.length - 412, odd.length - 405)).toBe('000755 ');
    expect(Buffer.from(odd).toString('latin1')).toContain(`size=${9 * 2 ** 30}\n`);
  });
});

/** A few nodes in memory. */
function memory() {
  const blocks = new Map<Cid, Uint8Array>();
  const add = (bytes: Uint8Array): Cid => {
    const cid = hashBlock('dag-pb', bytes);
    blocks.set(cid, bytes);
    return cid;
  };
  const node = (type: 'plain' | 'directory', links: readonly (readonly [string, Cid])[] = []) =>
    add(
      encode(
        createNode(
          type === 'plain' ? new Uint8Array([255]) : new UnixFS({ type }).marshal(),
          links.map(([Name, cid]) => ({ Name, Hash: CID.parse(cid), Tsize: 1 })),
        ),
      ),
    );
  return {
    file: hashBlock('raw', Buffer.from('a file')),
    plain: () => node('plain'),
    symlink: (to: string | Uint8Array) => add(buildSymlink(Buffer.from(to)).bytes),
    directory: (...links: readonly (readonly [string, Cid])[]) => node('directory', links),
    list: async (root: Cid) => {
      const reader = {
        getNode: async (cid: Cid) => blocks.get(cid),
        holdLinks: () => createLinkRoom().open(),
      };
      const paths: string[] = [];
      for await (const { path, linkTo } of tarEntries(readCid(root), 'root', reader))
        paths.push(linkTo === '' ? path : `${path} -> ${linkTo}`);
      return paths;
    },
  };
}

describe('the entries of a TAR', () => {
  it('are a directory, then what is in it', async () => {
    const { file, symlink, directory, list } = memory();
    const sub = directory(['x', file], ['up', symlink('../a')]);
    const root = directory(['a', file], ['b', sub], ['c', directory()]);
    expect(await list(root)).toEqual([
      'root',
      'root/a',
      'root/b',
      'root/b/up -> ../a',
      'root/b/x',
      'root/c',
    ]);
    expect(await list(file)).toEqual(['root']);
  });

  it.each(['/etc/passwd', '..', '../../x', 'a/../../x'])('have no symlink to %s', async (to) => {
    const { symlink, directory, list } = memory();
    await expect(list(directory(['s', symlink(to)]))).rejects.toThrow(LinkLeadsOut);
  });

  it.each([
    '../x',
    '..',
    '.',
    '',
    '/',
    '../../root2/x',
    'a/../..',
    'x/../../rootless',
    'n\0l/../x',
  ])('have no name %j', async (name) => {
    const { file, directory, list } = memory();
    await expect(list(directory([name, file]))).rejects.toThrow(LinkLeadsOut);
  });

  it('resolve names that stay inside, but for those of a folder above, and beside symlinks', async () => {
    const { file, symlink, directory, list } = memory();
    const inside = directory(['f', directory(['../file', file], ['a/b', file])]);
    expect(await list(inside)).toEqual(['root', 'root/f', 'root/file', 'root/f/a/b']);
    const above = directory(['f', directory(['g', directory(['..', file])])]);
    await expect(list(above)).rejects.toThrow(LinkLeadsOut);
    // `s` leads to its own folder, so that `s/t` would lie a level higher than it says.
    const both = directory(['s', symlink('.')], ['s/t', symlink('..')]);
    await expect(list(both)).rejects.toThrow(LinkLeadsOut);
    const turned = directory(['s/t', file], ['u', symlink('s')]);
    await expect(list(turned)).rejects.toThrow(LinkLeadsOut);
  });

  it('are refused where a TAR can’t say what there is', async () => {
    const { file, plain: other, symlink, directory, list } = memory();
    await expect(list(other())).rejects.toThrow(FormatUnsupported);
    await expect(list(directory(['p', other()]))).rejects.toThrow(FormatUnsupported);
    const bytes = symlink(Buffer.from([0xff, 0xfe]));
    await expect(list(directory(['s', bytes]))).rejects.toThrow(ManifestInvalid);
    let deep = directory(['f', file]);
    for (let depth = 0; depth < 40; depth += 1) deep = directory(['n'.repeat(250), deep]);
    await expect(list(deep)).rejects.toThrow(/more than 8192 bytes/);
  });
});
