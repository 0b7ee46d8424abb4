import * as z from 'zod';
import { Cid, PeerId } from './cid.ts';

/**
 * What one peer holds of one DAG: a bit per block, in DAG order (depth first, parents before
 * children, a block that stands twice counts twice). Bit 0 is the high bit of the first byte.
 */
export const HaveMap = z.object({
  root: Cid,
  /** Number of blocks in the DAG, so of bits. */
  blocks: z.int().positive(),
  /** The bits, padded with zeros to whole bytes, in base64url. */
  bits: z.string().max(16 * 1024 * 1024),
  /** When that block of it that was re-hashed longest ago was written or re-hashed, by the holder's wall clock. */
  checkedAtMs: z.int().nonnegative().optional(),
  /** How long ago that was when the holder said so: as true as its clock is steady, however wrong it is. */
  checkedMsAgo: z.int().nonnegative().optional(),
});
export type HaveMap = z.infer<typeof HaveMap>;

/** A have-map, who answered it, and how old the answer is in milliseconds. */
export const HaveAnswer = z.object({
  peerId: PeerId,
  haveMap: HaveMap,
  ageMs: z.int().nonnegative(),
});
export type HaveAnswer = z.infer<typeof HaveAnswer>;
