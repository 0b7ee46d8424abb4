/**
 * The text of a token with a scope: making one and reading one. Its rights are for `check-token.ts`: here nothing
 * is known of owners or clocks.
 */
import {
  type Cid,
  Grant,
  type KeyId,
  refusalOf,
  type RecordId,
  type Right,
  SignedRecord,
  TOKEN_LENGTH_MAX,
  TOKEN_PREFIX,
  TokenContent,
} from '@shoal/protocol';
import { createSeed, type KeyPair, keyPairOf } from './keys.ts';
import { signText } from './signed-text.ts';

/** The rights that a new token gets. */
export interface TokenDraft {
  readonly name: string;
  readonly may: readonly Right[];
  /** For one file or folder. */
  readonly only?: Cid | undefined;
  /** Bytes of files put with it that are kept at once. */
  readonly maxBytes?: number | undefined;
  readonly expiresAtMs?: number | undefined;
  /** Now, by the signer's clock. */
  readonly atMs: number;
}

/** The key that signs a grant: an owner's, or a token's with the grants that it has itself. */
export interface Issuer {
  readonly swarm: RecordId;
  readonly key: KeyPair;
  readonly grants?: readonly SignedRecord[];
}

/** A token that can be read: its key, and its grants from the owner's down to its own. */
export interface ReadToken {
  readonly key: KeyPair;
  readonly grants: readonly { readonly signed: SignedRecord; readonly grant: Grant }[];
}

/** Whether a text claims to be a token with a scope; every other one can only be a write token. */
export const isScopedToken = (text: string): boolean => text.startsWith(TOKEN_PREFIX);

/** Makes a token with a key of its own. */
export function createToken(
  draft: TokenDraft,
  { swarm, key: issuer, grants = [] }: Issuer,
): { readonly id: KeyId; readonly text: string } {
  const seed = createSeed();
  const { id } = keyPairOf(seed);
  const grant = Grant.parse({ v: 1, kind: 'grant', swarm, by: issuer.id, key: id, ...draft });
  const signed = signText('grant', JSON.stringify(grant), issuer.privateKey);
  const content = TokenContent.parse({
    seed: Buffer.from(seed).toString('base64url'),
    grants: [...grants, signed],
  });
  return { id, text: TOKEN_PREFIX + Buffer.from(JSON.stringify(content)).toString('base64url') };
}

/** Reads a token; a sentence when it is none. Nothing is verified but that it has the form of one. */
export function readToken(
  text: string,
):
  | { readonly token: ReadToken; readonly reason?: undefined }
  | { readonly token?: undefined; readonly reason: string } {
  if (text.length > TOKEN_LENGTH_MAX)
    return { reason: `it is longer than ${TOKEN_LENGTH_MAX} characters` };
  if (!isScopedToken(text)) return { reason: `it does not begin with ${TOKEN_PREFIX}` };
  const content = parse(
    TokenContent,
    Buffer.from(text.slice(TOKEN_PREFIX.length), 'base64url').toString(),
  );
  if (typeof content === 'string')
    return { reason: `it can't be read (${content}): copy all of it` };
  const grants = readGrants(content.grants);
  if (typeof grants === 'string') return { reason: `a grant in it can't be read: ${grants}` };
  return { token: { key: keyPairOf(Buffer.from(content.seed, 'base64url')), grants } };
}

/** Grants that were signed, or why one can't be read. */
export function readGrants(all: readonly SignedRecord[]): ReadToken['grants'] | string {
  const grants: { signed: SignedRecord; grant: Grant }[] = [];
  for (const signed of all) {
    const grant = parse(Grant, signed.payload);
    if (typeof grant === 'string') return grant;
    grants.push({ signed, grant });
  }
  return grants;
}

/** The value, or why it is none. */
function parse<T extends typeof TokenContent | typeof Grant>(
  schema: T,
  json: string,
): ReturnType<T['parse']> | string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return 'it is not JSON';
  }
  const parsed = schema.safeParse(value);
  // The data of a schema are of the type that its `parse` gives.
  return parsed.success ? (parsed.data as ReturnType<T['parse']>) : refusalOf(parsed.error);
}
