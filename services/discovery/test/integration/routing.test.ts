import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { peerIdFromString } from '@libp2p/peer-id';
import { hashBlock } from '@shoal/blocks';
import { ProblemBody, routingRoutes } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { base32 } from 'multiformats/bases/base32';
import { base36 } from 'multiformats/bases/base36';
import { CID } from 'multiformats/cid';
import { draft, type TestPeer } from './peer.ts';
import { openPeers, type Peers } from './peers.ts';

let peers: Peers;
let a: TestPeer;
let b: TestPeer;
let c: TestPeer;

beforeAll(async () => {
  peers = await openPeers();
  [a, b, c] = await peers.startThree();
}, 60_000);
afterAll(async () => {
  await peers[Symbol.asyncDispose]();
});

const NDJSON = 'application/x-ndjson';
const unknown = hashBlock('raw', Buffer.from('nobody has this'));

const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${a.origin}/routing/v1/${path}`, { headers, method });

async function providersOf(cid: string, query = ''): Promise<string[]> {
  const reply = await ask(`providers/${cid}${query}`);
  expect(reply.status).toBe(200);
  const { Providers } = routingRoutes.findProviders.reply.parse(await reply.json());
  return Providers.map(({ ID }) => ID);
}

const everybody = () => [a, b, c].map(({ peerId }) => peerId).toSorted();

describe('providers', () => {
  it('of a block that any member has are all members that are up', async () => {
    for (const [index, holder] of [a, c].entries()) {
      const cid = hashBlock('raw', Buffer.from(`chunk ${index}`));
      holder.blocks.add(cid);
      expect((await providersOf(cid)).toSorted()).toEqual(everybody());
    }
  });

  it('of the root of a pin are all members, in either spelling of it', async () => {
    const { root } = await a.put(draft('pinned'));
    expect((await providersOf(root)).toSorted()).toEqual(everybody());
    expect((await providersOf(CID.parse(root).toString(base36))).toSorted()).toEqual(everybody());
  });

  it('of a CID of version 0 are found by its digest', async () => {
    const cid = hashBlock('dag-pb', Buffer.from('a node'));
    b.blocks.add(cid);
    const old = CID.create(0, 0x70, CID.parse(cid).multihash).toString();
    expect(old).toMatch(/^Qm/);
    expect((await providersOf(old)).toSorted()).toEqual(everybody());
  });

  it('come in another order each time', async () => {
    const { root } = await a.put(draft('rotated'));
    const firsts: (string | undefined)[] = [];
    for (let turn = 0; turn < 3; turn += 1) firsts.push((await providersOf(root))[0]);
    expect(new Set(firsts)).toEqual(new Set(everybody()));
  });

  it('of what nobody has are none, and that is not an error', async () => {
    const reply = await ask(`providers/${unknown}`);
    expect(reply.status).toBe(200);
    expect(await reply.json()).toEqual({ Providers: [] });
    expect(reply.headers.get('cache-control')).toMatch(/^public, max-age=15, stale-while-rev/);
  });

  it('of what no peer of ours could have are none', async () => {
    const digest = CID.parse(unknown).multihash;
    expect(await providersOf(CID.createV1(0x71, digest).toString())).toEqual([]); // dag-cbor
    expect(await providersOf('bafkqabtimvwgy3yk')).toEqual([]); // holds its bytes itself
  });

  it('give addresses that a client can dial, and a caching that ends soon', async () => {
    const { root } = await a.put(draft('addresses'));
    const reply = await ask(`providers/${root}`);
    const { Providers } = routingRoutes.findProviders.reply.parse(await reply.json());
    expect(Providers[0]).toEqual({
      Schema: 'peer',
      ID: expect.stringMatching(/^12D3Koo/),
      Addrs: [expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/http$/)],
      Protocols: ['transport-ipfs-gateway-http'],
    });
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect(reply.headers.get('vary')).toBe('Accept');
    expect(reply.headers.get('cache-control')).toMatch(
      /^public, max-age=\d+, stale-while-revalidate=\d+, stale-if-error=\d+$/,
    );
    expect(Date.parse(String(reply.headers.get('last-modified')))).toBeLessThanOrEqual(Date.now());
  });

  it('come as ndjson to who takes nothing else, as Kubo asks', async () => {
    const { root } = await a.put(draft('lines'));
    const filter = 'filter-protocols=unknown%2Ctransport-bitswap,transport-ipfs-gateway-http';
    const reply = await ask(`providers/${root}?${filter}`, { accept: NDJSON });
    expect(reply.headers.get('content-type')).toBe(NDJSON);
    const lines = (await reply.text()).trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(JSON.parse(line)).toHaveProperty('Schema', 'peer');
    const empty = await ask(`providers/${unknown}`, { accept: NDJSON });
    expect([empty.status, await empty.text()]).toEqual([200, '']);
  });

  it('pass the filters', async () => {
    const { root } = await a.put(draft('filtered'));
    expect(await providersOf(root, '?filter-protocols=transport-bitswap')).toEqual([]);
    expect(await providersOf(root, '?filter-addrs=%21http')).toEqual([]);
    expect(await providersOf(root, '?filter-addrs=tcp%2Ctls')).toHaveLength(3);
  });

  it('answer HEAD with the headers alone', async () => {
    const { root } = await a.put(draft('head'));
    const reply = await ask(`providers/${root}`, {}, 'HEAD');
    expect(reply.status).toBe(200);
    expect(Number(reply.headers.get('content-length'))).toBeGreaterThan(100);
    expect(await reply.text()).toBe('');
  });

  it.each(['nonsense', 'bafy', 'Qm', 'a'.repeat(3000)])(
    'refuse what is no CID (%#) with 422',
    async (key) => {
      const reply = await ask(`providers/${key}`);
      expect(reply.status).toBe(422);
      expect(ProblemBody.parse(await reply.json()).type).toBe('problems/routing-key-invalid');
      expect(reply.headers.get('access-control-allow-origin')).toBe('*');
    },
  );
});

describe('peers', () => {
  it('are found by their id in base58 and as a CID', async () => {
    const { peerId } = b;
    const cid = peerIdFromString(peerId).toCID();
    for (const key of [peerId, cid.toString(base36), cid.toString(base32)]) {
      const reply = await ask(`peers/${key}`);
      const { Peers } = routingRoutes.findPeers.reply.parse(await reply.json());
      expect(Peers.map(({ ID, Addrs }) => [ID, Addrs.length])).toEqual([[peerId, 1]]);
    }
  });

  it('that are no members are none', async () => {
    const stranger = 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N';
    const reply = await ask(`peers/${stranger}`);
    expect([reply.status, await reply.json()]).toEqual([200, { Peers: [] }]);
  });

  it.each(['nobody', '12D3KooWnonsense', unknown])('refuse %s with 422', async (key) => {
    expect((await ask(`peers/${key}`)).status).toBe(422);
  });
});

describe('the rest of the router', () => {
  it.each([
    'ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8',
    `dht/closest/peers/${unknown}`,
    'elsewhere',
  ])('has nothing at %s, and says so to pages too', async (path) => {
    const reply = await ask(path);
    expect(reply.status).toBe(404);
    expect(reply.headers.get('access-control-allow-origin')).toBe('*');
  });

  it('lets pages of any origin ask', async () => {
    const headers = { origin: 'https://app.example', 'access-control-request-method': 'GET' };
    for (const path of [`providers/${unknown}`, `peers/${a.peerId}`, 'ipns/x']) {
      const reply = await ask(path, headers, 'OPTIONS');
      expect(reply.status).toBe(204);
      expect(reply.headers.get('access-control-allow-origin')).toBe('*');
      expect(reply.headers.get('access-control-allow-methods')).toBe('GET, HEAD, OPTIONS');
      expect(reply.headers.get('access-control-allow-headers')).toContain('Accept');
    }
    const reply = await ask(`providers/${unknown}`);
    expect(reply.headers.get('access-control-allow-origin')).toBe('*');
  });

  it('leaves a member that is gone out', async () => {
    const cid = hashBlock('raw', Buffer.from('left'));
    a.blocks.add(cid);
    await c.kill('SIGKILL');
    await eventually('the dead member is no provider', async () => {
      const ids = await providersOf(cid);
      return ids.length === 2 && !ids.includes(c.peerId);
    });
  });
});
