/** Every route between peers, asked by those who must not be answered, and by a member, for comparison. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  createPeerTls,
  createProver,
  type Identity,
  identityOf,
  type PeerTls,
  readSwarmKey,
} from '@shoal/chassis';
import {
  BYTES,
  chunkerRoutes,
  discoveryRoutes,
  MEMBER_EXPORTER,
  MEMBER_LINE,
  type Route,
  rosterRoutes,
  routingRoutes,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import { createTestRoster, eventually, identityAt } from '@shoal/testkit';
import { type OpenPeer, openPeer } from './every-route.ts';

const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const LEASE = '00000000-0000-4000-8000-000000000000';
const ROUTES = [
  chunkerRoutes,
  discoveryRoutes,
  rosterRoutes,
  routingRoutes,
  storageRoutes,
  transferRoutes,
]
  .flatMap((routes): Route[] => Object.values(routes))
  .filter(({ audience }) => audience === 'peer');

const pathOf = ({ path }: Route) => path.replace(':lease', LEASE).replace(/:\w+/g, CID);
const bodyOf = ({ body }: Route) => (body === undefined || body === BYTES ? '' : '{}');

let peer: OpenPeer;
let member: Identity;
let tls: PeerTls;
const newIdentity = () => identityOf(generateKeyPairSync('ed25519').privateKey);
const showing = (identity: Identity): PeerTls =>
  createPeerTls(identity, readSwarmKey(peer.keyFile));

const requestOf = (route: Route, headers: Record<string, string> = {}): string => {
  const body = bodyOf(route);
  const all = {
    host: 'localhost',
    connection: 'close',
    ...(body === '' ? {} : { 'content-type': 'application/json' }),
    'content-length': String(body.length),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${route.method} ${pathOf(route)} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
};

/** Sends a text, and answers all that came until the other side closed. */
async function converse(socket: Socket, text: string): Promise<string> {
  let got = '';
  socket.on('data', (bytes) => (got += String(bytes)));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {}); // it may be reset, rightly
  socket.write(text);
  await closed;
  return got;
}

const addressOf = ({ service }: Route) => {
  const { hostname: host, port } = new URL(peer.peer.origins[service]);
  return { host, port: Number(port) };
};

/** By TLS, with what that peer has to show, or nothing. */
async function askSecurely(
  route: Route,
  by: PeerTls | undefined,
  lineOn: (socket: TLSSocket) => string = () => '',
): Promise<string> {
  const secureContext = by && { secureContext: by.context };
  const socket = connect({ ...addressOf(route), rejectUnauthorized: false, ...secureContext });
  await once(socket, 'secureConnect');
  return await converse(socket, lineOn(socket) + requestOf(route));
}

const lineOf = (by: PeerTls) => (socket: TLSSocket) => {
  const { label, sizeBytes } = MEMBER_EXPORTER;
  const exporter = socket.exportKeyingMaterial(sizeBytes, label, Buffer.alloc(0));
  return `${MEMBER_LINE}${by.membership.prove(peer.peer.peerId, exporter)}\n`;
};

const askPlainly = (route: Route, headers?: Record<string, string>): Promise<string> =>
  converse(connectPlain(addressOf(route)), requestOf(route, headers));

const ASKERS: Readonly<Record<string, (route: Route) => Promise<string>>> = {
  'plainly, without a proof': (route) => askPlainly(route),
  'plainly, with a proof that is sound': (route) => {
    const { peerId, privateKeyRaw } = member;
    const prover = createProver(readSwarmKey(peer.keyFile), peerId, privateKeyRaw);
    const asked = { method: route.method, path: pathOf(route), body: bodyOf(route) };
    return askPlainly(route, prover.prove(peer.peer.peerId, asked));
  },
  'by TLS, without a certificate': (route) => askSecurely(route, undefined),
  'by TLS, by a stranger': (route) =>
    askSecurely(route, createPeerTls(member, Buffer.alloc(32, 9))),
  'by TLS, by a stranger with a key of another swarm': (route) => {
    const stranger = createPeerTls(member, Buffer.alloc(32, 9));
    return askSecurely(route, stranger, lineOf(stranger));
  },
  'by TLS, by a member that says nothing': (route) => askSecurely(route, tls),
};

describe('a route between peers', () => {
  beforeAll(async () => {
    peer = await openPeer({});
    member = newIdentity();
    tls = showing(member);
  });
  afterAll(async () => {
    await peer[Symbol.asyncDispose]();
  });

  it('is known, each of them', () => {
    expect(ROUTES.length).toBeGreaterThan(9);
    expect(new Set(ROUTES.map(({ service }) => service))).toEqual(
      new Set(['discovery', 'storage', 'transfer']),
    );
  });

  describe.each(Object.entries(ASKERS))('asked %s', (_, ask) => {
    it.each(ROUTES.map((route) => [route.service, route.method, route.path, route] as const))(
      'is not answered: %s %s %s',
      async (__, ___, ____, route) => {
        // No answer at all, or one that says why there is none.
        expect(await ask(route)).toMatch(/^$|^HTTP\/1\.1 401[^]*problems\/proof-refused/);
      },
    );
  });

  it.each(ROUTES.map((route) => [route.service, route.method, route.path, route] as const))(
    'asked by TLS by a member is: %s %s %s',
    async (_, __, ___, route) => {
      const answer = await askSecurely(route, tls, lineOf(tls));
      expect(answer).toMatch(/^HTTP\/1\.1 (?:200|4)/);
      expect(answer).not.toContain('proof-refused');
    },
  );
});

describe('a route between peers of a swarm that has an owner', () => {
  const roster = createTestRoster();
  const [removed, stranger] = [newIdentity(), newIdentity()];
  beforeAll(async () => {
    peer = await openPeer({}, {}, (dataDir) =>
      roster.write(dataDir, [roster.add(identityAt(dataDir))]),
    );
    member = newIdentity();
    tls = showing(member);
    const records = [
      roster.add(member.peerId),
      roster.add(removed.peerId),
      roster.remove(removed.peerId),
    ];
    const { status } = await fetch(`${peer.peer.origins.gateway}/roster`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ records }),
    });
    if (status !== 200) throw new Error(`the roster was not taken: ${status}`);
    // The other services read it from the file.
    await eventually('all services know it', async () => {
      const routes = [storageRoutes.haveBlocks, transferRoutes.offerReplicas].map(
        (each): Route => each,
      );
      const answers = await Promise.all(routes.map((each) => askSecurely(each, tls)));
      return answers.every((answer) => !answer.includes('proof-refused'));
    });
  });
  afterAll(async () => {
    await peer[Symbol.asyncDispose]();
  });

  const askers: Readonly<Record<string, (route: Route) => Promise<string>>> = {
    'plainly, without a proof': (route) => askPlainly(route),
    'plainly, with a proof by the swarm key': (route) => {
      const { peerId, privateKeyRaw } = stranger;
      const prover = createProver(readSwarmKey(peer.keyFile), peerId, privateKeyRaw);
      const asked = { method: route.method, path: pathOf(route), body: bodyOf(route) };
      return askPlainly(route, prover.prove(peer.peer.peerId, asked));
    },
    'by TLS, without a certificate': (route) => askSecurely(route, undefined),
    'by TLS, by a stranger that has the swarm key': (route) =>
      askSecurely(route, showing(stranger), lineOf(showing(stranger))),
    'by TLS, by a stranger that says what a member would': (route) =>
      askSecurely(route, showing(stranger), lineOf(tls)),
    'by TLS, by a peer that was removed': (route) =>
      askSecurely(route, showing(removed), lineOf(showing(removed))),
  };
  describe.each(Object.entries(askers))('asked %s', (_, ask) => {
    it.each(ROUTES.map((route) => [route.service, route.method, route.path, route] as const))(
      'is not answered: %s %s %s',
      async (__, ___, ____, route) => {
        expect(await ask(route)).toMatch(/^$|^HTTP\/1\.1 401[^]*problems\/proof-refused/);
      },
    );
  });

  it.each(ROUTES.map((route) => [route.service, route.method, route.path, route] as const))(
    'asked by TLS by a member is, whatever it says: %s %s %s',
    async (_, __, ___, route) => {
      const answer = await askSecurely(route, tls);
      expect(answer).toMatch(/^HTTP\/1\.1 (?:200|4)/);
      expect(answer).not.toContain('proof-refused');
    },
  );

  it('gives a removed peer less than a stranger: not even a public one', async () => {
    const route: Route = discoveryRoutes.listPeers;
    expect(await askSecurely(route, showing(stranger))).toMatch(/^HTTP\/1\.1 200/);
    expect(await askSecurely(route, showing(removed))).toBe('');
  });
});
