/**
 * A proof that one peer has the bytes of a block, for a peer that has them too.
 *
 * It is a SHA-256 over a nonce, who asks whom, the block's name and size, and four ranges of its bytes.
 * The ranges follow from the nonce, so they can't be known before it; a block of their size together is
 * hashed whole. A peer that threw the bytes away can't answer; nor can it pass the question on, because
 * others only ever prove what they hold themselves, under their own name.
 *
 * A hash over whole blocks would cost a megabyte of reading on both sides for each. Ranges find a block
 * that is gone at once, and one that lost a part with the chance of that part: the scrub finds those.
 */
import { createHash } from 'node:crypto';
import { type Cid, type CopyProof, type Nonce, type PeerId } from '@shoal/protocol';
import { digestOf } from './cid.ts';

/** Ranges of a block that are hashed, and the bytes of each: 16 KiB of reading, whatever the block's size. */
const RANGES = 4;
export const PROOF_RANGE_BYTES = 4096;

/** The claim to prove: bound to both peers, so that it is worth nothing to any other. */
export interface CopyChallenge {
  readonly nonce: Nonce;
  readonly asker: PeerId;
  readonly holder: PeerId;
  readonly cid: Cid;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** The ranges of a block of this size that a nonce asks for, in the order in which they are hashed. */
export function rangesToProve({ nonce, cid }: CopyChallenge, sizeBytes: number): ByteRange[] {
  if (sizeBytes <= RANGES * PROOF_RANGE_BYTES) return [{ offset: 0, length: sizeBytes }];
  const seed = createHash('sha256').update(`shoal-copy-ranges-v1\n${nonce}\n`);
  const random = seed.update(digestOf(cid)).digest();
  const offsets = sizeBytes - PROOF_RANGE_BYTES + 1;
  return Array.from({ length: RANGES }, (_, index) => ({
    // 48 bits over at most 2 MiB: as good as uniform.
    offset: random.readUIntBE(index * 6, 6) % offsets,
    length: PROOF_RANGE_BYTES,
  }));
}

/** The proof of a block whose bytes are all at hand. */
export function proveWhole(challenge: CopyChallenge, bytes: Uint8Array): CopyProof {
  const parts = rangesToProve(challenge, bytes.length).map(({ offset, length }) =>
    bytes.subarray(offset, offset + length),
  );
  return proveCopy(challenge, bytes.length, parts);
}

/** The proof, from the bytes of the ranges that `rangesToProve` gives. */
export function proveCopy(
  challenge: CopyChallenge,
  sizeBytes: number,
  parts: readonly Uint8Array[],
): CopyProof {
  const { nonce, asker, holder, cid } = challenge;
  const hash = createHash('sha256');
  // Lines of fixed form before the bytes, which have the length that the size says: one reading only.
  hash.update(`shoal-copy-v1\n${nonce}\n${asker}\n${holder}\n${sizeBytes}\n`);
  hash.update(digestOf(cid));
  for (const part of parts) hash.update(part);
  return hash.digest('base64url');
}
