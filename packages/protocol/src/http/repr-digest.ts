/**
 * `Repr-Digest`, `Content-Digest` and `Want-Repr-Digest` (RFC 9530): dictionaries of structured fields
 * (RFC 9651 §3.2). We know sha-256; other algorithms are passed over.
 */
import { Sha256 } from '../cid.ts';
import { RequestInvalid } from '../problems/index.ts';

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

/** A header as Node gives it. */
type Header = string | readonly string[] | undefined;

/** The value of `Repr-Digest` for a file. */
export const formatSha256 = (sha256: Sha256): string =>
  `sha-256=:${btoa(String.fromCharCode(...bytesOf(sha256)))}:`;

/**
 * The sha-256 that a digest header states; undefined when it states none.
 * @param name Of the header, for the error.
 * @throws RequestInvalid for a header that is not such a dictionary.
 */
export function readSha256(name: string, header: Header): Sha256 | undefined {
  let digest: Sha256 | undefined;
  for (const member of membersOf(header)) {
    const [, algorithm, base64] = DIGEST.exec(member) ?? [];
    if (algorithm === undefined || base64 === undefined)
      throw new RequestInvalid({ reason: `${name} is not of the form sha-256=:<base64>:` });
    if (algorithm !== 'sha-256') continue;
    const bytes = atob(base64); // a character a byte
    if (bytes.length !== SHA256_SIZE_BYTES)
      throw new RequestInvalid({
        reason: `the sha-256 in ${name} has ${bytes.length} bytes instead of ${SHA256_SIZE_BYTES}`,
      });
    digest = Sha256.parse(hexOf(bytes)); // of two with one key, the last counts
  }
  return digest;
}

/**
 * Whether `Want-Repr-Digest` asks for sha-256.
 * @param unasked What goes without a word of it: no header, other algorithms, or a header that can't be
 * read, which says nothing (RFC 9651 §4.2).
 */
export function wantsSha256(header: Header, { unasked }: { readonly unasked: boolean }): boolean {
  let isWanted = unasked;
  for (const member of membersOf(header)) {
    const [, algorithm, preference] = WISH.exec(member) ?? [];
    if (algorithm === undefined) return unasked;
    if (algorithm === 'sha-256') isWanted = Number(preference) > 0; // of two, the last counts
  }
  return isWanted;
}

const membersOf = (header: Header): string[] =>
  header === undefined
    ? []
    : String(header)
        .split(',')
        .map((member) => member.trim());

// Without Buffer, since browsers read these headers too.
const bytesOf = (hex: string): number[] =>
  (hex.match(/../g) ?? []).map((digits) => Number.parseInt(digits, 16));

const hexOf = (bytes: string): string =>
  Array.from(bytes, (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('');
