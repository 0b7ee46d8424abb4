/**
 * Which write token a peer has: the one that it was given; beyond this machine else one made from the swarm
 * key, so that a peer is closed to strangers though nobody thought of it, and all peers agree.
 *
 * Rejected: refusing to start without one, since then a user who follows a page types a secret and forgets
 * another machine; and chance, since each peer would have its own.
 */
import { hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import {
  ConfigError,
  type PeerConfig,
  readSwarmKey,
  WRITE_TOKEN_PATTERN,
} from '../process/config.ts';

/** Nobody guesses 24 bytes; as hex they need no quotes in any shell or header. */
const TOKEN_SIZE_BYTES = 24;

type TokenSettings = Pick<PeerConfig, 'WRITE_TOKEN' | 'WRITE_TOKEN_FILE'>;

/** The token of a peer, which has all rights there. */
export interface OwnToken {
  readonly text: string;
  /** Whether it was made from the swarm key, which all that ever were members know. */
  readonly isDerived: boolean;
}

/**
 * The token that writes at this peer need, and reads where those are closed too; undefined when every client that
 * reaches it may write. @throws ConfigError
 */
export function readOwnToken(
  config: TokenSettings & Pick<PeerConfig, 'BIND_HOST' | 'READ' | 'SWARM_KEY_FILE' | 'WRITE_OPEN'>,
): OwnToken | undefined {
  const given = readGivenToken(config);
  const isReadClosed = config.READ === 'token';
  if (isReadClosed && config.WRITE_OPEN)
    throw new ConfigError('READ=token and WRITE_OPEN exclude each other: who may write may read');
  if (given !== undefined) return { text: given, isDerived: false };
  if (config.WRITE_OPEN || (isThisMachine(config.BIND_HOST) && !isReadClosed)) return undefined;
  return { text: deriveWriteToken(readSwarmKey(config.SWARM_KEY_FILE)), isDerived: true };
}

/** The same as text. @throws ConfigError */
export const readWriteToken = (config: Parameters<typeof readOwnToken>[0]): string | undefined =>
  readOwnToken(config)?.text;

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
export function deriveWriteToken(swarmKey: Uint8Array): string {
  const bytes = hkdfSync('sha256', swarmKey, '', 'shoal write token v1', TOKEN_SIZE_BYTES);
  return Buffer.from(bytes).toString('hex');
}

/** Whether only programs of this machine reach what listens there. Any other name counts as a network. */
export function isThisMachine(bindHost: string): boolean {
  const host = bindHost.toLowerCase();
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost' || host.endsWith('.localhost');
}
