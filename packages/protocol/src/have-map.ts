import * as z from 'zod';
import { arePackedBits, TimeMs } from './bounded.ts';
import { DAG_BLOCKS_MAX } from './bytes.ts';
import { Cid, PeerId } from './cid.ts';

/** Base64url of one bit for each block of the largest DAG. Past it: it is refused. */
const BITS_LENGTH_MAX = Math.ceil(DAG_BLOCKS_MAX / 6);

/**
 * The blocks of one DAG that one peer holds: a bit per block, in DAG order (depth first, parents before
 * children, a block that occurs twice counts twice). Bit 0 is the high bit of the first byte.
 */
export const HaveMap = z
  .object({
    root: Cid,
    /** Number of blocks in the DAG, so of bits. */
    blocks: z.int().min(1).max(DAG_BLOCKS_MAX),
    /** The bits, padded with zeros to whole bytes, in base64url. */
    bits: z.string().max(BITS_LENGTH_MAX),
    /** When that block of it that was re-hashed longest ago was written or re-hashed, by the holder's wall clock. */
    checkedAtMs: TimeMs.optional(),
    /** How long ago that was when the holder said so: as true as its clock is steady, however wrong it is. */
    checkedMsAgo: TimeMs.optional(),
  })
  .refine(({ bits, blocks }) => arePackedBits(bits, blocks), {
    path: ['bits'],
    message: 'are not one bit a block',
  });
export type HaveMap = z.infer<typeof HaveMap>;

/** A have-map, who answered it, and how old the answer is in milliseconds. */
export const HaveAnswer = z.object({
  peerId: PeerId,
  haveMap: HaveMap,
  ageMs: TimeMs,
});
export type HaveAnswer = z.infer<typeof HaveAnswer>;
