/** TARs of the path gateway (specs.ipfs.tech/http-gateways/path-gateway). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import { seededBytes } from '@shoal/testkit';
import { Parser } from 'tar/parse';
import { type Answer, ask, type Ask } from './ask.ts';
import { fileNode, makeCar, makeDirectory, rawLeaf } from './make-dag.ts';
import { ABSENT, DOORS, HELLO, IMMUTABLE, openRig, type Rig } from './rig.ts';

const TAR = 'application/x-tar';
const UTF8 = 'path_gateway_tar_fixtures';
const INSIDE = 'path_gateway_tar_inside-root';
const OUTSIDE = 'path_gateway_tar_outside-root';
const MIXED = 'path_gateway_unixfs_dir-with-files';
const SHARDED = 'trustless_gateway_car_single-layer-hamt-with-multi-block-files';
const SYMLINK = 'path_gateway_unixfs_symlink';
const INCOMPLETE = 'trustless_gateway_car_file-3k-and-3-blocks-missing-block';
const UTF8_FILE = ['ą', 'ę', 'file-źł.txt'] as const;

interface Unpacked {
  readonly path: string;
  readonly type: string;
  readonly text: string;
}

/** What another program finds in a TAR. @throws Error for one that is not whole. */
async function unpack({ body }: Answer): Promise<Unpacked[]> {
  const found: Unpacked[] = [];
  const parser = new Parser({ strict: true });
  parser.on('entry', (entry) => {
    const pieces: Buffer[] = [];
    entry.on('data', (piece: Buffer) => pieces.push(piece));
    entry.on('end', () => {
      const { path, type, linkpath = '' } = entry;
      found.push({ path, type, text: `${linkpath}${Buffer.concat(pieces).toString('latin1')}` });
    });
  });
  const done = new Promise((resolve, reject) => parser.on('end', resolve).on('error', reject));
  parser.end(body);
  await done;
  return found;
}

describe('path gateway: TARs', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await openRig([UTF8, INSIDE, OUTSIDE, MIXED, SHARDED, SYMLINK, INCOMPLETE]);
  });
  afterAll(async () => rig[Symbol.asyncDispose]());

  for (const door of DOORS)
    describe(`asked of ${door}`, () => {
      const get = (path: string, options?: Ask) => ask(rig.originOf(door), path, options);

      it('M: a file, by ?format and by Accept, under its CID', async () => {
        const utf8 = rig.fixture(UTF8);
        const cid = utf8.cidOf(...UTF8_FILE);
        const byFormat = await get(`/ipfs/${cid}?format=tar`);
        const byAccept = await get(`/ipfs/${cid}`, { headers: { accept: TAR } });
        for (const answer of [byFormat, byAccept]) {
          expect([answer.status, answer.isWhole]).toEqual([200, true]);
          expect(answer.headers).toMatchObject({
            'content-type': TAR,
            'content-disposition': `attachment; filename="${cid}.tar"`,
            etag: `W/"${cid}.x-tar"`,
            'cache-control': IMMUTABLE,
            'x-content-type-options': 'nosniff',
            'x-ipfs-path': `/ipfs/${cid}`,
            'x-ipfs-roots': cid,
          });
          const text = utf8.fileOf(...UTF8_FILE).toString('latin1');
          expect(await unpack(answer)).toEqual([{ path: cid, type: 'File', text }]);
        }
        expect(byAccept.headers['content-location']).toBe(`/ipfs/${cid}?format=tar`);
        expect(byFormat.headers['content-location']).toBeUndefined();
        expect(byFormat.body).toEqual(byAccept.body);
      });

      it('M: a directory, under one root; below a path, under the last part of it', async () => {
        const utf8 = rig.fixture(UTF8);
        const { root } = utf8;
        const text = utf8.fileOf(...UTF8_FILE).toString('latin1');
        const all = await unpack(await get(`/ipfs/${root}?format=tar`));
        expect(all[0]).toEqual({ path: root, type: 'Directory', text: '' });
        expect(all).toContainEqual({ path: `${root}/${UTF8_FILE.join('/')}`, type: 'File', text });
        expect(all.every(({ path }) => path === root || path.startsWith(`${root}/`))).toBe(true);
        const below = await get(
          `/ipfs/${root}/${UTF8_FILE.map(encodeURIComponent).join('/')}?format=tar`,
        );
        expect(await unpack(below)).toEqual([{ path: UTF8_FILE[2], type: 'File', text }]);
      });

      it('S: ?filename names the download and not what is in it', async () => {
        const { root } = rig.fixture(UTF8);
        const name = encodeURIComponent('testтест.tar');
        const answer = await get(`/ipfs/${root}?filename=${name}&format=tar`);
        expect(answer.headers['content-disposition']).toBe(
          `attachment; filename="test____.tar"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.tar`,
        );
        expect((await unpack(answer))[0]?.path).toBe(root);
      });

      it('C: names that stay inside of the root are resolved, those that lead out are refused', async () => {
        const inside = rig.fixture(INSIDE).root;
        const found = await unpack(await get(`/ipfs/${inside}?format=tar`));
        expect(found.map(({ path }) => path)).toContain(`${inside}/foobar/file`);
        const outside = await get(`/ipfs/${rig.fixture(OUTSIDE).root}?format=tar`);
        expect([outside.status, String(outside.body)]).toEqual([
          422,
          expect.stringContaining('leads out of the root'),
        ]);
      });

      it('S: dag-pb files of many blocks, sharded directories and symlinks', async () => {
        const mixed = rig.fixture(MIXED);
        const files = await unpack(await get(`/ipfs/${mixed.root}?format=tar`));
        expect(files.slice(1)).toEqual(
          ['ascii-copy.txt', 'ascii.txt', 'hello.txt', 'multiblock.txt'].map((name) => ({
            path: `${mixed.root}/${name}`,
            type: 'File',
            text: mixed.fileOf(name).toString('latin1'),
          })),
        );
        const sharded = rig.fixture(SHARDED);
        const many = await unpack(
          await get(`/ipfs/${sharded.root}?format=tar`, { timeoutMs: 30_000 }),
        );
        expect(many).toHaveLength(1001);
        const text = sharded.fileOf('1.txt').toString('latin1');
        expect(new Set(many.slice(1).map((entry) => entry.text))).toEqual(new Set([text]));
        const links = rig.fixture(SYMLINK).root;
        expect(await unpack(await get(`/ipfs/${links}?format=tar`))).toContainEqual({
          path: `${links}/bar`,
          type: 'SymbolicLink',
          text: 'foo',
        });
      });

      it('C: an identity CID', async () => {
        expect(await unpack(await get(`/ipfs/${HELLO.cid}?format=tar`))).toEqual([
          { path: HELLO.cid, type: 'File', text: HELLO.bytes },
        ]);
      });

      it('M: HEAD says the same without a body, and If-None-Match is 304', async () => {
        const { root } = rig.fixture(MIXED);
        const head = await get(`/ipfs/${root}?format=tar`, { method: 'HEAD' });
        const whole = await get(`/ipfs/${root}?format=tar`);
        const said = ({ headers }: Answer) => ({ ...headers, date: '', 'transfer-encoding': '' });
        expect([head.status, head.body.length, said(head)]).toEqual([200, 0, said(whole)]);
        for (const etag of [`W/"${root}.x-tar"`, `"${root}.x-tar"`, '*']) {
          const again = await get(`/ipfs/${root}?format=tar`, {
            headers: { 'if-none-match': etag },
          });
          expect([again.status, again.body.length]).toEqual([304, 0]);
        }
        const other = { headers: { 'if-none-match': `"${root}"` } };
        expect((await get(`/ipfs/${root}?format=tar`, other)).status).toBe(200);
      });

      it('M: nobody has it: 404, not a TAR', async () => {
        for (const method of ['GET', 'HEAD'])
          expect((await get(`/ipfs/${ABSENT}?format=tar`, { method })).status).toBe(404);
        const { root } = rig.fixture(MIXED);
        expect((await get(`/ipfs/${root}/nothing?format=tar`)).status).toBe(404);
      });

      it('M: a block that is missing breaks the connection', async () => {
        const { root } = rig.fixture(INCOMPLETE);
        const answer = await get(`/ipfs/${root}?format=tar`, { timeoutMs: 30_000 });
        expect([answer.status, answer.isWhole]).toEqual([200, false]);
      });
    });

  it('C: files that fill no block, one or many, between each other’s padding', async () => {
    const sizes = [0, 1, 511, 512, 513, MiB - 1, MiB];
    const leaves = sizes.map((size) => rawLeaf(seededBytes(`tar ${size}`, size)));
    const parts = [0, 1, 2].map((part) => rawLeaf(seededBytes(`tar part ${part}`, MiB)));
    const large = fileNode(new Uint8Array(), parts);
    const children = [...leaves, large].map((child, index) => ({ name: `f${index}`, child }));
    const directory = makeDirectory(children);
    const car = await makeCar(directory.cid, [directory, ...leaves, large, ...parts]);
    expect((await rig.importCar(car)).status).toBe(201);
    for (const door of DOORS) {
      const answer = await ask(rig.originOf(door), `/ipfs/${directory.cid.toString()}?format=tar`);
      expect(answer.body.length % 512).toBe(0);
      const texts = (await unpack(answer)).slice(1).map(({ text }) => Buffer.from(text, 'latin1'));
      const wanted = [
        ...leaves.map(({ bytes }) => bytes),
        Buffer.concat(parts.map(({ bytes }) => bytes)),
      ];
      expect(texts.map((text, index) => text.equals(wanted[index] ?? text.subarray(1)))).toEqual(
        wanted.map(() => true),
      );
    }
  });
});
