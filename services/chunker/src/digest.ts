/**
 * `Repr-Digest` (RFC 9530 §3): a dictionary of structured fields (RFC 9651 §3.2) whose values are
 * byte sequences, as in `sha-256=:4REjxQ…=:`. We know sha-256; other algorithms are passed over.
 */
import { RequestInvalid, Sha256 } from '@shoal/protocol';

const SHA256_SIZE_BYTES = 32;
/** Key, byte sequence, then parameters, which mean nothing here. */
const MEMBER =
  /^([a-z*][a-z0-9_.*-]*)=:((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?):(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=[^,;"\s]+|="[^"\\]*")?)*$/;

/**
 * The sha-256 that the sender says the file has; undefined when the header doesn't say.
 * @throws RequestInvalid for a header that is not such a dictionary.
 */
export function parseReprDigest(header: string | undefined): Sha256 | undefined {
  if (header === undefined) return undefined;
  let digest: Sha256 | undefined;
  for (const member of header.split(',')) {
    const [, algorithm, base64] = MEMBER.exec(member.trim()) ?? [];
    if (algorithm === undefined || base64 === undefined)
      throw new RequestInvalid({
        reason: 'Repr-Digest is not of the form sha-256=:<base64>:',
      });
    if (algorithm !== 'sha-256') continue;
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.length !== SHA256_SIZE_BYTES)
      throw new RequestInvalid({
        reason: `the sha-256 in Repr-Digest has ${bytes.length} bytes instead of ${SHA256_SIZE_BYTES}`,
      });
    digest = Sha256.parse(bytes.toString('hex')); // of two with one key, the last counts (RFC 9651)
  }
  return digest;
}
