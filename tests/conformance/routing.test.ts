/** Delegated routing (specs.ipfs.tech/routing/http-routing-v1), as Helia and Kubo ask it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { base36 } from 'multiformats/bases/base36';
import { base58btc } from 'multiformats/bases/base58';
import { CID } from 'multiformats/cid';
import * as Digest from 'multiformats/hashes/digest';
import { type Answer, ask } from './ask.ts';
import { readCar } from './read-car.ts';
import {
  ABSENT,
  ABSENT_V0,
  openRig,
  type PeerRecord,
  providerIds,
  providersIn,
  type Rig,
} from './rig.ts';

const FIXTURE = 'gateway-raw-block';
const JSON_TYPE = 'application/json';
const NDJSON = 'application/x-ndjson';
/** What Kubo sends. */
const KUBO_FILTER = 'filter-protocols=unknown,transport-bitswap,transport-ipfs-gateway-http';
const LIBP2P_KEY = 0x72;
/** Kubo reads no more of an answer. */
const ANSWER_SIZE_MAX_BYTES = MiB;

describe('delegated routing', () => {
  let rig: Rig;
  let root: string;
  let chunks: readonly string[];
  beforeAll(async () => {
    rig = await openRig([FIXTURE]);
    const file = { name: 'routed.bin', seed: 'routed', sizeBytes: 3 * MiB + 1 };
    const { reply } = await rig.upload(file);
    root = reply.cid;
    const car = await ask(rig.importer.transfer, `/ipfs/${root}?format=car`);
    chunks = (await readCar(car.body)).cids.slice(1);
    await eventually('every member is listed', async () => {
      const answer = await ask(rig.other.discovery, `/routing/v1/providers/${root}`);
      return providersIn(answer).length === 3;
    });
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  const peerIds = (): string[] =>
    [rig.importer, rig.other, rig.third].map(({ peerId }) => String(peerId)).toSorted();

  describe.each([
    ['discovery of another peer', () => rig.other.discovery],
    ['the gateway', () => rig.importer.gateway],
  ] as const)('at %s', (_, originOf) => {
    const get = (
      path: string,
      headers: Record<string, string> = {},
      method = 'GET',
    ): Promise<Answer> => ask(originOf(), `/routing/v1/${path}`, { headers, method });
    const providers = (cid: string, query = '') => get(`providers/${cid}?${query}`);

    it('M: providers of a root are all live peers, each with its gateway’s address', async () => {
      const answer = await providers(root);
      expect(answer.status).toBe(200);
      expect(answer.headers['content-type']).toMatch(/^application\/json/);
      expect(providerIds(answer).toSorted()).toEqual(peerIds());
      for (const { Schema, ID, Addrs, Protocols } of providersIn(answer)) {
        const peer = [rig.importer, rig.other, rig.third].find(({ peerId }) => peerId === ID);
        expect(Schema).toBe('peer');
        expect(Protocols).toEqual(['transport-ipfs-gateway-http']);
        const { port } = new URL(peer?.gateway ?? '');
        expect(Addrs).toEqual([`/ip4/127.0.0.1/tcp/${port}/http`]);
      }
    });

    it('C: providers of every chunk are answered, not of roots alone', async () => {
      for (const cid of chunks)
        expect(providerIds(await providers(cid)).toSorted()).toEqual(peerIds());
    });

    it('C: each that is listed answers 200 for every block', async () => {
      for (const { Addrs } of providersIn(await providers(root))) {
        const [, , host, , port] = String(Addrs[0]).split('/');
        for (const cid of [root, ...chunks]) {
          const block = await ask(`http://${host}:${port}`, `/ipfs/${cid}?format=raw`);
          expect([cid, block.status]).toEqual([cid, 200]);
        }
      }
    });

    it('C: imported DAGs are routed to too, in every spelling of their CIDs', async () => {
      const fixture = rig.fixture(FIXTURE);
      const folder = CID.parse(fixture.cidOf('dir'));
      for (const spelling of [folder.toString(), folder.toV0().toString(), folder.toString(base36)])
        expect(providerIds(await providers(spelling)).toSorted()).toEqual(peerIds());
    });

    it('C: the order rotates, so that clients who take the first spread over the peers', async () => {
      const firsts = new Set<string>();
      for (let asked = 0; asked < 12; asked += 1)
        firsts.add(providerIds(await providers(root))[0] ?? 'none');
      expect(firsts.size).toBe(3);
    });

    it('M: what nobody has is 200 with an empty list', async () => {
      for (const cid of [ABSENT, ABSENT_V0]) {
        const answer = await providers(cid);
        expect(answer.status).toBe(200);
        expect(JSON.parse(answer.body.toString())).toEqual({ Providers: [] });
      }
    });

    it('M: what is no CID is 422', async () => {
      for (const text of ['not-a-cid', 'Qm', `${root}x`])
        expect([text, (await providers(text)).status]).toEqual([text, 422]);
    });

    it('M: a peer is found by its id in base58 and as a CID of its key', async () => {
      const { peerId } = rig.third;
      const key = CID.createV1(LIBP2P_KEY, Digest.decode(base58btc.decode(`z${peerId}`)));
      for (const id of [peerId, key.toString(base36), key.toString()]) {
        const answer = await get(`peers/${id}`);
        expect([id, answer.status]).toEqual([id, 200]);
        const { Peers } = JSON.parse(answer.body.toString()) as { Peers: PeerRecord[] };
        expect(Peers.map(({ ID }) => ID)).toEqual([peerId]);
        expect(Peers[0]?.Addrs.length).toBeGreaterThan(0);
      }
    });

    it.each([
      ['filter-protocols=transport-ipfs-gateway-http&filter-addrs=!https', 1],
      ['filter-protocols=transport-bitswap', 0],
      ['filter-addrs=!http', 0],
      ['filter-addrs=unknown', 0],
    ])('M: %s leaves %d of one peer (IPIP-484)', async (query, count) => {
      const { status, body } = await get(`peers/${rig.third.peerId}?${query}`);
      expect(status).toBe(200);
      expect((JSON.parse(body.toString()) as { Peers: PeerRecord[] }).Peers).toHaveLength(count);
    });

    it('M: an unknown peer is 200 with an empty list, what is no peer id 422', async () => {
      const stranger = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN';
      const answer = await get(`peers/${stranger}`);
      expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([200, { Peers: [] }]);
      for (const text of ['not-a-peer', root])
        expect((await get(`peers/${text}`)).status).toBe(422);
    });

    it.each([
      ['ipns/k51qzi5uqu5dlxdsdu5fpuu7h69wu4ohp32iwm9pdt9nq3y5rpn3ln9j12zfhe', [404, 501]],
      [`dht/closest/peers/${ABSENT}`, [404, 501]],
      ['no-such-thing', [400, 404, 501]],
    ] as const)('M: /routing/v1/%s is not there, and said so', async (path, statuses) => {
      expect(statuses).toContain((await get(path)).status);
    });

    it.each([
      ['PUT', 'providers'],
      ['POST', 'providers'],
      ['PUT', `providers/${ABSENT}`],
      ['POST', `providers/${ABSENT}`],
      ['PUT', 'peers/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'],
      ['PUT', 'ipns/k51qzi5uqu5dlxdsdu5fpuu7h69wu4ohp32iwm9pdt9nq3y5rpn3ln9j12zfhe'],
    ])('M: nothing is announced here: %s /routing/v1/%s is refused', async (method, path) => {
      const { status } = await get(path, {}, method);
      expect([404, 405, 501]).toContain(status);
    });

    it('C: JSON unless Accept names ndjson and not JSON', async () => {
      for (const [accept, type] of [
        [undefined, JSON_TYPE],
        ['*/*', JSON_TYPE],
        [JSON_TYPE, JSON_TYPE],
        [`${NDJSON},${JSON_TYPE}`, JSON_TYPE], // Helia, which crashes on ndjson
        [`${JSON_TYPE}, ${NDJSON}`, JSON_TYPE],
        [`${NDJSON}, */*`, JSON_TYPE],
        [NDJSON, NDJSON], // Kubo
      ] as const) {
        const headers: Record<string, string> = accept === undefined ? {} : { accept };
        const answer = await get(`providers/${root}`, headers);
        expect([accept, answer.headers['content-type']?.split(';')[0]]).toEqual([accept, type]);
      }
    });

    it('C: ndjson is a record a line, and nothing for an empty list', async () => {
      const lines = (await get(`providers/${root}`, { accept: NDJSON })).body.toString();
      const records = lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as PeerRecord);
      expect(records.map(({ ID }) => ID).toSorted()).toEqual(peerIds());
      const empty = await get(`providers/${ABSENT}`, { accept: NDJSON });
      expect([empty.status, empty.body.toString().trim()]).toEqual([200, '']);
      const peer = await get(`peers/${rig.third.peerId}`, { accept: NDJSON });
      expect(JSON.parse(peer.body.toString())).toMatchObject({ ID: rig.third.peerId });
    });

    it('C: what Kubo asks is answered in full, in less than 1 MiB', async () => {
      const answer = await get(`providers/${root}?${KUBO_FILTER}`, { accept: NDJSON });
      expect(answer.body.toString().trimEnd().split('\n')).toHaveLength(3);
      expect(answer.body.length).toBeLessThan(ANSWER_SIZE_MAX_BYTES);
    });

    it.each([
      ['filter-protocols=transport-ipfs-gateway-http', 3],
      ['filter-protocols=TRANSPORT-IPFS-GATEWAY-HTTP', 3],
      ['filter-protocols=transport-bitswap%2Ctransport-ipfs-gateway-http', 3],
      ['filter-protocols=transport-bitswap', 0],
      ['filter-protocols=unknown', 0],
      ['filter-addrs=http', 3],
      ['filter-addrs=tcp', 3],
      ['filter-addrs=HTTPS,TCP', 3],
      ['filter-addrs=https%2Ctcp,webrtc,webrtc-direct,wss,tls', 3], // Helia's default
      ['filter-addrs=https', 0],
      ['filter-addrs=!http', 0],
      ['filter-addrs=!https', 3],
      ['filter-addrs=unknown', 0],
      ['filter-addrs=tcp&filter-protocols=transport-bitswap', 0],
    ])('M: %s leaves %d providers (IPIP-484)', async (query, count) => {
      expect(providersIn(await providers(root, query))).toHaveLength(count);
    });

    it('S: answers may be kept: shortly when empty, minutes otherwise; they vary by Accept', async () => {
      const full = await providers(root);
      const empty = await providers(ABSENT);
      const maxAge = ({ headers }: Answer): number =>
        Number(/max-age=(\d+)/.exec(headers['cache-control'] ?? '')?.[1]);
      expect(maxAge(full)).toBeGreaterThan(15);
      expect(maxAge(full)).toBeLessThanOrEqual(300);
      expect(maxAge(empty)).toBeGreaterThan(0);
      expect(maxAge(empty)).toBeLessThanOrEqual(15);
      for (const { headers } of [full, empty]) {
        expect(headers['cache-control']).toMatch(
          /^public, .*stale-while-revalidate=\d+.*stale-if-error=\d+/,
        );
        expect(String(headers.vary).toLowerCase()).toContain('accept');
        expect(Date.parse(headers['last-modified'] ?? '')).toBeGreaterThan(0);
      }
    });

    it('C: CORS is open on all of it, OPTIONS too', async () => {
      const origin = { origin: 'https://app.example' };
      const found = [`providers/${root}`, `providers/${ABSENT}`, `peers/${rig.third.peerId}`];
      for (const path of [...found, 'providers/x', 'peers/x', 'ipns/x', 'no-such-thing'])
        expect([path, (await get(path, origin)).headers['access-control-allow-origin']]).toEqual([
          path,
          '*',
        ]);
      const asked = { ...origin, 'access-control-request-method': 'GET' };
      const preflight = await get(`providers/${root}`, asked, 'OPTIONS');
      expect([200, 204]).toContain(preflight.status);
      expect(preflight.headers['access-control-allow-origin']).toBe('*');
      expect(preflight.headers['access-control-allow-methods']).toContain('GET');
    });

    it('S: HEAD answers as GET does, without a body', async () => {
      const head = await get(`providers/${root}`, {}, 'HEAD');
      expect(head).toMatchObject({ status: 200, body: Buffer.alloc(0) });
      expect(head.headers['content-type']).toMatch(/^application\/json/);
    });
  });
});
