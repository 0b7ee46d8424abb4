import type { IncomingMessage, Server } from 'node:http';
import { join } from 'node:path';
// Not chassis as a whole: nearly every test loads this package.
import { readSwarmKey } from '@shoal/chassis/config';
import { openIdentity } from '@shoal/chassis/identity';
import { acceptPeers, createPeerTls, memberAt } from '@shoal/chassis/tls';
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
    log: { warn: () => {} },
  });
  return ({ socket }) => memberAt(socket) ?? identity.peerId;
}
