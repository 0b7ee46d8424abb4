/** The CAR half of the trustless gateway (specs.ipfs.tech/http-gateways/trustless-gateway). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CarReader } from '@ipld/car';
import { MiB } from '@shoal/protocol';
import { seededBytes } from '@shoal/testkit';
import { CID } from 'multiformats/cid';
import { type Ask, ask, type Answer } from './ask.ts';
import type { Fixture } from '../fixtures/fixture.ts';
import { makeCar, makeDirectory } from './make-dag.ts';
import { type CarContents, readCar } from './read-car.ts';
import {
  ABSENT,
  CAR,
  DOORS,
  HEAD_SIZE_MAX_BYTES,
  HELLO,
  IMMUTABLE,
  PROBE,
  type Rig,
  openRig,
} from './rig.ts';

const SMALL_FILES = 'trustless_gateway_car_subdir-with-two-single-block-files';
const MIXED_FILES = 'trustless_gateway_car_subdir-with-mixed-block-files';
const SHARDED = 'trustless_gateway_car_single-layer-hamt-with-multi-block-files';
const DUPLICATES = 'trustless_gateway_car_dir-with-duplicate-files';
const INCOMPLETE = 'trustless_gateway_car_file-3k-and-3-blocks-missing-block';
/** Of `multiblock.txt`: four leaves of 256 bytes and one of two. */
const LEAVES = 5;
const ENTITY = 'dag-scope=entity';

const FORMS = ['?format=car', 'Accept'] as const;

/** A CAR of exactly these blocks, in this order. */
const whole = (cids: readonly string[]) => ({
  status: 200,
  isWhole: true,
  isComplete: true,
  cids,
});

interface CarAnswer extends Answer {
  readonly car: CarContents;
}

describe('trustless gateway: CARs', () => {
  let rig: Rig;
  let small: Fixture;
  let mixed: Fixture;
  let sharded: Fixture;
  let duplicates: Fixture;
  let incomplete: Fixture;
  beforeAll(async () => {
    rig = await openRig([SMALL_FILES, MIXED_FILES, SHARDED, DUPLICATES, INCOMPLETE]);
    small = rig.fixture(SMALL_FILES);
    mixed = rig.fixture(MIXED_FILES);
    sharded = rig.fixture(SHARDED);
    duplicates = rig.fixture(DUPLICATES);
    incomplete = rig.fixture(INCOMPLETE);
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });
  const bigFile = (): string => mixed.cidOf('subdir', 'multiblock.txt');
  const leaves = (): string[] => mixed.dagOf(bigFile()).slice(1);

  describe.each(DOORS.flatMap((door) => FORMS.map((form) => [door, form] as const)))(
    'at %s, asked by %s',
    (door, form) => {
      const getCar = async (path: string, query = ''): Promise<CarAnswer> => {
        const search = [form === 'Accept' ? '' : 'format=car', query].filter((part) => part !== '');
        const headers: Record<string, string> = form === 'Accept' ? { accept: CAR } : {};
        const answer = await ask(rig.originOf(door), `/ipfs/${path}?${search.join('&')}`, {
          headers,
        });
        return { ...answer, car: await readCar(answer.body) };
      };
      const carAt = async (path: string, query: string) => {
        const { status, isWhole, car } = await getCar(path, query);
        return { status, isWhole, isComplete: car.isComplete, cids: car.cids };
      };

      it('M: path blocks come first, then the file’s', async () => {
        expect(await carAt(`${small.root}/subdir/ascii.txt`, '')).toEqual(
          whole(small.wayTo('subdir', 'ascii.txt')),
        );
      });

      it('M: the way through a sharded directory is its shards on the way and no others', async () => {
        const way = sharded.wayTo('685.txt');
        const file = sharded.cidOf('685.txt');
        expect(way).toHaveLength(3);
        expect(await carAt(`${sharded.root}/685.txt`, '')).toEqual(
          whole([...way, ...sharded.dagOf(file).slice(1)]),
        );
      });

      it('C: a name that the directory lacks is 404', async () => {
        const { status } = await getCar(`${small.root}/subdir/i-do-not-exist`);
        expect(status).toBe(404);
      });

      it('M: dag-scope=block is the path and the block at its end', async () => {
        expect(await carAt(`${small.root}/subdir`, 'dag-scope=block')).toEqual(
          whole(small.wayTo('subdir')),
        );
        expect(await carAt(`${small.root}/subdir/ascii.txt`, 'dag-scope=block')).toEqual(
          whole(small.wayTo('subdir', 'ascii.txt')),
        );
        expect(await carAt(`${sharded.root}/1.txt`, 'dag-scope=block')).toEqual(
          whole(sharded.wayTo('1.txt')),
        );
      });

      it('M: dag-scope=entity of a directory is the directory without its entries', async () => {
        expect(await carAt(small.root, ENTITY)).toEqual(whole([small.root]));
      });

      it('M: dag-scope=entity of a sharded directory is all its shards', async () => {
        expect(await carAt(sharded.root, ENTITY)).toEqual(whole(sharded.directoryOf(sharded.root)));
      });

      it('M: dag-scope=entity of a file is the path and the file’s blocks', async () => {
        expect(await carAt(`${mixed.root}/subdir/ascii.txt`, ENTITY)).toEqual(
          whole(mixed.wayTo('subdir', 'ascii.txt')),
        );
        const way = mixed.wayTo('subdir', 'multiblock.txt');
        expect(await carAt(`${mixed.root}/subdir/multiblock.txt`, ENTITY)).toEqual(
          whole([...way, ...leaves()]),
        );
      });

      it('M: dag-scope=all, which is the default, is everything below, depth first', async () => {
        const folder = mixed.cidOf('subdir');
        const all = [mixed.root, ...mixed.dagOf(folder)];
        for (const query of ['', 'dag-scope=all'])
          expect(await carAt(`${mixed.root}/subdir`, query)).toEqual(whole(all));
        expect(await carAt(bigFile(), 'dag-scope=all')).toEqual(whole(mixed.dagOf(bigFile())));
      });

      it('M: another dag-scope is refused', async () => {
        expect((await getCar(small.root, 'dag-scope=some')).status).toBe(400);
      });

      it.each([
        ['0:*', 0, LEAVES],
        ['512:*', 2, LEAVES],
        ['512:1023', 2, 4],
        ['512:-256', 2, 4],
        ['-5:*', 3, LEAVES],
        ['-9999:*', 0, LEAVES],
        ['-9999:-3', 0, 4],
        ['0:0', 0, 1],
        ['1000:99999', 3, LEAVES],
      ])('M: entity-bytes=%s is the node and leaves %d to %d', async (range, from, to) => {
        const query = `${ENTITY}&entity-bytes=${range}`;
        expect(await carAt(bigFile(), query)).toEqual(
          whole([bigFile(), ...leaves().slice(from, to)]),
        );
      });

      it('M: entity-bytes implies dag-scope=entity, and keeps the path', async () => {
        const way = mixed.wayTo('subdir', 'multiblock.txt');
        expect(await carAt(`${mixed.root}/subdir/multiblock.txt`, 'entity-bytes=0:255')).toEqual(
          whole([...way, ...leaves().slice(0, 1)]),
        );
        // Of a directory the one without the other would be everything below it.
        expect(await carAt(small.root, 'entity-bytes=0:*')).toEqual(whole([small.root]));
      });

      it('M: entity-bytes is ignored for a directory', async () => {
        const query = `${ENTITY}&entity-bytes=0:*`;
        expect(await carAt(sharded.root, query)).toEqual(whole(sharded.directoryOf(sharded.root)));
      });

      it('M: entity-bytes wholly outside is like dag-scope=block', async () => {
        expect(await carAt(bigFile(), `${ENTITY}&entity-bytes=5000:6000`)).toEqual(
          whole([bigFile()]),
        );
      });

      it.each(['x', '1', '1:x', '5:1', '*:5', ''])(
        'S: entity-bytes=%s is refused',
        async (range) => {
          expect((await getCar(bigFile(), `entity-bytes=${range}`)).status).toBe(400);
        },
      );

      it('M: a block that is missing outside of entity-bytes is not needed', async () => {
        const [root, first, , last] = incomplete.dagOf(incomplete.root) as [
          string,
          string,
          string,
          string,
        ];
        expect(await carAt(root, `${ENTITY}&entity-bytes=0:1000`)).toEqual(whole([root, first]));
        expect(await carAt(root, `${ENTITY}&entity-bytes=2200:*`)).toEqual(whole([root, last]));
      });

      it('M: a child that is missing breaks the stream off, soon, after what came before it', async () => {
        const { status, isWhole, car } = await getCar(incomplete.root);
        expect([
          [200, false], // it broke off
          [404, true], // it was known before the first byte
        ]).toContainEqual([status, isWhole]);
        const before = incomplete.dagOf(incomplete.root).slice(0, 2);
        expect(before).toEqual(expect.arrayContaining([...car.cids]));
      });

      it('M: a missing root is 404', async () => {
        expect((await getCar(ABSENT)).status).toBe(404);
      });

      it('M: car-dups=n gives each block once, car-dups=y as often as it stands there', async () => {
        const all = duplicates.dagOf(duplicates.root);
        const once = [...new Set(all)];
        expect(once.length).toBeLessThan(all.length);
        for (const [dups, cids] of [
          ['n', once],
          ['y', all],
        ] as const) {
          expect(await carAt(duplicates.root, `car-dups=${dups}`)).toEqual(whole(cids));
          const { headers } = await getCar(duplicates.root, `car-dups=${dups}`);
          expect(headers['content-type']).toBe(`${CAR}; version=1; order=dfs; dups=${dups}`);
        }
      });

      it('M: identity CIDs are never blocks of a CAR, with duplicates neither', async () => {
        for (const query of ['', 'car-dups=y'])
          expect(await carAt('bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa', query)).toEqual(
            whole([]),
          );
      });

      it('M: Content-Type has version, order and dups, always', async () => {
        const { headers } = await getCar(small.root);
        expect(headers['content-type']).toMatch(
          /^application\/vnd\.ipld\.car; version=1; order=dfs; dups=[ny]$/,
        );
      });

      it('M: Content-Disposition is an attachment named <cid>.car, or as ?filename= says', async () => {
        const { headers } = await getCar(small.root);
        expect(headers['content-disposition']).toBe(`attachment; filename="${small.root}.car"`);
        const named = await getCar(small.root, 'filename=mine.car');
        expect(named.headers['content-disposition']).toMatch(/^attachment; filename="mine\.car"/);
      });

      it('S: nosniff; C: Accept-Ranges none, X-Ipfs-Path and X-Ipfs-Roots', async () => {
        expect((await getCar(`${small.root}/subdir`)).headers).toMatchObject({
          'x-content-type-options': 'nosniff',
          'accept-ranges': 'none',
          'x-ipfs-path': `/ipfs/${small.root}/subdir`,
          'x-ipfs-roots': small.wayTo('subdir').join(','),
        });
      });

      it('M: immutable caching is allowed', async () => {
        expect((await getCar(small.root)).headers['cache-control']).toBe(IMMUTABLE);
      });

      it('M: ETags differ by scope, bytes and duplicates, and each is 304 to its own', async () => {
        const queries = [
          'car-dups=n',
          'car-dups=y',
          'dag-scope=block',
          'dag-scope=entity',
          'entity-bytes=0:255',
          'entity-bytes=0:511',
          'entity-bytes=256:511',
          'entity-bytes=256:*',
        ];
        const etags: string[] = [];
        for (const query of queries) {
          const { etag = '' } = (await getCar(bigFile(), query)).headers;
          etags.push(etag);
          const accept: Record<string, string> = form === 'Accept' ? { accept: CAR } : {};
          const again = await ask(
            rig.originOf(door),
            `/ipfs/${bigFile()}?${form === 'Accept' ? '' : 'format=car&'}${query}`,
            { headers: { ...accept, 'if-none-match': `"other", ${etag}` } },
          );
          expect([query, again.status, again.body.length]).toEqual([query, 304, 0]);
        }
        expect(etags.every((etag) => /^(W\/)?".+"$/.test(etag))).toBe(true);
        expect(new Set(etags).size).toBe(queries.length);
      });

      it('M: ETags differ by the path too, whose blocks come with the file', async () => {
        const alone = await getCar(bigFile());
        const onPath = await getCar(`${mixed.root}/subdir/multiblock.txt`);
        expect(onPath.car.cids.length).toBeGreaterThan(alone.car.cids.length);
        expect(onPath.headers.etag).toMatch(/^(W\/)?".+"$/);
        expect(onPath.headers.etag).not.toBe(alone.headers.etag);
      });

      it('S: the probe as a CAR is 200 and a valid CAR with that root and no block', async () => {
        const { status, isWhole, car } = await getCar(PROBE);
        expect({ status, isWhole }).toEqual({ status: 200, isWhole: true });
        expect(car).toEqual({ roots: [PROBE], cids: [], isComplete: true });
      });

      it('M: the root of a CAR without a path is what was asked for', async () => {
        expect((await getCar(small.root)).car.roots).toEqual([small.root]);
      });
    },
  );

  const get = (path: string, options?: Ask): Promise<Answer> =>
    ask(rig.other.transfer, path, options);

  it('C: parameters of Accept count, and order=unk is answered with a stated order', async () => {
    const dups = { headers: { accept: `${CAR}; version=1; order=dfs; dups=y` } };
    for (const path of [duplicates.root, `${duplicates.root}?format=car`]) {
      const answer = await get(`/ipfs/${path}`, dups);
      expect(answer.headers['content-type']).toContain('dups=y');
      expect((await readCar(answer.body)).cids).toEqual(duplicates.dagOf(duplicates.root));
    }
    const unknown = await get(`/ipfs/${duplicates.root}`, {
      headers: { accept: `${CAR}; version=1; order=unk` },
    });
    expect(unknown.status).toBe(200);
    expect(unknown.headers['content-type']).toContain('order=');
    const all = new Set(duplicates.dagOf(duplicates.root));
    expect(new Set((await readCar(unknown.body)).cids)).toEqual(all);
  });

  it('S: car-version, car-order and car-dups of the URL beat Accept', async () => {
    const answer = await get(
      `/ipfs/${duplicates.root}?format=car&car-version=1&car-order=dfs&car-dups=y`,
      { headers: { accept: `${CAR}; version=1; order=unk; dups=n` } },
    );
    expect(answer.headers['content-type']).toBe(`${CAR}; version=1; order=dfs; dups=y`);
  });

  it('S: a CAR version that is not ours is refused', async () => {
    for (const answer of [
      await get(`/ipfs/${small.root}?format=car&car-version=2`),
      await get(`/ipfs/${small.root}`, { headers: { accept: `${CAR}; version=2` } }),
    ])
      expect([400, 406]).toContain(answer.status);
  });

  it('S: the format parameter beats Accept', async () => {
    const accept = { accept: 'application/vnd.ipld.raw' };
    const car = await get(`/ipfs/${small.root}?format=car`, { headers: accept });
    expect(car.headers['content-type']).toContain(CAR);
  });

  it('S: Content-Location names ?format=car when Accept chose it', async () => {
    const { headers } = await get(`/ipfs/${small.root}`, { headers: { accept: CAR } });
    expect(headers['content-location']).toMatch(
      new RegExp(`^/ipfs/${small.root}\\?(.*&)?format=car(&|$)`),
    );
  });

  it('C: HEAD answers the headers of the CAR and no body; its head stays small', async () => {
    const answer = await get(`/ipfs/${small.root}?format=car`, { method: 'HEAD' });
    expect(answer).toMatchObject({ status: 200, body: Buffer.alloc(0) });
    expect(answer.headers['content-type']).toContain(CAR);
    expect(answer.headSizeBytes).toBeLessThan(HEAD_SIZE_MAX_BYTES);
  });

  it('M: a whole sharded directory with thousands of duplicates comes in order', async () => {
    const all = sharded.dagOf(sharded.root);
    expect(all.length).toBeGreaterThan(5000);
    const answer = await get(`/ipfs/${sharded.root}?format=car&car-dups=y`, { timeoutMs: 60_000 });
    expect(answer.isWhole).toBe(true);
    expect((await readCar(answer.body)).cids).toEqual(all);
  });

  it('M: a link that is an identity CID is no block of the CAR', async () => {
    const hello = { cid: CID.parse(HELLO.cid), bytes: Buffer.from(HELLO.bytes) };
    const root = makeDirectory([{ name: 'hello.txt', child: hello }]);
    const car = await makeCar(root.cid, [root]);
    expect((await rig.importCar(car)).status).toBe(201);
    const answer = await get(`/ipfs/${root.cid.toString()}?format=car&car-dups=y`);
    expect((await readCar(answer.body)).cids).toEqual([root.cid.toString()]);
    const file = await get(`/ipfs/${root.cid.toString()}/hello.txt`);
    expect(file.body.toString()).toBe(HELLO.bytes);
  });

  it('C: a file of many chunks, spread over the swarm, comes whole out of its CAR', async () => {
    const file = { name: 'spread.bin', seed: 'spread', sizeBytes: 6 * MiB + 3 };
    const { reply } = await rig.upload(file);
    const answer = await ask(rig.third.transfer, `/ipfs/${reply.cid}?format=car`, {
      timeoutMs: 60_000,
    });
    expect(answer.isWhole).toBe(true);
    const contents = await readCar(answer.body);
    expect(contents).toMatchObject({ roots: [reply.cid], isComplete: true });
    const car = await CarReader.fromBytes(answer.body);
    const pieces: Uint8Array[] = [];
    for await (const { cid, bytes } of car.blocks()) if (cid.code === 0x55) pieces.push(bytes);
    expect(Buffer.concat(pieces).equals(seededBytes(file.seed, file.sizeBytes))).toBe(true);
  });
});
