import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import {
  type Attributes,
  buildDirectory,
  buildSymlink,
  createDagBuilder,
  hashBlock,
  parseCid,
} from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import { createNode, encode } from '@ipld/dag-pb';
import { UnixFS } from 'ipfs-unixfs';
import { request } from 'undici';
import { BEARER, form, lines, open, part, ROOT, rpc } from './kubo-stand.ts';

/** A transfer that gives blocks from memory, as `?format=raw`. */
function memory() {
  const blocks = new Map<string, Uint8Array>();
  const asked: string[] = [];
  const add = ({ cid, bytes }: { readonly cid: Cid; readonly bytes: Uint8Array }) => {
    blocks.set(cid, bytes);
    return cid;
  };
  const transfer: RequestListener = (incoming, outgoing) => {
    const url = new URL(String(incoming.url), 'http://x');
    asked.push(`${incoming.headers['cache-control'] ?? ''}${url.search}`);
    const bytes = blocks.get(url.pathname.slice('/ipfs/'.length));
    if (bytes === undefined)
      outgoing.writeHead(404, { 'content-type': 'text/plain' }).end('absent');
    else outgoing.end(bytes);
  };
  const raw = (text: string) => {
    const bytes = Buffer.from(text);
    return { cid: add({ cid: hashBlock('raw', bytes), bytes }), treeSizeBytes: bytes.length };
  };
  const directory = async (
    entries: readonly { name: string; cid: Cid; treeSizeBytes: number }[],
    attributes?: Attributes,
  ) => {
    const { cid, nodes, treeSizeBytes } = await buildDirectory(entries, attributes);
    for (const node of nodes) add(node);
    return { cid, treeSizeBytes };
  };
  return { asked, add, blocks, transfer, raw, directory };
}

const plain = { Target: '', Mode: 0, ModTime: '0001-01-01T00:00:00Z' };

describe('ls', () => {
  it('tells what a directory holds, by name, with kinds and sizes of what each is', async () => {
    const { add, transfer, raw, directory } = memory();
    const text = raw('some text');
    const mtime = { secs: 1_700_000_000n, nsecs: 5 };
    const sub = await directory([{ name: 'x', ...text }], { mode: 0o1700, mtime });
    const link = add(buildSymlink(Buffer.from('b.txt')));
    const builder = createDagBuilder();
    for (const cid of [text.cid, text.cid]) builder.addLeaf({ cid, sizeBytes: 9 });
    const large = builder.finish();
    for (const node of large.nodes) add(node);
    const root = await directory([
      { name: 'sub', ...sub },
      { name: 'b.txt', ...text },
      { name: 'link', cid: link, treeSizeBytes: 12 },
      { name: 'large', cid: large.root, treeSizeBytes: large.treeSizeBytes },
    ]);
    await using gateway = await open({ transfer });
    const query = 'encoding=json&stream-channels=true&resolve-type=true&size=true';
    const answer = await rpc(
      gateway.origin,
      `ls?arg=${root.cid}&arg=/ipfs/${root.cid}/sub&${query}`,
    );
    expect([answer.status, answer.headers['x-chunked-output']]).toEqual([200, '1']);
    const ofSub = { ...plain, Name: 'x', Hash: text.cid, Size: 9, Type: 2 };
    const links = [
      { ...plain, Name: 'b.txt', Hash: text.cid, Size: 9, Type: 2 },
      { ...plain, Name: 'large', Hash: large.root, Size: 18, Type: 2 },
      { ...plain, Name: 'link', Hash: link, Size: 5, Type: 4, Target: 'b.txt' },
      {
        ...plain,
        Name: 'sub',
        Hash: sub.cid,
        Size: 0,
        Type: 1,
        Mode: 2 ** 31 + 2 ** 20 + 0o700,
        ModTime: '2023-11-14T22:13:20.000000005Z',
      },
    ];
    expect(JSON.parse(answer.text)).toEqual({
      Objects: [
        { Hash: root.cid, Links: links },
        { Hash: `/ipfs/${root.cid}/sub`, Links: [ofSub] },
      ],
    });
    const stream = await rpc(gateway.origin, `ls?arg=${root.cid}&stream=true&${query}`);
    expect(lines(stream.text)).toEqual(
      links.map((one) => ({ Objects: [{ Hash: root.cid, Links: [one] }] })),
    );
    const unread = await rpc(gateway.origin, `ls?arg=${root.cid}&resolve-type=false&size=false`);
    const [object] = (JSON.parse(unread.text) as { Objects: { Links: { Type: number }[] }[] })
      .Objects;
    expect(object?.Links.map(({ Type }) => Type)).toEqual([2, 0, 0, 0]);
  });

  it('lists the parts of a file, and nothing of a raw block', async () => {
    const { add, transfer, raw } = memory();
    const text = raw('some text');
    const builder = createDagBuilder();
    for (const cid of [text.cid, text.cid]) builder.addLeaf({ cid, sizeBytes: 9 });
    const { root, nodes } = builder.finish();
    for (const node of nodes) add(node);
    await using gateway = await open({ transfer });
    const body = form(part('stdin', `${root}\n${text.cid}\n`));
    const answer = await rpc(gateway.origin, 'ls', { body });
    const leaf = { ...plain, Name: '', Hash: text.cid, Size: 9, Type: 2 };
    expect(JSON.parse(answer.text)).toEqual({
      Objects: [
        { Hash: root, Links: [leaf, leaf] },
        { Hash: text.cid, Links: [] },
      ],
    });
  });

  it('gives every entry of a large sharded directory, sorted as long as memory may hold them', async () => {
    const { transfer, raw, directory } = memory();
    const text = raw('x');
    const names = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ name: `file ${index}`, ...text }));
    const some = await directory(names(4000));
    const many = await directory(names(8500));
    await using gateway = await open({ transfer });
    const namesOf = async (cid: Cid) => {
      const { text: json } = await rpc(gateway.origin, `ls?arg=${cid}`);
      const { Objects } = JSON.parse(json) as { Objects: { Links: { Name: string }[] }[] };
      return (Objects[0]?.Links ?? []).map(({ Name }) => Name);
    };
    expect(await namesOf(some.cid)).toEqual(
      names(4000)
        .map(({ name }) => name)
        .toSorted(),
    );
    expect((await namesOf(many.cid)).toSorted()).toEqual(
      names(8500)
        .map(({ name }) => name)
        .toSorted(),
    );
  });

  it('keeps version 0 of CIDs in directories of others, and asks nobody else when offline', async () => {
    const { asked, add, transfer, raw } = memory();
    const inner = buildSymlink(Buffer.from('a'));
    const text = raw('x');
    const v0 = parseCid(add(inner)).toV0();
    const bytes = encode(
      createNode(new UnixFS({ type: 'directory' }).marshal(), [
        { Name: 'old', Hash: v0, Tsize: 5 },
        {
          Name: 'odd',
          Hash: parseCid('bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'),
          Tsize: 5,
        },
        { Name: 'raw', Hash: parseCid(text.cid), Tsize: 1 },
      ]),
    );
    const root = add({ cid: hashBlock('dag-pb', bytes), bytes });
    await using gateway = await open({ transfer });
    const listed = async (query: string) => {
      const { text: json } = await rpc(gateway.origin, `ls?arg=${root}${query}`);
      const { Objects } = JSON.parse(json) as { Objects: { Links: Record<string, unknown>[] }[] };
      return Objects[0]?.Links.map(({ Name, Hash, Type }) => [Name, Hash, Type]);
    };
    const odd = ['odd', 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy', 0];
    const rest = [odd, ['raw', text.cid, 2]];
    expect(await listed('&offline=true')).toEqual([
      ...rest.slice(0, 1),
      ['old', v0.toString(), 4],
      rest[1],
    ]);
    expect(new Set(asked)).toEqual(new Set(['only-if-cached?format=raw']));
    expect(await listed('&cid-base=base32')).toContainEqual(['old', inner.cid, 4]);
  });

  it('says what is absent before it answers, and breaks off when that comes to light later', async () => {
    const { blocks, transfer, raw, directory } = memory();
    const text = raw('x');
    const sub = await directory([{ name: 'x', ...text }]);
    const root = await directory([{ name: 'sub', ...sub }]);
    blocks.delete(sub.cid);
    await using gateway = await open({ transfer });
    for (const [query, message] of [
      [`ls?arg=${root.cid}`, 'absent'],
      [`ls?arg=${root.cid}/nothing`, 'nothing'],
      [`ls?arg=${ROOT}x`, ''],
      ['ls', 'ipfs-path'],
      [`ls?arg=${root.cid}&cid-base=base36`, 'base36'],
    ] as const) {
      const { status, text: json } = await rpc(gateway.origin, query);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(JSON.parse(json)).toMatchObject({ Message: expect.stringContaining(message) });
    }
    await expect(rpc(gateway.origin, `ls?arg=${text.cid}&arg=${root.cid}`)).rejects.toThrow(
      /other side closed/,
    );
  });
});

describe('get', () => {
  const bytes = createHash('sha512').update('bytes').digest();
  const transfer =
    (asked: string[]): RequestListener =>
    (incoming, outgoing) => {
      asked.push(String(incoming.url));
      const path = String(incoming.url);
      if (path.includes('/link'))
        outgoing.writeHead(200, { 'content-type': 'inode/symlink' }).end('target');
      else if (path.endsWith('/dir')) outgoing.writeHead(301, { location: `${path}/` }).end();
      else if (path.includes('/absent')) outgoing.writeHead(404).end('no link named "absent"');
      else if (path.includes('/broken')) {
        outgoing.writeHead(200, { 'content-length': '1000' });
        outgoing.write(bytes, () => outgoing.destroy());
      } else outgoing.end(bytes);
    };
  const get = async (origin: string, query: string) => {
    const answer = await request(`${origin}/api/v0/get?${query}`, {
      method: 'POST',
      headers: BEARER,
    });
    const { statusCode: status, headers } = answer;
    return { status, headers, body: Buffer.from(await answer.body.arrayBuffer()) };
  };

  it('gives a TAR, packed or not kept as one, and gzipped what is asked for gzipped', async () => {
    const asked: string[] = [];
    await using gateway = await open({ transfer: transfer(asked) });
    const always = 'encoding=json&stream-channels=true&progress=true';
    const tar = await get(gateway.origin, `arg=/ipfs/${ROOT}/a%20b&output=here&${always}`);
    expect([tar.status, tar.headers['content-type'], tar.body]).toEqual([
      200,
      'application/x-tar',
      bytes,
    ]);
    expect(tar.headers['x-stream-output']).toBe('1');
    expect((await get(gateway.origin, `arg=${ROOT}&archive=true`)).body).toEqual(bytes);
    for (const query of ['compress=true&archive=true', 'compress=true&compression-level=9']) {
      const gzip = await get(gateway.origin, `arg=${ROOT}&${query}`);
      expect(gzip.headers['content-type']).toBe('application/gzip');
      expect(gunzipSync(gzip.body)).toEqual(bytes);
    }
    expect(asked).toEqual([
      `/ipfs/${ROOT}/a%20b?format=tar`,
      `/ipfs/${ROOT}?format=tar`,
      `/ipfs/${ROOT}?format=tar`,
      `/ipfs/${ROOT}`,
    ]);
  });

  it('refuses what is absent, no path, or no file to gzip, in words; and breaks off with its source', async () => {
    await using gateway = await open({ transfer: transfer([]) });
    for (const [query, message] of [
      [`arg=${ROOT}/absent`, 'no link named "absent"'],
      [`arg=${ROOT}/dir&compress=true`, 'file is not regular'],
      [`arg=${ROOT}/link&compress=true`, 'file is not regular'],
      [`arg=${ROOT}&compress=true&compression-level=10`, 'between 1 and 9'],
      [`arg=${ROOT}&arg=${ROOT}`, 'one argument'],
      ['', 'ipfs-path'],
    ] as const) {
      const { status, body } = await get(gateway.origin, query);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(JSON.parse(String(body))).toMatchObject({ Message: expect.stringContaining(message) });
    }
    for (const query of [`arg=${ROOT}/broken`, `arg=${ROOT}/broken&compress=true`]) {
      // Words when no byte had gone on yet, else a broken connection: never a whole answer.
      const end = await get(gateway.origin, query).then(({ status }) => `${status}`, String);
      expect(end).toMatch(/^500$|terminated|other side closed/);
    }
  });
});
