import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import { join } from 'node:path';
// Not chassis as a whole: nearly every test loads this package.
import { readSwarmKey } from '@shoal/chassis/config';
import { openIdentity } from '@shoal/chassis/identity';
import { acceptPeers, createPeerTls, memberAt, type PeerTls } from '@shoal/chassis/tls';
import type { PeerClient } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { Peer } from './start-peer.ts';

/**
 * Lets a test's server take calls in the name of a peer whose folder is here: of others by TLS, and of its own services.
 * Answers who sent a request.
 */
export function acceptAs(
  server: Server,
  { dataDir, keyFile }: Pick<Peer, 'dataDir' | 'keyFile'>,
): (request: IncomingMessage) => PeerId {
  const identity = openIdentity(join(dataDir, 'identity.key'));
  acceptPeers(server, {
    tls: createPeerTls(identity, readSwarmKey(keyFile)),
    handshakes: { inc: () => {} },
    log: { debug: () => {}, warn: () => {} },
  });
  return ({ socket }) => memberAt(socket) ?? identity.peerId;
}

/** The certificate of a data folder, whose key is made when there is none. */
export const peerTlsOf = (dataDir: string): PeerTls =>
  createPeerTls(openIdentity(join(dataDir, 'identity.key')), randomBytes(32));

/** A client that calls other peers as the peer of a data folder. */
export async function secureClientOf(dataDir: string, keyFile: string): Promise<PeerClient> {
  const { createPeerClient, createProver } = await import('@shoal/chassis');
  const identity = openIdentity(join(dataDir, 'identity.key'));
  const swarmKey = readSwarmKey(keyFile);
  const self = identity.peerId;
  const prover = createProver(swarmKey, self, identity.privateKeyRaw);
  const own = { gateway: '', chunker: '', storage: '', transfer: '', discovery: '' };
  return createPeerClient({ prover, self, own, tls: createPeerTls(identity, swarmKey) });
}
