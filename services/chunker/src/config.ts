import { PeerConfig, portSetting } from '@shoal/chassis';
import { KiB } from '@shoal/protocol';
import * as z from 'zod';

/** What the chunker is told at start. */
export const ChunkerConfig = PeerConfig.extend({
  CHUNKER_PORT: portSetting(7101),
  /** Uploads received at once; one more is answered 503. Each may hold one chunk in memory. */
  CHUNKER_UPLOADS_MAX: z.coerce.number().int().min(1).max(1024).default(64),
  /** Chunks of one upload that are on their way to storage at once: more gave nothing on loopback. */
  CHUNKER_PUTS_MAX: z.coerce.number().int().min(1).max(64).default(8),
  /** Longest wait for the copies asked for, from the last byte on; then the answer is 202. */
  CHUNKER_COPIES_TIMEOUT_MS: z.coerce.number().int().min(0).max(600_000).default(15_000),
  /** Longest time that a pin is tried for while discovery restarts. */
  CHUNKER_PIN_TIMEOUT_MS: z.coerce.number().int().min(100).max(120_000).default(10_000),
  /** A body slower than this, in bytes a second over the window below, is given up. */
  CHUNKER_BODY_RATE_MIN_BYTES: z.coerce.number().int().min(1).default(KiB),
  /** Time over which the rate of a body is judged. */
  CHUNKER_BODY_RATE_WINDOW_MS: z.coerce.number().int().min(1000).max(3_600_000).default(20_000),
  /** Files in one form. */
  CHUNKER_FORM_FILES_MAX: z.coerce.number().int().min(1).max(10_000).default(1000),
});
export type ChunkerConfig = z.infer<typeof ChunkerConfig>;
