/**
 * A peer's side of TLS with others: its certificate, and the rules that hold at both ends.
 *
 * TLS 1.3 alone, and signatures by Ed25519 alone, as that is what peer ids are. Sessions are never resumed: a ticket
 * counts as the certificate that it was given for, in any hands, and the client sees none at all. Node's
 * `authorized` decides nothing here, for or against: it is about certificate authorities, which there are none of, and
 * NODE_TLS_REJECT_UNAUTHORIZED changes it.
 */
import { join } from 'node:path';
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { PeerId } from '@shoal/protocol';
import { type PeerConfig, readSwarmKeys, type SwarmKeys } from '../process/config.ts';
import { type Identity, openIdentity, privateKeyOf } from '../process/identity.ts';
import type { Log } from '../process/log.ts';
import type { Roster } from '../roster/roster.ts';
import { createCertificate } from './certificate.ts';
import { createMembership, type Membership } from './membership.ts';

export interface PeerTls {
  readonly self: PeerId;
  readonly membership: Membership;
  /** Of servers. */
  readonly serverOptions: SecureContextOptions & { readonly honorCipherOrder: boolean };
  /** Of connections that this peer opens. */
  readonly context: SecureContext;
}

/**
 * TLS by the settings that all services share; undefined when it is off.
 * @throws ConfigError
 */
export function openPeerTls(
  config: Pick<PeerConfig, 'PEER_TLS' | 'PEER_DATA_DIR' | 'SWARM_KEY_FILE'>,
  log: Pick<Log, 'warn'>,
  roster: Roster,
): PeerTls | undefined {
  if (config.PEER_TLS === 'off') {
    log.warn('PEER_TLS is off: what this peer and others send each other over HTTP is in clear');
    return undefined;
  }
  const identity = openIdentity(join(config.PEER_DATA_DIR, 'identity.key'));
  return createPeerTls(identity, readSwarmKeys(config.SWARM_KEY_FILE), roster);
}

export function createPeerTls(
  { peerId: self, privateKeyRaw }: Identity,
  swarmKeys: SwarmKeys,
  roster?: Roster,
): PeerTls {
  const privateKey = privateKeyOf(privateKeyRaw);
  const options: SecureContextOptions = {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: createCertificate(privateKey),
    ca: [], // or Node reads all those that it brings along, a hundred, to compare with
    minVersion: 'TLSv1.3',
    // The first costs the least where the CPU has AES.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384',
    sigalgs: 'ed25519',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  return {
    self,
    membership: createMembership(swarmKeys, self, roster),
    serverOptions: { ...options, honorCipherOrder: true },
    context: createSecureContext(options),
  };
}
