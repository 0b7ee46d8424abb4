/**
 * ⑧ Verify: do these bytes have that name? Every block that comes from elsewhere passes here before
 * one byte of it is stored or sent on.
 */
import { createHash } from 'node:crypto';
import type { Cid } from '@shoal/protocol';
import { digestOf } from './cid.ts';

/** True when `bytes` hash to `cid`. */
export function verify(cid: Cid, bytes: Uint8Array): boolean {
  return createHash('sha256').update(bytes).digest().equals(digestOf(cid));
}
