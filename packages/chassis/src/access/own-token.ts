/**
 * Which write token a peer has: the one that it was given; beyond this machine else one made from the swarm
 * key, so that a peer is closed to strangers though nobody thought of it, and all peers agree. Once the swarm has an
 * owner it is made from the peer's own key: a member that was removed knows that of the swarm.
 *
 * Rejected: refusing to start without one, since then a user who follows a page types a secret and forgets
 * another machine; and chance, since each peer would have its own.
 */
import { hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import {
  ConfigError,
  type PeerConfig,
  readSwarmKey,
  WRITE_TOKEN_PATTERN,
} from '../process/config.ts';
import { openIdentity } from '../process/identity.ts';

/** Nobody guesses 24 bytes; as hex they need no quotes in any shell or header. */
const TOKEN_SIZE_BYTES = 24;

type TokenSettings = Pick<PeerConfig, 'WRITE_TOKEN' | 'WRITE_TOKEN_FILE'>;

/** The token of a peer, which has all rights there. */
export interface OwnToken {
  readonly text: string;
  /** The one in its place once the swarm has an owner; the same where an operator chose it. */
  readonly whenOwned: string;
}

type Settings = TokenSettings &
  Pick<PeerConfig, 'BIND_HOST' | 'READ' | 'SWARM_KEY_FILE' | 'WRITE_OPEN'>;

/**
 * The token that writes at this peer need, and reads where those are closed too; undefined when every client that
 * reaches it may write. @throws ConfigError
 */
export function readOwnToken(
  config: Settings & Pick<PeerConfig, 'PEER_DATA_DIR'>,
): OwnToken | undefined {
  const text = readWriteToken(config);
  if (text === undefined) return undefined;
  const isGiven = readGivenToken(config) !== undefined;
  return { text, whenOwned: isGiven ? text : derivePeerToken(config.PEER_DATA_DIR) };
}

/** The token of a peer in a swarm without an owner. @throws ConfigError */
export function readWriteToken(config: Settings): string | undefined {
  const given = readGivenToken(config);
  const isReadClosed = config.READ === 'token';
  if (isReadClosed && config.WRITE_OPEN)
    throw new ConfigError('READ=token and WRITE_OPEN exclude each other: who may write may read');
  if (given !== undefined || config.WRITE_OPEN) return given;
  if (isThisMachine(config.BIND_HOST) && !isReadClosed) return undefined;
  return deriveWriteToken(readSwarmKey(config.SWARM_KEY_FILE));
}

/** The token that the settings hold, if any. @throws ConfigError */
export function readGivenToken({
  WRITE_TOKEN: given,
  WRITE_TOKEN_FILE: file,
}: TokenSettings): string | undefined {
  if (!file) return given || undefined;
  if (given) throw new ConfigError('give WRITE_TOKEN or WRITE_TOKEN_FILE, not both');
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new ConfigError(`WRITE_TOKEN_FILE: can't read ${file}`, { cause });
  }
  if (text === '' || !WRITE_TOKEN_PATTERN.test(text))
    throw new ConfigError(`WRITE_TOKEN_FILE: ${file} must hold 16 to 256 printable characters`);
  return text;
}

/** The token of a swarm whose peers were given none; it tells nothing of the key. */
export const deriveWriteToken = (swarmKey: Uint8Array): string =>
  derive(swarmKey, 'shoal write token v1');

/** That of one peer alone, by its own key. @throws ConfigError */
export const derivePeerToken = (peerDataDir: string): string =>
  derive(
    openIdentity(join(peerDataDir, 'identity.key')).privateKeyRaw,
    'shoal peer write token v1',
  );

const derive = (secret: Uint8Array, purpose: string): string =>
  Buffer.from(hkdfSync('sha256', secret, '', purpose, TOKEN_SIZE_BYTES)).toString('hex');

/** Whether only programs of this machine reach what listens there. Any other name counts as a network. */
export function isThisMachine(bindHost: string): boolean {
  const host = bindHost.toLowerCase();
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost' || host.endsWith('.localhost');
}
