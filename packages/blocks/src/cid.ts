/** Names of blocks: CIDv1 with sha2-256, written in lower-case base32. */
import { createHash } from 'node:crypto';
import type { Cid, Codec } from '@shoal/protocol';
import { base32 } from 'multiformats/bases/base32';
import { CID } from 'multiformats/cid';

/** Multicodec codes, from the multiformats table. */
const CODES: Readonly<Record<Codec, number>> = { raw: 0x55, 'dag-pb': 0x70 };
/** CIDv1, codec, sha2-256 (0x12), 32 bytes (0x20): all four are one-byte varints. */
const HEADER_SIZE_BYTES = 4;
const DIGEST_SIZE_BYTES = 32;

/** The CID of a block whose sha-256 is known. */
export function cidOf(codec: Codec, digest: Uint8Array): Cid {
  const bytes = new Uint8Array(HEADER_SIZE_BYTES + DIGEST_SIZE_BYTES);
  bytes.set([1, CODES[codec], 0x12, DIGEST_SIZE_BYTES]);
  bytes.set(digest, HEADER_SIZE_BYTES);
  // Built from its parts just above, so it has the shape that the brand promises.
  return base32.encode(bytes) as string as Cid;
}

/** Hashes a block and names it. */
export function hashBlock(codec: Codec, bytes: Uint8Array): Cid {
  return cidOf(codec, createHash('sha256').update(bytes).digest());
}

/** The sha-256 that a CID carries: what blocks are indexed by, whatever the CID's codec. */
export function digestOf(cid: Cid): Uint8Array {
  return base32.decode(cid).subarray(HEADER_SIZE_BYTES);
}

/** How to read the block. */
export function codecOf(cid: Cid): Codec {
  return base32.decode(cid)[1] === CODES['dag-pb'] ? 'dag-pb' : 'raw';
}

/** The unit of placement: the first byte of the digest, 0 to 255. */
export function partitionOf(cid: Cid): number {
  const [first] = digestOf(cid);
  return first ?? 0;
}

/** The form that dag-pb links hold. */
export const toCid = (cid: Cid): CID => CID.parse(cid);
