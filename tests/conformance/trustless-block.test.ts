/** The block half of the trustless gateway (specs.ipfs.tech/http-gateways/trustless-gateway). */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BLOCK_SIZE_MAX_BYTES } from '@shoal/protocol';
import { eventually, type Peer, seededBytes } from '@shoal/testkit';
import { base16 } from 'multiformats/bases/base16';
import { base36 } from 'multiformats/bases/base36';
import { base58btc } from 'multiformats/bases/base58';
import { CID } from 'multiformats/cid';
import * as Digest from 'multiformats/hashes/digest';
import { type Ask, ask, type Answer } from './ask.ts';
import { FIXTURES, type Fixture, readFixture } from '../fixtures/fixture.ts';
import { makeCar, makeDirectory, rawLeaf } from './make-dag.ts';
import {
  ABSENT,
  ABSENT_V0,
  DOORS,
  HEAD_SIZE_MAX_BYTES,
  HELLO,
  IMMUTABLE,
  importCar,
  PROBE,
  RAW,
  type Rig,
  openRig,
} from './rig.ts';

const FIXTURE = 'gateway-raw-block';
const DAG_CBOR = 0x71;
const ACCEPTING = { headers: { accept: RAW } };
/** As many as one Kubo asks at once (its workers). */
const ASKED_AT_ONCE = 16;

const rawCidOf = (bytes: Uint8Array): string =>
  CID.createV1(0x55, Digest.create(0x12, createHash('sha256').update(bytes).digest())).toString();

describe('trustless gateway: blocks', () => {
  let rig: Rig;
  let fixture: Fixture;
  let file: string;
  let folder: string;
  beforeAll(async () => {
    rig = await openRig([FIXTURE, 'path_gateway_unixfs_symlink']);
    fixture = rig.fixture(FIXTURE);
    folder = fixture.cidOf('dir');
    file = fixture.cidOf('dir', 'ascii.txt');
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  describe.each(DOORS)('at %s', (door) => {
    const get = (path: string, options?: Ask): Promise<Answer> =>
      ask(rig.originOf(door), path, options);
    const getRaw = (cid: string, options: Ask = {}): Promise<Answer> =>
      get(`/ipfs/${cid}`, { ...options, headers: { accept: RAW, ...options.headers } });

    it('M: GET ?format=raw gives the block, of a node as of a leaf', async () => {
      for (const path of [[], ['dir'], ['dir', 'ascii.txt']]) {
        const answer = await get(`/ipfs/${fixture.cidOf(...path)}?format=raw`);
        expect(answer.status).toBe(200);
        expect(answer.body.equals(fixture.blockOf(...path))).toBe(true);
      }
    });

    it('M: GET with Accept: application/vnd.ipld.raw gives the block', async () => {
      const answer = await getRaw(folder);
      expect(answer.status).toBe(200);
      expect(answer.body.equals(fixture.blockOf('dir'))).toBe(true);
    });

    it('C: a block on a path is given too, with the way to it in X-Ipfs-Roots', async () => {
      const answer = await get(`/ipfs/${fixture.root}/dir/ascii.txt?format=raw`);
      expect(answer.status).toBe(200);
      expect(answer.body.equals(fixture.blockOf('dir', 'ascii.txt'))).toBe(true);
      expect(answer.headers['x-ipfs-path']).toBe(`/ipfs/${fixture.root}/dir/ascii.txt`);
      expect(answer.headers['x-ipfs-roots']).toBe([fixture.root, folder, file].join(','));
    });

    it('M: HEAD answers the same headers, and no body', async () => {
      const whole = await getRaw(file);
      const head = await getRaw(file, { method: 'HEAD' });
      expect(head).toMatchObject({ status: 200, body: Buffer.alloc(0) });
      const same = ['content-type', 'content-length', 'content-disposition', 'etag'];
      const more = ['cache-control', 'x-ipfs-path', 'x-ipfs-roots', 'x-content-type-options'];
      for (const name of [...same, ...more])
        expect([name, head.headers[name]]).toEqual([name, whole.headers[name]]);
    });

    it('M: Content-Type is application/vnd.ipld.raw; C: Content-Length is exact', async () => {
      const { headers } = await getRaw(file);
      expect(headers['content-type']).toBe(RAW);
      expect(headers['content-length']).toBe(String(fixture.blockOf('dir', 'ascii.txt').length));
    });

    it('M: Content-Disposition is an attachment named <cid>.bin, or as ?filename= says', async () => {
      const { headers } = await getRaw(file);
      expect(headers['content-disposition']).toBe(`attachment; filename="${file}.bin"`);
      const named = await getRaw(`${file}?filename=foobar.bin`);
      expect(named.headers['content-disposition']).toMatch(/^attachment; filename="foobar\.bin"/);
    });

    it('S: X-Content-Type-Options is nosniff', async () => {
      expect((await getRaw(file)).headers['x-content-type-options']).toBe('nosniff');
    });

    it('M: ETag is "<cid>.raw" and immutable caching is allowed', async () => {
      const { headers } = await getRaw(file);
      expect(headers.etag).toBe(`"${file}.raw"`);
      expect(headers['cache-control']).toBe(IMMUTABLE);
    });

    it.each([
      ['the same', (cid: string) => `"${cid}.raw"`],
      ['a weak one', (cid: string) => `W/"${cid}.raw"`],
      ['one of a list', (cid: string) => `"other", "${cid}.raw"`],
      ['any', () => '*'],
    ])('M: If-None-Match with %s is 304 without a body', async (_, etagOf) => {
      const answer = await getRaw(file, { headers: { 'if-none-match': etagOf(file) } });
      expect(answer).toMatchObject({ status: 304, body: Buffer.alloc(0) });
      expect(answer.headers.etag).toBe(`"${file}.raw"`);
    });

    it('M: If-None-Match with the ETag of another form of the answer is not 304', async () => {
      const answer = await getRaw(file, { headers: { 'if-none-match': `"${file}"` } });
      expect(answer.status).toBe(200);
    });

    it('C: X-Ipfs-Path and X-Ipfs-Roots are there', async () => {
      const { headers } = await getRaw(file);
      expect(headers['x-ipfs-path']).toBe(`/ipfs/${file}`);
      expect(headers['x-ipfs-roots']).toBe(file);
    });

    it('S: Content-Location names ?format=raw when Accept chose it', async () => {
      expect((await getRaw(file)).headers['content-location']).toBe(`/ipfs/${file}?format=raw`);
    });

    it('S: the format parameter beats Accept', async () => {
      const accept = { accept: 'application/vnd.ipld.car' };
      const answer = await get(`/ipfs/${file}?format=raw`, { headers: accept });
      expect(answer.headers['content-type']).toBe(RAW);
    });

    it('C: a range of a block is 206 with its first range, or 200 with all of it', async () => {
      const bytes = fixture.blockOf('dir');
      const first = {
        status: 206,
        range: `bytes 6-16/${bytes.length}`,
        body: Buffer.from(bytes.subarray(6, 17)),
      };
      const all = { status: 200, range: undefined, body: Buffer.from(bytes) };
      for (const range of ['bytes=6-16', 'bytes=6-16,0-4']) {
        const { status, headers, body } = await getRaw(folder, { headers: { range } });
        expect([first, all]).toContainEqual({ status, range: headers['content-range'], body });
      }
    });

    it('C: all headers together stay under 2 KiB, at their longest too', async () => {
      const asked = [
        await getRaw(file),
        await getRaw(file, { method: 'HEAD' }),
        await get(`/ipfs/${file}?format=raw`, { headers: { origin: 'https://app.example' } }),
        await get(`/ipfs/${fixture.root}/dir/ascii.txt?format=raw`),
        await getRaw(PROBE),
        await getRaw(ABSENT),
        await getRaw('not-a-cid'),
      ];
      for (const { headSizeBytes } of asked)
        expect(headSizeBytes).toBeLessThan(HEAD_SIZE_MAX_BYTES);
    });

    it('C: nor does a long way to the block take the headers over 2 KiB', async () => {
      const leaf = rawLeaf(Buffer.from('far down'));
      const name = 'long'.repeat(25);
      const way = [leaf];
      for (let depth = 0; depth < 20; depth += 1)
        way.unshift(makeDirectory([{ name, child: way[0] ?? leaf }]));
      const root = way[0]?.cid ?? leaf.cid;
      const car = await makeCar(root, way);
      expect((await rig.importCar(car)).status).toBe(201);
      const path = `/ipfs/${root.toString()}${`/${name}`.repeat(20)}`;
      for (const answer of [await get(`${path}?format=raw`), await get(path, ACCEPTING)]) {
        expect([answer.status, answer.body.toString()]).toEqual([200, 'far down']);
        expect(answer.headSizeBytes).toBeLessThan(HEAD_SIZE_MAX_BYTES);
      }
    });

    it('C: nor does a long name that is asked for', async () => {
      for (const name of ['a'.repeat(255), 'ß'.repeat(127), '魚'.repeat(85)]) {
        const query = `filename=${encodeURIComponent(name)}`;
        for (const way of [file, `${fixture.root}/dir/ascii.txt`])
          for (const answer of [
            await get(`/ipfs/${way}?format=raw&${query}`),
            await get(`/ipfs/${way}?${query}`, ACCEPTING),
          ]) {
            expect(answer.status).toBe(200);
            expect(answer.headSizeBytes).toBeLessThan(HEAD_SIZE_MAX_BYTES);
          }
      }
    });

    it('C: no block answer is a redirect, of a folder neither', async () => {
      for (const cid of [fixture.root, folder, file, PROBE, ABSENT])
        for (const method of ['GET', 'HEAD'])
          expect(Math.trunc((await getRaw(cid, { method })).status / 100)).not.toBe(3);
    });

    it.each(['GET', 'HEAD'])(
      'S: the probe %s bafkqaaa?format=raw is 200 and empty',
      async (method) => {
        const answer = await get(`/ipfs/${PROBE}?format=raw`, { method });
        expect(answer).toMatchObject({ status: 200, body: Buffer.alloc(0) });
        expect(answer.headers['content-length']).toBe('0');
        expect(answer.headers['content-type']).toBe(RAW);
      },
    );

    it('C: the block of an identity CID is what the CID holds', async () => {
      const answer = await getRaw(HELLO.cid);
      expect(answer.status).toBe(200);
      expect(answer.body.toString()).toBe(HELLO.bytes);
    });

    it('S: an identity CID of more than 128 bytes is refused', async () => {
      const long = Buffer.concat([Buffer.from([1, 0x55, 0, 0x81, 1]), Buffer.alloc(129, 0x61)]);
      const answer = await getRaw(`f${long.toString('hex')}`);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThanOrEqual(501);
    });

    it('C: a block answers to every spelling of its CID', async () => {
      const cid = CID.parse(folder);
      const spellings = [
        cid.toV0().toString(),
        cid.toString(base16),
        cid.toString(base36),
        cid.toString(base58btc),
        CID.createV1(0x55, cid.multihash).toString(),
      ];
      for (const spelling of spellings) {
        const answer = await getRaw(spelling);
        expect([spelling, answer.status]).toEqual([spelling, 200]);
        expect(answer.body.equals(fixture.blockOf('dir'))).toBe(true);
      }
    });

    it('C: a block that came in under a version 0 CID answers to version 1 as well', async () => {
      const v0 = rig.fixture('path_gateway_unixfs_symlink');
      for (const cid of [v0.root, CID.parse(v0.root).toV1().toString()]) {
        const { status, body } = await getRaw(cid);
        expect(status).toBe(200);
        expect(body.equals(v0.blockOf())).toBe(true);
      }
    });

    it('C: what nobody has is 404, soon, whichever way it is spelled', async () => {
      for (const cid of [ABSENT, ABSENT_V0])
        for (const method of ['GET', 'HEAD']) {
          const { status, tookMs } = await getRaw(cid, { method });
          expect([cid, status]).toEqual([cid, 404]);
          expect(tookMs).toBeLessThan(5000);
        }
    });

    it('S: what is no CID is 400, and an endless path is refused before work', async () => {
      for (const text of ['not-a-cid', `${file}x`, '%00', 'a'.repeat(1000)])
        expect([text, (await getRaw(text)).status]).toEqual([text, 400]);
      const deep = await get(`/ipfs/${fixture.root}${'/dir'.repeat(2000)}?format=raw`);
      expect(deep.status).toBeGreaterThanOrEqual(400);
      expect(deep.status).toBeLessThan(500);
    });

    it('S: a format that is not ours is refused as such', async () => {
      const record = await get(`/ipfs/${file}?format=ipns-record`);
      expect([400, 406, 501]).toContain(record.status);
    });
  });

  const OURS = FIXTURES.filter((name) => !name.includes('dag-cbor'));
  it.each(OURS)('M: the bytes of each block of %s hash to its CID, at every peer', async (name) => {
    const { car, blocks } = await readFixture(name);
    // It is there already, and stays.
    expect((await importCar(rig.importer.gateway, car)).status).toBe(201);
    const askFor = async (cid: string, { transfer }: Peer): Promise<string> => {
      const { status, body } = await ask(transfer, `/ipfs/${cid}?format=raw`);
      const digest = createHash('sha256').update(body).digest();
      const isRight = digest.equals(CID.parse(cid).multihash.digest);
      return isRight ? String(status) : `${status} ${cid}`;
    };
    const answers: string[] = [];
    for (let from = 0; from < blocks.length; from += ASKED_AT_ONCE)
      answers.push(
        ...(await Promise.all(
          blocks
            .slice(from, from + ASKED_AT_ONCE)
            .flatMap(({ cid }) => [askFor(cid, rig.other), askFor(cid, rig.third)]),
        )),
      );
    expect(answers.filter((answer) => answer !== '200')).toEqual([]);
  });

  it('C: a DAG with another codec in it is not kept, and the answer says why', async () => {
    const { car, root, blocks } = await readFixture(
      'trustless_gateway_car_dir-with-dag-cbor-with-links',
    );
    const foreign = blocks.find(({ cid }) => CID.parse(cid).code === DAG_CBOR);
    const { body } = await rig.importCar(car);
    expect(body.toString()).toContain(`${foreign?.cid} can't be read here: its codec is 0x71`);
    expect((await ask(rig.other.transfer, `/ipfs/${foreign?.cid}?format=raw`)).status).toBe(400);
    const listed = await ask(rig.other.discovery, `/files/${root}/health`);
    expect(listed.status).toBe(404);
  });

  it('S: only-if-cached gives what is held here and 412 for what is elsewhere, which is 200 without', async () => {
    const bytes = seededBytes('one copy', 4096);
    expect((await rig.importBlock(bytes)).status).toBe(201);
    const cid = rawCidOf(bytes);
    const peers = [rig.importer, rig.other, rig.third];
    const cached = { headers: { 'cache-control': 'only-if-cached', accept: RAW } };
    const statuses = (options: Ask) =>
      Promise.all(
        peers.map(async ({ transfer }) => (await ask(transfer, `/ipfs/${cid}`, options)).status),
      );
    await eventually('one peer alone keeps the one copy', async () => {
      const [get, head] = [await statuses(cached), await statuses({ ...cached, method: 'HEAD' })];
      for (const found of [get, head])
        expect(found.toSorted((one, two) => one - two)).toEqual([200, 412, 412]);
      return true;
    });
    expect(await statuses({ headers: { accept: RAW } })).toEqual([200, 200, 200]);
    expect((await ask(rig.other.transfer, `/ipfs/${ABSENT_V0}`, cached)).status).toBe(412);
  });

  it('S: a block of more than 2 MiB is refused, one of 2 MiB is taken and served', async () => {
    const largest = seededBytes('largest', BLOCK_SIZE_MAX_BYTES);
    expect((await rig.importBlock(largest)).status).toBe(201);
    const tooLarge = seededBytes('too large', BLOCK_SIZE_MAX_BYTES + 1);
    const refused = await rig.importBlock(tooLarge);
    expect([400, 413]).toContain(refused.status);
  });
});
