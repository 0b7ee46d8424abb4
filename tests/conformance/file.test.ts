/** Files through the path gateway: of any layout, whole and in ranges, with blocks missing and peers dead. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import { eventually, seededBytes } from '@shoal/testkit';
import { ANSWER_TIMEOUT_MS, type Answer, type Ask, ask } from './ask.ts';
import type { Fixture } from '../fixtures/fixture.ts';
import { fileNode, makeCar, rawLeaf } from './make-dag.ts';
import { type Door, DOORS, HEAD_SIZE_MAX_BYTES, type Rig, openRig } from './rig.ts';

const FILES = 'path_gateway_unixfs_dir-with-files';
const INCOMPLETE = 'trustless_gateway_car_file-3k-and-3-blocks-missing-block';

describe('path gateway: files', () => {
  let rig: Rig;
  let files: Fixture;
  beforeAll(async () => {
    rig = await openRig([FILES, INCOMPLETE]);
    files = rig.fixture(FILES);
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  describe.each(DOORS)('at %s', (door) => {
    const get = (path: string, headers: Record<string, string> = {}, options: Ask = {}) =>
      ask(rig.originOf(door), path, { ...options, headers });
    const ascii = (): string => `/ipfs/${files.root}/ascii.txt`;

    it('M: a file’s path gives its bytes, of one block and of several', async () => {
      for (const name of ['ascii.txt', 'multiblock.txt']) {
        const { status, headers, body } = await get(`/ipfs/${files.root}/${name}`);
        const wanted = files.fileOf(name);
        expect([name, status]).toEqual([name, 200]);
        expect(headers['content-length']).toBe(String(wanted.length));
        expect(body.equals(wanted)).toBe(true);
      }
    });

    it('M: a file’s own CID gives its bytes, without a path', async () => {
      const { status, body } = await get(`/ipfs/${files.cidOf('multiblock.txt')}`);
      expect(status).toBe(200);
      expect(body.equals(files.fileOf('multiblock.txt'))).toBe(true);
    });

    it('M: HEAD of a file is its headers without a body', async () => {
      const head = await get(ascii(), {}, { method: 'HEAD' });
      expect(head).toMatchObject({ status: 200, body: Buffer.alloc(0) });
      expect(head.headers['content-length']).toBe('31');
      expect(head.headers.etag).toBe(`"${files.cidOf('ascii.txt')}"`);
    });

    it.each([
      ['bytes=6-16', 6, 17],
      ['bytes=-3', 28, 31],
      ['bytes=28-', 28, 31],
      ['bytes=30-99', 30, 31],
    ])('S: Range: %s is 206 with those bytes', async (range, from, to) => {
      const { status, headers, body } = await get(ascii(), { range });
      expect(status).toBe(206);
      expect(headers['content-range']).toBe(`bytes ${from}-${to - 1}/31`);
      expect(headers['content-length']).toBe(String(to - from));
      expect(headers['content-type']).toMatch(/^text\/plain/);
      expect(body.equals(files.fileOf('ascii.txt').subarray(from, to))).toBe(true);
    });

    it('C: Accept-Ranges is bytes, and a range across leaves is exact', async () => {
      const path = `/ipfs/${files.root}/multiblock.txt`;
      expect((await get(path)).headers['accept-ranges']).toBe('bytes');
      const { body } = await get(path, { range: 'bytes=200-800' });
      expect(body.equals(files.fileOf('multiblock.txt').subarray(200, 801))).toBe(true);
    });

    it('S: of several ranges comes the first', async () => {
      const { status, headers, body } = await get(ascii(), { range: 'bytes=6-16,0-4' });
      const bytes = files.fileOf('ascii.txt');
      expect([status, headers['content-range']]).toEqual([206, 'bytes 6-16/31']);
      expect(body.equals(bytes.subarray(6, 17))).toBe(true);
    });

    it('C: a range past the end is 416 and says the size', async () => {
      const { status, headers } = await get(ascii(), { range: 'bytes=31-' });
      expect([status, headers['content-range']]).toEqual([416, 'bytes */31']);
    });

    it('M: HEAD has no ranges, and conditions hold wherever there is an ETag', async () => {
      const file = `/ipfs/${files.cidOf('ascii.txt')}`;
      for (const path of [
        ascii(),
        file,
        `${file}?format=raw`,
        `${file}?format=car`,
        `/ipfs/${files.root}/`,
      ]) {
        const head = (headers: Record<string, string> = {}) =>
          get(path, headers, { method: 'HEAD' });
        const { etag = '' } = (await head()).headers;
        const statuses = [
          await head({ range: 'bytes=0-1' }),
          await head({ range: 'bytes=9999999-' }),
          await head({ 'if-match': etag }),
          await get(path, { 'if-match': '"other"' }),
          await get(path, { 'if-match': `W/${etag}` }),
          await head({ 'if-match': '"other"', 'if-none-match': etag }),
          await get(path, { 'if-match': etag, 'if-none-match': etag, range: 'bytes=0-1' }),
        ].map(({ status }) => status);
        expect([path, ...statuses]).toEqual([path, 200, 200, 200, 412, 412, 412, 304]);
      }
    });

    it('S: If-Range with another ETag is the whole file', async () => {
      const { status } = await get(ascii(), { range: 'bytes=0-0', 'if-range': '"other"' });
      expect(status).toBe(200);
      const etag = `"${files.cidOf('ascii.txt')}"`;
      expect((await get(ascii(), { range: 'bytes=0-0', 'if-range': etag })).status).toBe(206);
    });

    it('C: a range is served though a block before it, or after it, is missing', async () => {
      const incomplete = rig.fixture(INCOMPLETE);
      const first = incomplete.blocks[1]?.bytes ?? new Uint8Array();
      const last = incomplete.blocks[2]?.bytes ?? new Uint8Array();
      for (const [range, block, from] of [
        ['997-1000', first, 997],
        ['2200-2201', last, 152],
      ] as const) {
        const { status, headers, body } = await get(`/ipfs/${incomplete.root}`, {
          range: `bytes=${range}`,
        });
        expect([range, status]).toEqual([range, 206]);
        expect(headers['content-range']).toBe(`bytes ${range}/3072`);
        // In the encoded leaf the bytes of file stand behind 8 of protobuf, or a few more or less.
        expect(Buffer.from(block).indexOf(body)).toBeGreaterThanOrEqual(from);
      }
    });

    it('M: a file with a missing block is 404 or breaks off, with no wrong byte, within 10 s', async () => {
      const incomplete = rig.fixture(INCOMPLETE);
      const first = Buffer.from(incomplete.blocks[1]?.bytes ?? []);
      const whole = await get(`/ipfs/${incomplete.root}`);
      expect(whole.tookMs).toBeLessThan(ANSWER_TIMEOUT_MS);
      expect(outcomeOf(whole)).toMatch(/^(broken 200|404)$/);
      const missing = await get(`/ipfs/${incomplete.root}`, { range: 'bytes=1500-1501' });
      expect(outcomeOf(missing)).toMatch(/^(broken 206|404)$/);
      const given = whole.status === 200 ? whole.body : Buffer.alloc(0);
      expect(first.includes(given)).toBe(true);
    });

    it('M: download=true is an attachment, filename= is the name', async () => {
      const plain = await get(`${ascii()}?filename=named.txt`);
      expect(plain.headers['content-disposition']).toBe('inline; filename="named.txt"');
      const attached = await get(`${ascii()}?filename=named.txt&download=true`);
      expect(attached.headers['content-disposition']).toBe('attachment; filename="named.txt"');
      const bare = await get(`${ascii()}?download=true`);
      expect(bare.headers['content-disposition']).toMatch(/^attachment/);
    });

    it('M: a name that is not ASCII comes as a copy with _ and in UTF-8', async () => {
      const name = encodeURIComponent('größe.txt');
      const { headers } = await get(`${ascii()}?filename=${name}`);
      expect(headers['content-disposition']).toBe(
        `inline; filename="gr__e.txt"; filename*=UTF-8''${name}`,
      );
    });

    it('S: the content type follows the name, that of ?filename= too', async () => {
      expect((await get(ascii())).headers['content-type']).toMatch(/^text\/plain/);
      const { headers } = await get(`${ascii()}?filename=picture.png`);
      expect(headers['content-type']).toBe('image/png');
    });

    it('S: bytes alone never make a page', async () => {
      const page = Buffer.from('<!doctype html><html><script>alert(1)</script></html>');
      expect((await rig.importBlock(page)).status).toBe(201);
      const { status, headers } = await get(`/ipfs/${rawLeaf(page).cid.toString()}`);
      expect(status).toBe(200);
      expect(headers['content-type']).not.toMatch(/html|xml|svg/);
      expect(headers['x-content-type-options']).toBe('nosniff');
    });

    it('C: any layout of a file is read: mixed depths, bytes in nodes, dag-pb and raw leaves', async () => {
      const piece = (index: number) => seededBytes(`trickle ${index}`, 300 + index);
      const deep = fileNode(piece(4), [rawLeaf(piece(5)), fileNode(piece(6))]);
      const middle = fileNode(Buffer.alloc(0), [fileNode(piece(2)), rawLeaf(piece(3)), deep]);
      const root = fileNode(piece(0), [rawLeaf(piece(1)), middle, rawLeaf(piece(7))]);
      const blocks = [root, rawLeaf(piece(1)), middle, fileNode(piece(2)), rawLeaf(piece(3))];
      const rest = [deep, rawLeaf(piece(5)), fileNode(piece(6)), rawLeaf(piece(7))];
      const car = await makeCar(root.cid, [...blocks, ...rest]);
      expect((await rig.importCar(car)).status).toBe(201);
      const bytes = Buffer.concat([0, 1, 2, 3, 4, 5, 6, 7].map(piece));
      const path = `/ipfs/${root.cid.toString()}`;
      const whole = await get(path);
      expect([whole.status, whole.headers['content-length']]).toEqual([200, String(bytes.length)]);
      expect(whole.body.equals(bytes)).toBe(true);
      for (const [from, to] of [
        [0, 1],
        [250, 650],
        [1400, 2300],
        [bytes.length - 1, bytes.length],
      ] as const) {
        const { body } = await get(path, { range: `bytes=${from}-${to - 1}` });
        expect(body.equals(bytes.subarray(from, to))).toBe(true);
      }
    });
  });

  describe('what an answer says of the file', () => {
    const file = { name: 'described.bin', seed: 'described', sizeBytes: 2 * MiB + 1 };
    const bytes = seededBytes(file.seed, file.sizeBytes);
    const digest = `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
    let cid: string;
    beforeAll(async () => {
      const { reply } = await rig.upload(file);
      ({ cid } = reply);
    });
    const describedAt = (door: Door, headers: Record<string, string> = {}): Promise<Answer> =>
      ask(rig.originOf(door), `/files/${cid}`, { method: 'HEAD', headers });

    it.each(DOORS)('S: Repr-Digest is its sha-256, at %s', async (door) => {
      expect((await describedAt(door)).headers['repr-digest']).toBe(digest);
      const part = { headers: { range: 'bytes=0-0' } };
      const { headers } = await ask(rig.originOf(door), `/files/${cid}`, part);
      expect(headers['repr-digest']).toBe(digest);
    });

    it.each(DOORS)('S: Want-Repr-Digest is heeded, at %s', async (door) => {
      const wanting = async (value: string) =>
        (await describedAt(door, { 'want-repr-digest': value })).headers['repr-digest'];
      expect(await wanting('sha-256=10, sha-512=3')).toBe(digest);
      expect(await wanting('sha-256=0')).toBeUndefined();
    });

    it('S: an upload whose Repr-Digest is another’s is refused', async () => {
      const post = (value: string, body: Uint8Array) =>
        ask(rig.importer.gateway, '/files?name=digest.bin&replicas=1&copies=1', {
          method: 'POST',
          headers: { 'content-type': 'application/octet-stream', 'repr-digest': value },
          body,
        });
      // The same bytes, so the same file: the suite deletes it already.
      expect((await post(digest, bytes)).status).toBe(201);
      expect((await post(digest, bytes.subarray(1))).status).toBe(400);
    });

    it.each(DOORS)(
      'C: Link names the torrent, the Metalink and other peers, at %s',
      async (door) => {
        // On a busy machine a peer may be under suspicion for a moment: then it is left out.
        const links = await eventually('both others are named', async () => {
          const { headers, headSizeBytes } = await describedAt(door);
          expect(headSizeBytes).toBeLessThan(HEAD_SIZE_MAX_BYTES);
          const named = String(headers['link']).split(/,\s*(?=<)/);
          return named.filter((link) => link.includes('duplicate')).length === 2 && named;
        });
        for (const [relation, type, count] of [
          ['describedby', 'application/x-bittorrent', 1],
          ['describedby', 'application/metalink4+xml', 1],
          ['duplicate', '', 2],
        ] as const) {
          const found = links.filter((link) => link.includes(relation) && link.includes(type));
          expect([relation, type, found.length]).toEqual([relation, type, count]);
          for (const link of found) {
            const url = new URL(
              /<([^>]+)>/.exec(link)?.[1] ?? '',
              `${rig.originOf(door)}/files/${cid}`,
            );
            const answer = await ask(url.origin, url.pathname, { method: 'HEAD' });
            expect([link, answer.status]).toEqual([link, 200]);
            expect(answer.headers['content-type']).toMatch(type);
          }
        }
      },
    );
  });
});

const outcomeOf = ({ status, isWhole }: Answer): string =>
  isWhole ? String(status) : `broken ${status}`;
