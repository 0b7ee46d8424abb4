/**
 * `Want-Repr-Digest` (RFC 9530 §4): a dictionary (RFC 9651 §3.2) of algorithms with a preference from
 * 0 to 10, where 0 is "not this one". We have sha-256 and send it anyway, so all that a reader can
 * change is that it is left out.
 */

/** Key, integer, then parameters, which mean nothing here. */
const MEMBER = /^([a-z*][a-z0-9_.*-]*)=(\d{1,2})(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=[^,;"\s]+)?)*$/;
const PREFERENCE_HIGHEST = 10;

/** Whether the answer should carry the sha-256. A header that can't be read says nothing (RFC 9651 §4.2). */
export function wantsSha256(header: string | readonly string[] | undefined): boolean {
  if (header === undefined) return true;
  let isWanted = true;
  for (const member of String(header).split(',')) {
    const [, algorithm, preference] = MEMBER.exec(member.trim()) ?? [];
    if (algorithm === undefined || Number(preference) > PREFERENCE_HIGHEST) return true;
    if (algorithm === 'sha-256') isWanted = Number(preference) > 0; // of two, the last counts
  }
  return isWanted;
}
