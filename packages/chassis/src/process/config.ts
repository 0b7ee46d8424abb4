import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { HOST, PeerId, PublicRead, type Service } from '@shoal/protocol';
import * as z from 'zod';
import { isNetwork } from './client-address.ts';

/** Exit code for bad configuration: EX_CONFIG of sysexits.h. */
export const EXIT_CONFIG = 78;

const Port = z.coerce.number().int().min(0).max(65_535);
const Origin = z.url({ protocol: /^https?$/ });
/** More would no longer be a choice. Past it: the service does not start. */
const TRUSTED_PROXIES_MAX = 64;

/** A write token: long enough that nobody guesses it, and safe in a header. Empty is none. */
export const WRITE_TOKEN_PATTERN = /^$|^[!-~]{16,256}$/;

/** Settings that every service of a peer gets from the program that starts it, as a rule the launcher. */
export const PeerConfig = z.object({
  /** The peer's identity; the key itself stays with discovery. */
  PEER_ID: PeerId,
  /** Folder of this peer: everything that must survive is below it. */
  PEER_DATA_DIR: z.string().min(1),
  /** File with the swarm key: 64 hex digits. It makes its holder a member. */
  SWARM_KEY_FILE: z.string().min(1),
  /**
   * Token that every write over the public routes must carry, as `Authorization: Bearer <token>`: 16 to
   * 256 printable characters. Without one it is made from the swarm key (`shoal token` prints it); a peer that
   * only this machine reaches has none then, and every program on it may write.
   */
  WRITE_TOKEN: z
    .string()
    .regex(WRITE_TOKEN_PATTERN, 'must be 16 to 256 printable characters without spaces')
    .optional(),
  /** File that holds that token, instead. */
  WRITE_TOKEN_FILE: z.string().optional(),
  /** Whether every client that reaches the ports may write, on a network too, as long as no token is given. */
  WRITE_OPEN: z.stringbool().default(false),
  /**
   * Whether everybody may read, or only who has a token with that right: `token` closes downloads, listings, metrics
   * and events, and then this machine's programs need one too.
   */
  READ: z.enum(['open', 'token']).default('open'),
  /**
   * Reads that stay open to everybody with READ=token, with commas between: `ipfs` (everything below /ipfs/), `routing`
   * (/routing/v1), `torrents` (.torrent and .meta4), `files` (downloads by hash, which those two point to).
   */
  READ_PUBLIC: z
    .string()
    .max(100)
    .default('')
    .transform((text) => text.split(',').map((part) => part.trim()))
    .transform((parts) => parts.filter((part) => part !== ''))
    .pipe(z.array(PublicRead)),
  /**
   * Whether peers talk to each other by TLS; `off` is for wires that nobody else is on, and must be so at all peers: one
   * that has it on talks plainly to none.
   */
  PEER_TLS: z.enum(['on', 'off']).default('on'),
  /** Unix socket of this peer's own Redis. */
  REDIS_SOCKET: z.string().min(1),
  /** Address that the HTTP servers listen on. The default lets nobody in from outside. */
  BIND_HOST: z.string().min(1).default('127.0.0.1'),
  /** Host that other peers call; when empty, the address we bind, or the first one of this machine. */
  DISCOVERY_ADVERTISE_HOST: z
    .string()
    .max(253)
    .refine((host) => host === '' || isIPv6(host) || HOST.test(host), {
      message: 'is neither a host name in ASCII nor an address',
    })
    .default(''),
  /**
   * Public DNS names, with commas between, under which this peer answers. Addresses, `localhost`, names of one
   * label, of a local network, and what DISCOVERY_ADVERTISE_HOST says need no mention.
   */
  GATEWAY_HOST_NAMES: z
    .string()
    .max(4096)
    .default('')
    .transform((text) =>
      text
        .split(',')
        .map((name) => name.trim().toLowerCase())
        .filter((name) => name !== ''),
    ),
  /**
   * Proxies in front of this peer whose `X-Forwarded-For` is believed: addresses and networks, with
   * commas between, such as `10.0.0.0/8, fd00::/8`. Clients behind any other share what one client may have.
   */
  TRUSTED_PROXIES: z
    .string()
    .max(4096)
    .default('')
    .transform((text) => text.split(',').map((part) => part.trim()))
    .transform((parts) => parts.filter((part) => part !== ''))
    .pipe(
      z
        .array(z.string().refine(isNetwork, 'must be addresses or networks, such as 10.0.0.0/8'))
        .max(TRUSTED_PROXIES_MAX),
    ),
  /**
   * Whether tokens are taken over plain HTTP from beyond this machine too, where everybody on the way can read them: for a
   * network that nobody else is on, or where something else encrypts it.
   */
  TOKENS_OVER_HTTP: z.enum(['on', 'off']).default('off'),
  /**
   * File with the certificate by which the gateway speaks HTTPS, and those that lead from it to a known authority, in
   * PEM; read again when it changes. Default: none, and the gateway speaks plain HTTP.
   */
  GATEWAY_TLS_CERT_FILE: z.string().optional(),
  /** File with the private key of that certificate, in PEM and without a passphrase. */
  GATEWAY_TLS_KEY_FILE: z.string().optional(),
  /** Least important lines that are logged. */
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  /** Longest wait for requests in flight when stopping. */
  SHUTDOWN_TIMEOUT_MS: z.coerce.number().int().min(0).max(600_000).default(8000),
  /** Process that started this one, and holds its stdin open: the service stops when that is gone. Default: none. */
  LAUNCHER_PID: z.coerce.number().int().positive().optional(),
  /** Origin at which this peer's services reach its gateway. */
  GATEWAY_URL: Origin,
  /** The same for chunker. */
  CHUNKER_URL: Origin,
  /** The same for storage. */
  STORAGE_URL: Origin,
  /** The same for transfer. */
  TRANSFER_URL: Origin,
  /** The same for discovery. */
  DISCOVERY_URL: Origin,
});
export type PeerConfig = z.infer<typeof PeerConfig>;

/** A port setting: 0 lets the system choose. */
export const portSetting = (fallback: number) =>
  Port.default(fallback).describe("Port of this service's HTTP server; 0 lets the system choose.");

/** Origins of this peer's own services, by name. */
export function ownEndpoints(config: PeerConfig): Readonly<Record<Service, string>> {
  return {
    gateway: config.GATEWAY_URL,
    chunker: config.CHUNKER_URL,
    storage: config.STORAGE_URL,
    transfer: config.TRANSFER_URL,
    discovery: config.DISCOVERY_URL,
  };
}

/**
 * Reads the environment once, at start. Every mistake is reported together, by variable name.
 * @throws ConfigError
 */
export function loadConfig<S extends z.ZodObject>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
): Readonly<z.infer<S>> {
  const parsed = schema.safeParse(env);
  if (!parsed.success)
    throw new ConfigError(
      `invalid configuration: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')}`,
    );
  return Object.freeze(parsed.data);
}

/** The environment or a file it names is wrong: the process exits with `EXIT_CONFIG`. */
export class ConfigError extends Error {}

/**
 * The swarm key, 32 bytes; or, while it is turned, the keys that are valid, of which the first is shown to others.
 */
export type SwarmKeys = Uint8Array | readonly [Uint8Array, ...Uint8Array[]];

export const allKeys = (keys: SwarmKeys): readonly [Uint8Array, ...Uint8Array[]] =>
  keys instanceof Uint8Array ? [keys] : keys;

/**
 * Reads the swarm key: 32 bytes, written as 64 hex digits; on a second line the other one that is valid.
 * @throws ConfigError
 */
export function readSwarmKeys(file: string): readonly [Uint8Array, ...Uint8Array[]] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new ConfigError(`SWARM_KEY_FILE: can't read ${file}`, { cause });
  }
  const [first = '', ...others] = text.split(/\s+/);
  if (others.length > 1 || ![first, ...others].every((line) => /^[0-9a-f]{64}$/i.test(line)))
    throw new ConfigError(
      `SWARM_KEY_FILE: ${file} must hold 64 hex digits, and as many on a second line while the key is turned`,
    );
  return [Buffer.from(first, 'hex'), ...others.map((line) => Buffer.from(line, 'hex'))];
}

/** The key that is shown to others. @throws ConfigError */
export const readSwarmKey = (file: string): Uint8Array => readSwarmKeys(file)[0];
