/**
 * Tokens with a scope. A token is a private key and the grants that give it rights, each signed by the key before: the
 * first by an owner. So every peer can check one without asking anybody, and what a token did can be checked by those
 * that never saw it.
 */
import * as z from 'zod';
import { TimeMs } from '../bounded.ts';
import { DAG_SIZE_MAX_BYTES } from '../bytes.ts';
import { Cid } from '../cid.ts';
import { SignedRecord } from '../member.ts';
import { GivenName, KeyId, RecordId } from './roster.ts';

/** The first characters of every token of this kind. */
export const TOKEN_PREFIX = 'shoal1.';
/** Grants from an owner down to a token. Past it: the token is refused. */
export const GRANTS_MAX = 4;
/** A token as text: it goes into a header. Past it: it is refused. */
export const TOKEN_LENGTH_MAX = 6144;

/** `admin` has all rights, and alone signs further grants. */
export const Right = z.enum(['read', 'write', 'delete', 'admin']);
export type Right = z.infer<typeof Right>;

/** Reads that an operator may leave open while all others need a token. */
export const PublicRead = z.enum(['ipfs', 'routing', 'torrents', 'files']);
export type PublicRead = z.infer<typeof PublicRead>;

/** A right given to a key; signed by `by`. */
export const Grant = z.object({
  v: z.literal(1),
  kind: z.literal('grant'),
  swarm: RecordId,
  by: KeyId,
  /** Its id: the public key of the token. */
  key: KeyId,
  name: GivenName,
  may: z.array(Right).min(1).max(Right.options.length),
  /** For one file, or one folder and what is in it; without it for all. */
  only: Cid.optional(),
  /** Bytes of files that it put, kept at once: those of a drop box. */
  maxBytes: z.int().min(0).max(DAG_SIZE_MAX_BYTES).optional(),
  expiresAtMs: TimeMs.optional(),
  atMs: TimeMs,
});
export type Grant = z.infer<typeof Grant>;

/** The content of a token's text, as JSON in base64url after the prefix. */
export const TokenContent = z.object({
  /** Of the private key, 32 bytes in base64url. */
  seed: z
    .string()
    .length(43)
    .regex(/^[\w-]*$/, 'is not a seed'),
  /** From the one that an owner signed down to the token's own. */
  grants: z.array(SignedRecord).min(1).max(GRANTS_MAX),
});
export type TokenContent = z.infer<typeof TokenContent>;
