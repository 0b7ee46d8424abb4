/** Making and checking the proof of a request (`protocol/proof.ts`), for plain HTTP. */
import assert from 'node:assert';
import {
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { join } from 'node:path';
import { PROOF_HEADER, PeerId, ProofRefused, proofMessage } from '@shoal/protocol';
import { allKeys, type PeerConfig, readSwarmKeys, type SwarmKeys } from '../process/config.ts';
import { openIdentity } from '../process/identity.ts';
import type { Roster } from '../roster/roster.ts';

export interface ProvenRequest {
  readonly method: string;
  /** Path with query, as on the request line. */
  readonly path: string;
  /** The body when it is JSON; streamed bytes are not covered, blocks verify themselves. */
  readonly body?: Uint8Array | string | undefined;
}

export interface Prover {
  /** Headers that prove this request to `target`. */
  prove(target: string, request: ProvenRequest): Record<string, string>;
  /**
   * Checks a request that was sent to us; answers who sent it.
   * @throws ProofRefused
   */
  check(header: string | undefined, request: ProvenRequest): PeerId;
}

/** The prover of a service, from the settings that all services share. @throws ConfigError */
export function openProver(
  config: Pick<PeerConfig, 'PEER_ID' | 'PEER_DATA_DIR' | 'SWARM_KEY_FILE' | 'PEER_TLS'>,
  roster?: Roster,
): Prover {
  return createProver(
    readSwarmKeys(config.SWARM_KEY_FILE),
    config.PEER_ID,
    readLocalSecret(config.PEER_DATA_DIR),
    { takesOthers: config.PEER_TLS === 'off', roster },
  );
}

/** The secret that only the services of one peer know: its identity key. @throws ConfigError */
export function readLocalSecret(peerDataDir: string): Uint8Array {
  return openIdentity(join(peerDataDir, 'identity.key')).privateKeyRaw;
}

const EMPTY_SHA256 = createHash('sha256').digest('hex');

/**
 * The HMAC keys are derived, so that libp2p's use of the swarm key and ours stay apart. Among the
 * services of one peer the key is that peer's own secret: a member can't pass for another's service.
 */
export function createProver(
  swarmKeys: SwarmKeys,
  self: PeerId,
  localSecret: Uint8Array,
  {
    takesOthers = true,
    roster,
  }: {
    /** Whether proofs of other members are taken: not where those must come by TLS. */
    readonly takesOthers?: boolean;
    /** Where there is one, the key alone makes nobody a member. */
    readonly roster?: Roster | undefined;
  } = {},
): Prover {
  // As a key object: node would prepare a bare key anew for every block (12 µs, not 3).
  const derive = (secret: Uint8Array, info: string) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', info, 32)));
  const [swarmProofKey, ...otherKeys] = allKeys(swarmKeys).map((key) =>
    derive(key, 'shoal http proof v1'),
  );
  assert(swarmProofKey !== undefined, 'there is a key');
  const localProofKey = derive(localSecret, 'shoal local proof v1');
  const sign = (
    source: string,
    target: string,
    { method, path, body }: ProvenRequest,
    key = swarmProofKey,
  ): Buffer => {
    const bodySha256 =
      body === undefined || body.length === 0
        ? EMPTY_SHA256
        : createHash('sha256').update(body).digest('hex');
    const isLocal = source === self && target === self;
    return createHmac('sha256', isLocal ? localProofKey : key)
      .update(proofMessage({ source, target, method, path, bodySha256 }))
      .digest();
  };
  return {
    prove: (target, request) => ({
      [PROOF_HEADER]: `v1 ${self} ${sign(self, target, request).toString('base64url')}`,
    }),
    check(header, request) {
      if (header === undefined)
        throw new ProofRefused({
          reason: takesOthers
            ? `${PROOF_HEADER} is missing`
            : 'the connection is not one by TLS on which a member proved itself',
        });
      const [version, source, mac] = header.split(' ');
      const parsed = PeerId.safeParse(source);
      if (version !== 'v1' || !parsed.success || mac === undefined)
        throw new ProofRefused({ reason: `${PROOF_HEADER} is malformed` });
      if (!takesOthers && parsed.data !== self)
        throw new ProofRefused({
          reason:
            'this peer takes nothing from others by plain HTTP: set PEER_TLS=on at the peer that called, or off at this one',
        });
      if (parsed.data !== self && roster?.hasMember(parsed.data) === false)
        throw new ProofRefused({ reason: `${parsed.data} is not on the roster of this swarm` });
      const given = Buffer.from(mac, 'base64url');
      const isBy = (key: KeyObject): boolean => {
        const expected = sign(parsed.data, self, request, key);
        return given.length === expected.length && timingSafeEqual(given, expected);
      };
      if (!isBy(swarmProofKey) && !otherKeys.some(isBy))
        throw new ProofRefused({ reason: `${PROOF_HEADER} does not match this swarm's key` });
      return parsed.data;
    },
  };
}
