/**
 * Proofs that a peer has the bytes of a block, for one that has them too: a hash over a nonce and some
 * ranges of the block (`blocks/prove-copy.ts`). `docs/protocol.md` has the format.
 */
import * as z from 'zod';

/** A nonce of the asker, used once: 16 random bytes in base64url. */
export const Nonce = z.string().regex(/^[\w-]{22}$/, 'is not 16 bytes in base64url');
export type Nonce = z.infer<typeof Nonce>;

/** A proof, 32 bytes in base64url; empty where there is none, because the block is not held. */
export const CopyProof = z.string().regex(/^(?:[\w-]{43})?$/, 'is not 32 bytes in base64url');
export type CopyProof = z.infer<typeof CopyProof>;

/** There is no proof. */
export const NO_PROOF: CopyProof = '';
