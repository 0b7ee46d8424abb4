/**
 * A peer's identity: an Ed25519 key that lives with the data. A wiped disk is a new peer.
 *
 * Kept as PKCS #8 in PEM, readable by its owner alone. The peer id is the libp2p one: base58btc of
 * the identity multihash of the protobuf-wrapped public key (libp2p specs, peer-ids).
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { PeerId } from '@shoal/protocol';
import { base58btc } from 'multiformats/bases/base58';
import { ConfigError } from './config.ts';
import { syncFolder } from './durable-files.ts';

export interface Identity {
  readonly peerId: PeerId;
  /** The 32-byte seed followed by the 32-byte public key: the form that libp2p reads. */
  readonly privateKeyRaw: Uint8Array;
}

/** Identity multihash (0x00), 36 bytes; protobuf: key type Ed25519, 32 bytes of data. */
const PEER_ID_PREFIX = Buffer.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);
const KEY_SIZE_BYTES = 32;

/** The peer whose public key this is. @param publicKey Ed25519 */
export function peerIdOf(publicKey: KeyObject): PeerId {
  const raw = Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url');
  return PeerId.parse(base58btc.baseEncode(Buffer.concat([PEER_ID_PREFIX, raw])));
}

/** The public key that a peer id is; undefined when it holds another kind of key. */
export function publicKeyOf(peerId: PeerId): KeyObject | undefined {
  const id = Buffer.from(base58btc.baseDecode(peerId));
  const raw = id.subarray(PEER_ID_PREFIX.length);
  const isEd25519 = PEER_ID_PREFIX.equals(id.subarray(0, PEER_ID_PREFIX.length));
  if (!isEd25519 || raw.length !== KEY_SIZE_BYTES) return undefined;
  return publicKeyOfRaw(raw);
}

/** @param raw 32 bytes */
export function publicKeyOfRaw(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/** @param privateKeyRaw Seed and public key, as in `Identity`. */
export function privateKeyOf(privateKeyRaw: Uint8Array): KeyObject {
  const raw = Buffer.from(privateKeyRaw);
  const d = raw.subarray(0, KEY_SIZE_BYTES).toString('base64url');
  const x = raw.subarray(KEY_SIZE_BYTES).toString('base64url');
  return createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x }, format: 'jwk' });
}

/** The identity whose private key this is. @throws ConfigError when it is another kind of key */
export function identityOf(key: KeyObject, file = 'the key'): Identity {
  if (key.asymmetricKeyType !== 'ed25519')
    throw new ConfigError(`${file} is not an Ed25519 key; restore it or remove it`);
  const { d, x } = key.export({ format: 'jwk' });
  return {
    peerId: peerIdOf(createPublicKey(key)),
    privateKeyRaw: Buffer.concat([d, x].map((part) => Buffer.from(String(part), 'base64url'))),
  };
}

/**
 * Opens the key in `file`, or makes one there. Two processes that race end with the same key.
 * @throws ConfigError when the file holds something else.
 */
export function openIdentity(file: string): Identity {
  return identityOf(readKey(file) ?? createKey(file), file);
}

/**
 * Puts the key in `file`, if there is one, beside it, so that a new one is made. Once only: a peer that is
 * told so at every start must not become another one each time.
 * @throws ConfigError when that was done before.
 */
export function putAsideIdentity(file: string): void {
  const old = `${file}.old`;
  try {
    linkSync(file, old); // unlike a rename it replaces nothing
    rmSync(file);
    syncFolder(dirname(file));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    if (code !== 'EEXIST') throw cause;
    throw new ConfigError(
      `this folder got a new identity before (${old} is the one it had); start it without --new-identity, or remove that file if it is to become yet another peer`,
      { cause },
    );
  }
}

function readKey(file: string): KeyObject | undefined {
  try {
    return createPrivateKey(readFileSync(file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ConfigError(`${file} is not a private key in PEM; restore it or remove it`, {
      cause,
    });
  }
}

function createKey(file: string): KeyObject {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync('ed25519');
  const draft = `${file}.${process.pid}`;
  try {
    writeFileSync(draft, privateKey.export({ type: 'pkcs8', format: 'pem' }), {
      mode: 0o600,
      flush: true,
    });
    linkSync(draft, file); // fails when another process was faster: then its key is the key
    syncFolder(dirname(file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  } finally {
    rmSync(draft, { force: true });
  }
  return createPrivateKey(readFileSync(file));
}
