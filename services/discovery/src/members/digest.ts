import { createHash } from 'node:crypto';
import type { MemberRecord } from '@shoal/protocol';

/** The same for two peers that have the same records of the same members. */
export function digestOf(records: readonly MemberRecord[]): string {
  const lines = records
    .map(({ peerId, incarnation, seq }) => `${peerId} ${incarnation} ${seq}`)
    .toSorted();
  return createHash('sha256').update(lines.join('\n')).digest('base64url');
}
