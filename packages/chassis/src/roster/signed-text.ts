/**
 * Texts that a key signed, such as records of members, pins, and records of the roster: Ed25519 (RFC 8032) over
 * `shoal-<kind>-v1`, a newline, and the text, which travels as it is. Keys are spelled as peer ids are, so that
 * nothing is looked up.
 */
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import type { KeyId, SignedRecord } from '@shoal/protocol';
import { publicKeyOf } from '../process/identity.ts';
import { RecentMap } from '../shares/recent-map.ts';

/** Parsed public keys kept: one a member, and some. Past it: the one that was met least recently is parsed again, 0.05 ms. */
const KEYS_MAX = 2048;

export function signText(kind: string, payload: string, key: KeyObject): SignedRecord {
  return { payload, signature: sign(null, message(kind, payload), key).toString('base64url') };
}

/** About 0.1 ms. */
export const isSignedBy = (
  kind: string,
  { payload, signature }: SignedRecord,
  by: KeyId,
): boolean => isSignature(message(kind, payload), signature, by);

/** The same for bytes of any form. @param signature In base64url. */
export function isSignature(bytes: Uint8Array, signature: string, by: KeyId): boolean {
  const key = keys.get(by) ?? publicKeyOf(by);
  if (key === undefined) return false;
  keys.set(by, key);
  return verify(null, bytes, key, Buffer.from(signature, 'base64url'));
}

export const hashOfText = (payload: string): string =>
  createHash('sha256').update(payload).digest('base64url');

const keys = new RecentMap<KeyId, KeyObject>({ max: KEYS_MAX });

const message = (kind: string, payload: string) => Buffer.from(`shoal-${kind}-v1\n${payload}`);
