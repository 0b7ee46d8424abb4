/**
 * How two peers begin to talk. Each says first, in clear, which version of the wire it speaks; then Noise
 * authenticates their identities, and proves in the same messages that both belong to the swarm.
 *
 * The proof is Noise's prologue: bytes that both sides mix into the handshake's hash and neither sends. They
 * are derived from the swarm key, so the tags of a stranger don't verify, and it is cut off before anything is
 * asked or served (docs/decisions/0024). `proveMembership` is all that knows of this.
 *
 * Rejected: a pre-shared key under Noise (XSalsa20 in JavaScript over all bytes, a fifth of the CPU of
 * messages), and a signature over the channel after Noise: until it comes a stranger would be inside.
 */
import { hkdfSync } from 'node:crypto';
import type { ConnectionEncrypter, ConnectionProtector } from '@libp2p/interface';
import { noise, type NoiseComponents } from '@libp2p/noise';
import { byteStream } from '@libp2p/utils';
import { allKeys, type Log, Seldom, type SwarmKeys } from '@shoal/chassis';
import type { Metrics } from '../metrics.ts';

/**
 * The version of all that peers say to each other: docs/protocol.md has the list of versions, and when this is
 * raised. 1 was the wire under a pre-shared key, which said no version.
 */
export const WIRE_VERSION = 3;

/** Six letters that no other protocol begins with, then the version as u16. */
const GREETING = Buffer.from('shoal\n');
const GREETING_BYTES = GREETING.byteLength + 2;

export interface Handshake {
  /** Runs first on every connection; libp2p has a place there for a protector, which this is not. */
  readonly connectionProtector: () => ConnectionProtector;
  readonly connectionEncrypters: ((components: NoiseComponents) => ConnectionEncrypter)[];
}

export function createHandshake({
  swarmKeys,
  wireVersion = WIRE_VERSION,
  ...deps
}: {
  readonly swarmKeys: SwarmKeys;
  /** Another one in tests. */
  readonly wireVersion?: number;
  readonly metrics: Pick<Metrics, 'handshakesRefused'>;
  readonly log: Pick<Log, 'warn'>;
  readonly onRefused?: OnRefused | undefined;
}): Handshake {
  const refused = createRefused(deps);
  const keys = allKeys(swarmKeys);
  const proofBy =
    (key: Uint8Array, protocol: string) =>
    (components: NoiseComponents): ConnectionEncrypter =>
      new Proof(proveMembership(key, wireVersion)(components), protocol, refused);
  return {
    connectionProtector: () => new Greeting(wireVersion, refused),
    // The two sides choose a key that both have, by its name; peers of before have one key, and name none.
    connectionEncrypters: [
      ...keys.map((key) => proofBy(key, `/noise/${nameOf(key)}`)),
      proofBy(keys[0], '/noise'),
    ],
  };
}

/** Noise between members: the one place that decides who is one. */
function proveMembership(swarmKey: Uint8Array, wireVersion: number) {
  const info = `shoal wire ${wireVersion} membership`;
  const prologueBytes = new Uint8Array(hkdfSync('sha256', swarmKey, '', info, 32));
  return noise({ prologueBytes });
}

/** A name for a key, said in clear; it reveals nothing of the key. */
const nameOf = (swarmKey: Uint8Array): string =>
  Buffer.from(hkdfSync('sha256', swarmKey, '', 'shoal key name v1', 4)).toString('hex');

/** Called for connections that are refused, once in a while for each host. */
export type OnRefused = (refused: { readonly address: string; readonly detail: string }) => void;
type Refused = (reason: 'version' | 'proof', connection: object, sentence: string) => void;

/** Counts connections that were refused because of what the other side is, and logs each host once in a while. */
function createRefused({
  metrics,
  log,
  onRefused,
}: {
  readonly metrics: Pick<Metrics, 'handshakesRefused'>;
  readonly log: Pick<Log, 'warn'>;
  readonly onRefused?: OnRefused | undefined;
}): Refused {
  const seldom = new Seldom();
  return (reason, connection, sentence) => {
    metrics.handshakesRefused.inc({ reason });
    const { remoteAddr } = connection as { readonly remoteAddr?: { toString(): string } }; // of a socket's end
    const address = String(remoteAddr);
    const [, , host = ''] = address.split('/');
    if (!seldom.isDue(`${reason} ${host}`)) return;
    log.warn({ address }, sentence);
    onRefused?.({ address: host, detail: `libp2p: ${reason}` });
  };
}

/** Says which wire this peer speaks, and goes on only with one that speaks the same. */
class Greeting implements ConnectionProtector {
  readonly #wireVersion: number;
  readonly #refused: Refused;

  constructor(wireVersion: number, refused: Refused) {
    this.#wireVersion = wireVersion;
    this.#refused = refused;
  }

  async protect(
    ...[connection, options]: Parameters<ConnectionProtector['protect']>
  ): ReturnType<ConnectionProtector['protect']> {
    const own = this.#wireVersion;
    const stream = byteStream(connection);
    const greeting = Buffer.alloc(GREETING_BYTES);
    GREETING.copy(greeting);
    greeting.writeUInt16BE(own, GREETING.byteLength);
    await stream.write(greeting, options);
    // A knock, or silence until the time is over, is not worth a line.
    const answer = await stream.read({ bytes: GREETING_BYTES, ...options });
    const said = Buffer.from(answer.subarray());
    const isShoal = said.subarray(0, GREETING.byteLength).equals(GREETING);
    const theirs = isShoal ? said.readUInt16BE(GREETING.byteLength) : undefined;
    if (theirs === own) return stream.unwrap();
    const sentence =
      theirs === undefined
        ? 'a connection was refused: the other side is a peer of an earlier version of Shoal, or none at all; run the same version on all peers'
        : `a connection was refused: the other peer speaks version ${theirs} of the wire, this one ${own}; run the same version of Shoal on all peers`;
    this.#refused('version', connection, sentence);
    throw new Error(sentence);
  }
}

/** The encrypter of a connection, whose failures are logged. */
class Proof implements ConnectionEncrypter {
  readonly protocol: string;
  readonly #inner: ConnectionEncrypter;
  readonly #refused: Refused;

  constructor(inner: ConnectionEncrypter, protocol: string, refused: Refused) {
    this.protocol = protocol;
    this.#inner = inner;
    this.#refused = refused;
  }

  secureInbound: ConnectionEncrypter['secureInbound'] = async (connection, options) =>
    await this.#tell(connection, options?.signal, this.#inner.secureInbound(connection, options));

  secureOutbound: ConnectionEncrypter['secureOutbound'] = async (connection, options) =>
    await this.#tell(connection, options?.signal, this.#inner.secureOutbound(connection, options));

  async #tell<T>(connection: object, signal: AbortSignal | undefined, secured: Promise<T>) {
    try {
      return await secured;
    } catch (cause) {
      if (signal?.aborted === true) throw cause;
      // One without the key gives up at our answer, so to the side that was called it looks like breaking off.
      const sentence =
        'a connection was refused: the other peer has another swarm key, or broke off the handshake';
      this.#refused('proof', connection, sentence);
      throw new Error(sentence, { cause });
    }
  }
}
