/** Peers with identities of their own, and a service of one of them that speaks TLS. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { MEMBER_LINE, type PeerId, route } from '@shoal/protocol';
import * as z from 'zod';
import {
  createHandshakeCounter,
  createLog,
  createPeerClient,
  createPeerTls,
  createProver,
  createRegistry,
  createServer,
  type Identity,
  identityOf,
  mount,
  type PeerClient,
  type PeerTls,
  type Prover,
  privateKeyOf,
} from '../../src/index.ts';
import { createCertificate } from '../../src/tls/certificate.ts';
import { exporterOf } from '../../src/tls/membership.ts';

export const SWARM_KEY = Buffer.alloc(32, 1);

export interface TestPeer extends Identity {
  readonly tls: PeerTls;
  readonly prover: Prover;
}

/** @param swarmKey Another one: a stranger's. */
export function newPeer(swarmKey: Uint8Array = SWARM_KEY): TestPeer {
  const identity = identityOf(generateKeyPairSync('ed25519').privateKey);
  const { peerId, privateKeyRaw } = identity;
  return {
    ...identity,
    tls: createPeerTls(identity, swarmKey),
    prover: createProver(swarmKey, peerId, privateKeyRaw, { takesOthers: false }),
  };
}

export const whoami = (audience: 'public' | 'peer' | 'local') =>
  route({
    service: 'storage',
    audience,
    method: 'GET',
    path: `/${audience}`,
    summary: 'Says who called.',
    params: z.object({}),
    query: z.object({}),
    body: undefined,
    reply: z.object({ caller: z.string() }),
  });

/** A service of that peer, with a route for each audience. */
export async function serve(peer: TestPeer) {
  const registry = createRegistry('storage');
  let log = '';
  const app = createServer({
    service: 'storage',
    log: createLog('storage', 'warn', {}, (line) => (log += line)),
    registry,
    whyNotReady: () => undefined,
    hostNames: [],
    peers: { tls: peer.tls, handshakes: createHandshakeCounter('storage', registry) },
  });
  const { peerId: self, prover } = peer;
  for (const audience of ['public', 'peer', 'local'] as const)
    mount({ app, prover, self }, whoami(audience), async ({ caller }) => ({ caller }));
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    app,
    origin,
    port: Number(new URL(origin).port),
    log: () => log,
    /** Handshakes that ended so. */
    async handshakes(outcome: string): Promise<number> {
      const line = (await registry.metrics())
        .split('\n')
        .find((each) => each.startsWith('shoal_storage_tls_') && each.includes(`"${outcome}"`));
      return Number(line?.split(' ').at(-1) ?? 0);
    },
    [Symbol.asyncDispose]: async () => {
      await app.close();
    },
  };
}

/** The client of a peer that has no services of its own. */
export function clientOf({ peerId, prover, tls }: TestPeer): PeerClient {
  const nowhere = 'http://127.0.0.1:1';
  const own = {
    gateway: nowhere,
    chunker: nowhere,
    storage: nowhere,
    transfer: nowhere,
    discovery: nowhere,
  };
  return createPeerClient({ prover, self: peerId, own, tls });
}

/** TLS by hand, with the peer's certificate or none, and resolved once the handshake is done. */
export async function dial(
  port: number,
  peer: Pick<Identity, 'privateKeyRaw'> | undefined,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const key = peer && privateKeyOf(peer.privateKeyRaw);
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ...(key && {
      key: key.export({ type: 'pkcs8', format: 'pem' }),
      cert: createCertificate(key),
    }),
    ...options,
  });
  socket.on('error', () => {}); // the other side may hang up, rightly
  await once(socket, 'secureConnect');
  return socket;
}

/** The line that proves membership on a connection. */
export const lineOn = (socket: TLSSocket, peer: TestPeer, target: PeerId): string =>
  `${MEMBER_LINE}${peer.tls.membership.prove(target, exporterOf(socket))}\n`;

/** Sends a request, and maybe something before it; answers all that came until the other side closed. */
export async function ask(socket: TLSSocket, path: string, before = ''): Promise<string> {
  let got = '';
  socket.on('data', (bytes) => (got += String(bytes)));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(`${before}GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  await closed;
  return got;
}
