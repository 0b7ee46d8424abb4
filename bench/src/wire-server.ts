/**
 * The far end of `wire-bench.ts`, a process of its own: a service that gives one block over and over, to a peer that
 * comes plainly or by TLS, and a bare TLS server that writes without end. Says where they are, and its CPU time when asked.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import {
  createHandshakeCounter,
  createLog,
  createPeerTls,
  createProver,
  createRegistry,
  createServer,
  type Identity,
  mountRaw,
} from '@shoal/chassis';
import { storageRoutes } from '@shoal/protocol';

export interface WireServer {
  readonly service: string;
  readonly barePort: number;
}

const MiB = 1024 * 1024;
const { identity, swarmKey } = JSON.parse(process.argv[2] ?? '') as {
  identity: { peerId: Identity['peerId']; privateKeyRaw: string };
  swarmKey: string;
};
const { peerId: self } = identity;
const privateKeyRaw = Buffer.from(identity.privateKeyRaw, 'hex');
const block = randomBytes(MiB);
const registry = createRegistry('storage');
const tls = createPeerTls({ peerId: self, privateKeyRaw }, Buffer.from(swarmKey, 'hex'));
const app = createServer({
  service: 'storage',
  log: createLog('storage', 'warn'),
  registry,
  whyNotReady: () => undefined,
  hostNames: [],
  peers: { tls, handshakes: createHandshakeCounter('storage', registry) },
});
const prover = createProver(Buffer.from(swarmKey, 'hex'), self, privateKeyRaw);
mountRaw({ app, prover, self }, storageRoutes.getBlock, async ({ request, reply }) => {
  reply.hijack();
  reply.raw.writeHead(200, { 'content-length': MiB });
  if (request.raw.socket instanceof TLSSocket) reply.raw.flushHeaders(); // as storage does
  reply.raw.end(block);
});
const service = await app.listen({ host: '127.0.0.1', port: 0 });
const bare = createTlsServer({ ...tls.serverOptions }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    for (let count = bytes.length; count > 0; count -= 1) socket.write(block); // one for each byte
  });
});
await once(bare.listen(0, '127.0.0.1'), 'listening');
const { port: barePort } = bare.address() as AddressInfo; // it listens on TCP
process.send?.({ service, barePort } satisfies WireServer);
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send?.((user + system) / 1e6);
});
process.on('disconnect', () => process.exit(0));
