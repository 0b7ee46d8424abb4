/** Key pairs of Ed25519 that are made from 32 bytes: those of owners, invitations and tokens. */
import { createPrivateKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import type { KeyId } from '@shoal/protocol';
import { identityOf } from '../process/identity.ts';

export const SEED_SIZE_BYTES = 32;
/** PKCS #8 of an Ed25519 key, up to its 32 bytes (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface KeyPair {
  readonly id: KeyId;
  readonly privateKey: KeyObject;
}

/** @param seed 32 bytes. */
export function keyPairOf(seed: Uint8Array): KeyPair {
  const key = Buffer.concat([PKCS8_PREFIX, seed]);
  const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  return { id: identityOf(privateKey).peerId, privateKey };
}

/** The pair of a shorter secret, such as one that people copy. */
export const keyPairOfSecret = (secret: Uint8Array, purpose: string): KeyPair =>
  keyPairOf(new Uint8Array(hkdfSync('sha256', secret, '', `shoal ${purpose} v1`, SEED_SIZE_BYTES)));

export const createSeed = (): Uint8Array => randomBytes(SEED_SIZE_BYTES);
