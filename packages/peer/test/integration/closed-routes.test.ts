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
beforeAll(async () => {
  peer = await openPeer({});
  member = identityOf(generateKeyPairSync('ed25519').privateKey);
  tls = createPeerTls(member, readSwarmKey(peer.keyFile));
});
afterAll(async () => {
  await peer[Symbol.asyncDispose]();
});

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
