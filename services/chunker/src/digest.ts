/**
 * `Repr-Digest`, `Content-Digest` and `Want-Repr-Digest` (RFC 9530): dictionaries of structured fields
 * (RFC 9651 §3.2). We know sha-256; other algorithms are passed over.
 */
import { RequestInvalid, Sha256 } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';

const SHA256_SIZE_BYTES = 32;
/** Parameters of a member, which mean nothing here. */
const PARAMETERS = /(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=[^,;"\s]+|="[^"\\]*")?)*$/.source;
/** Key and byte sequence, as in `sha-256=:4REjxQ…=:`. */
const DIGEST = new RegExp(
  /^([a-z*][a-z0-9_.*-]*)=:((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?):/
    .source + PARAMETERS,
);
/** Key and preference: 10 is the highest, 0 is "not this one". */
const WISH = new RegExp(/^([a-z*][a-z0-9_.*-]*)=(10|\d)/.source + PARAMETERS);

type Headers = FastifyRequest['headers'];

/**
 * The sha-256 that the sender says the file has; undefined when no header says. With a body that is
 * the file, its content digest is the file's too.
 * @throws RequestInvalid for a header that is not such a dictionary, or two that disagree.
 */
export function statedSha256(
  headers: Headers,
  { isWholeBody }: { readonly isWholeBody: boolean },
): Sha256 | undefined {
  const ofFile = parseDigest('Repr-Digest', joined(headers['repr-digest']));
  if (!isWholeBody) return ofFile;
  const ofBody = parseDigest('Content-Digest', joined(headers['content-digest']));
  if (ofFile !== undefined && ofBody !== undefined && ofFile !== ofBody)
    throw new RequestInvalid({
      reason: 'Repr-Digest and Content-Digest state different sha-256 of one body',
    });
  return ofFile ?? ofBody;
}

/** Whether `Want-Repr-Digest` asks for sha-256. A header that can't be read says nothing (RFC 9651 §4.2). */
export function wantsSha256(headers: Headers): boolean {
  const header = joined(headers['want-repr-digest']);
  if (header === undefined) return false;
  let isWanted = false;
  for (const member of header.split(',')) {
    const [, algorithm, preference] = WISH.exec(member.trim()) ?? [];
    if (algorithm === undefined) return false;
    if (algorithm === 'sha-256') isWanted = Number(preference) > 0; // of two with one key, the last counts
  }
  return isWanted;
}

/** The value of `Repr-Digest` for a file. */
export const formatSha256 = (sha256: Sha256): string =>
  `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;

function parseDigest(name: string, header: string | undefined): Sha256 | undefined {
  if (header === undefined) return undefined;
  let digest: Sha256 | undefined;
  for (const member of header.split(',')) {
    const [, algorithm, base64] = DIGEST.exec(member.trim()) ?? [];
    if (algorithm === undefined || base64 === undefined)
      throw new RequestInvalid({ reason: `${name} is not of the form sha-256=:<base64>:` });
    if (algorithm !== 'sha-256') continue;
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.length !== SHA256_SIZE_BYTES)
      throw new RequestInvalid({
        reason: `the sha-256 in ${name} has ${bytes.length} bytes instead of ${SHA256_SIZE_BYTES}`,
      });
    digest = Sha256.parse(bytes.toString('hex')); // of two with one key, the last counts
  }
  return digest;
}

const joined = (header: string | readonly string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : header?.join(', ');
