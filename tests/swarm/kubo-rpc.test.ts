/** The Kubo RPC, the write token and the router of real peers, asked with plain requests. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB, routingRoutes } from '@shoal/protocol';
import {
  download,
  eventually,
  type HostedSwarm,
  type Peer,
  seededBytes,
  startHostedSwarm,
  upload,
} from '@shoal/testkit';
import { base32 } from 'multiformats/bases/base32';
import { request } from 'undici';

const TOKEN = 'the-token-of-all-peers';
const BEARER = { authorization: `Bearer ${TOKEN}` };
const FORM = { 'content-type': 'multipart/form-data; boundary=b' };
const EMPTY_DIRECTORY = 'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354';

let swarm: HostedSwarm;
let one: Peer;
let two: Peer;

beforeAll(async () => {
  swarm = await startHostedSwarm(3, { env: { WRITE_TOKEN: TOKEN } });
  [one, two] = swarm.peers as [Peer, Peer, Peer];
});
afterAll(async () => {
  await swarm[Symbol.asyncDispose]();
});

async function rpc(peer: Peer, command: string, body?: Uint8Array) {
  const answer = await request(`${peer.gateway}/api/v0/${command}`, {
    method: 'POST',
    headers: { ...BEARER, ...(body === undefined ? {} : FORM) },
    ...(body === undefined ? {} : { body }),
    headersTimeout: 60_000,
  });
  const bytes = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, bytes, text: bytes.toString() };
}

/** Any value that a command answers; a test looks at what its command has. */
interface Value extends Record<'Name' | 'Hash' | 'Size' | 'Key' | 'ID', string> {
  readonly Keys: Readonly<Record<string, unknown>>;
  readonly Stats: { readonly BlockCount: number };
  readonly Addresses: readonly string[];
}

/** What a command answers when all goes well, a value a line. */
async function values(
  peer: Peer,
  command: string,
  body?: Uint8Array,
): Promise<[Value, ...Value[]]> {
  const { status, text } = await rpc(peer, command, body);
  expect([status, status === 200 ? '' : text]).toEqual([200, '']);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Value) as [Value, ...Value[]]; // a command answers something
}

function form(...parts: (readonly [name: string, bytes: Uint8Array | string, type?: string])[]) {
  const pieces = parts.map(([name, bytes, type = 'application/octet-stream']) =>
    Buffer.concat([
      Buffer.from(
        `--b\r\nContent-Disposition: form-data; name="file"; filename="${encodeURIComponent(name)}"\r\nContent-Type: ${type}\r\n\r\n`,
      ),
      Buffer.from(bytes),
      Buffer.from('\r\n'),
    ]),
  );
  return Buffer.concat([...pieces, Buffer.from('--b--\r\n')]);
}

/** CIDv1, raw, sha2-256 of 32 bytes. */
function rawCidOf(bytes: Uint8Array): string {
  const digest = createHash('sha256').update(bytes).digest();
  return base32.encode(Buffer.concat([Uint8Array.of(0x01, 0x55, 0x12, 0x20), digest]));
}

describe('a peer with a write token', () => {
  it('takes no write without it, on the port of any service', async () => {
    const writes = [
      ['POST', `${one.gateway}/files?name=a`],
      ['POST', `${one.chunker}/files?name=a`],
      ['PUT', `${one.chunker}/files/a`],
      ['POST', `${one.storage}/sweep`],
      ['POST', `${one.transfer}/drain`],
      ['DELETE', `${one.discovery}/files/${'ab'.repeat(32)}`],
    ] as const;
    for (const [method, url] of writes) {
      const answer = await request(url, { method });
      expect([url, answer.statusCode]).toEqual([url, 401]);
      expect(await answer.body.json()).toHaveProperty('type', 'problems/token-required');
    }
  });

  it('takes writes with it, spreads them to the others, and lets everybody read', async () => {
    const file = { name: 'kept', seed: 'kept', sizeBytes: 3 * MiB };
    const { reply, status } = await upload(one.gateway, file, { headers: BEARER });
    expect([status, reply.copies >= 2]).toEqual([201, true]);
    expect(await download(two.gateway, reply.cid)).toMatchObject({
      status: 200,
      sizeBytes: file.sizeBytes,
    });
  });
});

describe('the router', () => {
  const providersOf = async (peer: Peer, cid: string) => {
    const { body } = await request(`${peer.gateway}/routing/v1/providers/${cid}`);
    return routingRoutes.findProviders.reply.parse(await body.json()).Providers;
  };

  it('names every peer for roots and for chunks, wherever they are', async () => {
    const file = { name: 'one copy', seed: 'one copy', sizeBytes: MiB };
    const { reply } = await upload(one.chunker, file, {
      query: 'replicas=1&copies=1',
      headers: BEARER,
    });
    const gateways = swarm.peers.map(
      ({ gateway }) => `/ip4/127.0.0.1/tcp/${new URL(gateway).port}/http`,
    );
    for (const peer of swarm.peers) {
      await eventually('the peer is told of the file', async () => {
        const found = await providersOf(peer, reply.cid);
        return found.length === swarm.peers.length;
      });
      const found = await providersOf(peer, reply.cid);
      expect(found.flatMap(({ Addrs }) => Addrs).toSorted()).toEqual(gateways.toSorted());
      expect(found.map(({ ID }) => ID).toSorted()).toEqual(
        swarm.peers.map(({ peerId }) => peerId).toSorted(),
      );
    }
    const large = { name: 'chunks', seed: 'chunks', sizeBytes: 2 * MiB };
    const chunks = await upload(one.chunker, large, {
      query: 'replicas=1&copies=1',
      headers: BEARER,
    });
    const bytes = seededBytes(large.seed, large.sizeBytes);
    const chunk = rawCidOf(bytes.subarray(0, MiB));
    expect(chunks.reply.blocks).toBe(3);
    for (const peer of swarm.peers)
      expect(await providersOf(peer, chunk)).toHaveLength(swarm.peers.length);
  });
});

describe('the Kubo RPC', () => {
  it('says who answers', async () => {
    expect(await values(one, 'version')).toEqual([
      expect.objectContaining({ Version: expect.any(String) }),
    ]);
    const [id] = await values(one, 'id');
    expect(id).toMatchObject({ ID: one.peerId, AgentVersion: expect.stringMatching(/^shoal\//) });
    expect(id.Addresses[0]).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/http$/);
  });

  it('adds a file, gives it at another peer, lists it and ends it', async () => {
    const bytes = seededBytes('rpc', 2 * MiB + 5);
    const [line] = await values(one, 'add?cid-version=1&pin=true', form(['a b.bin', bytes]));
    expect(line).toMatchObject({ Name: 'a b.bin', Hash: expect.stringMatching(/^bafybei/) });
    expect(Number(line.Size)).toBeGreaterThan(bytes.length);
    const { Hash: cid } = line;
    expect((await rpc(two, `cat?arg=${cid}`)).bytes.equals(bytes)).toBe(true);
    const part = await rpc(two, `cat?arg=/ipfs/${cid}&offset=${MiB - 2}&length=4`);
    expect(part.bytes.equals(bytes.subarray(MiB - 2, MiB + 2))).toBe(true);
    const [pins] = await values(two, `pin/ls?arg=${cid}&names=true`);
    expect(pins).toEqual({ Keys: { [cid]: { Type: 'recursive', Name: 'a b.bin' } } });
    expect(await values(two, `pin/rm?arg=${cid}`)).toEqual([{ Pins: [cid] }]);
    expect((await rpc(two, `pin/ls?arg=${cid}`)).status).toBe(500);
    expect((await rpc(two, `pin/rm?arg=${cid}`)).status).toBe(500);
  });

  it('adds a directory, and gives what is in it by its path', async () => {
    const lines = await values(
      one,
      'add?recursive=true',
      form(['dir', '', 'application/x-directory'], ['dir/ü.txt', 'hello'], ['dir/sub/x', 'deep']),
    );
    expect(lines.map(({ Name }) => Name)).toEqual(['dir/sub/x', 'dir/ü.txt', 'dir/sub', 'dir']);
    const root = lines.at(-1)?.Hash;
    for (const [path, text] of [
      ['ü.txt', 'hello'],
      ['sub/x', 'deep'],
    ] as const) {
      const got = await rpc(two, `cat?arg=${encodeURIComponent(`/ipfs/${root}/${path}`)}`);
      expect([got.status, got.text]).toEqual([200, text]);
    }
    const directory = await rpc(two, `cat?arg=${root}`);
    expect([directory.status, directory.text]).toEqual([500, expect.stringContaining('directory')]);
    const [stat] = await values(two, `block/stat?arg=/ipfs/${root}/sub`);
    expect(stat.Key).toBe(lines[2]?.Hash);
    const wrapped = await values(one, 'add?wrap-with-directory=true', form(['ü.txt', 'hello']));
    expect(wrapped.map(({ Name }) => Name)).toEqual(['ü.txt', '']);
    expect(wrapped[0].Hash).toBe(lines[1]?.Hash);
  });

  it('adds an empty directory', async () => {
    const [line] = await values(one, 'add', form(['nothing', '', 'application/x-directory']));
    expect(line).toMatchObject({ Name: 'nothing', Hash: EMPTY_DIRECTORY });
  });

  it('puts blocks and gives them as they are', async () => {
    const [put] = await values(one, 'block/put?pin=true', form(['', 'a block']));
    expect(put).toEqual({ Key: expect.stringMatching(/^bafkrei/), Size: 7 });
    expect((await rpc(two, `block/get?arg=${put.Key}`)).text).toBe('a block');
    expect(await values(two, `block/stat?arg=${put.Key}`)).toEqual([put]);
    const absent = await rpc(
      two,
      'block/get?arg=bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy',
    );
    expect(absent.status).toBe(500);
  });

  it('exports a DAG as a CAR, and imports it again', async () => {
    const bytes = seededBytes('car', MiB + 1);
    const [{ Hash: cid }] = await values(one, 'add', form(['car.bin', bytes]));
    const car = await rpc(two, `dag/export?arg=${cid}`);
    expect(car.status).toBe(200);
    expect(car.bytes.length).toBeGreaterThan(bytes.length);
    await values(two, `pin/rm?arg=${cid}`);
    const lines = await values(two, 'dag/import?stats=true', form(['', car.bytes]));
    expect(lines[0]).toEqual({ Root: { Cid: { '/': cid }, PinErrorMsg: '' } });
    expect(lines[1]?.Stats.BlockCount).toBe(3);
    expect((await rpc(one, `cat?arg=${cid}`)).bytes.equals(bytes)).toBe(true);
  });

  it('pins what members hold, and says what is wrong with what nobody has', async () => {
    const [{ Key: cid }] = await values(one, 'block/put', form(['', 'to be kept']));
    expect(await values(two, `pin/add?arg=${cid}&name=kept`)).toEqual([{ Pins: [cid] }]);
    const [pins] = await values(one, `pin/ls?arg=${cid}&names=true`);
    expect(pins.Keys[cid]).toEqual({ Type: 'recursive', Name: 'kept' });
    const absent = await rpc(two, `pin/add?arg=${rawCidOf(Buffer.from('nobody has this'))}`);
    expect([absent.status, absent.text]).toEqual([500, expect.stringContaining('"Type":"error"')]);
  });
});
