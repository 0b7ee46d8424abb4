import { PeerConfig, portSetting } from '@shoal/chassis';
import { GiB, KiB } from '@shoal/protocol';
import * as z from 'zod';

/** More would no longer be a choice. */
const GATEWAYS_ALLOWED_MAX = 64;

const GatewayOrigins = z
  .string()
  .default('')
  .transform((text) => text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()])))
  .pipe(z.array(z.url({ protocol: /^https?$/ })).max(GATEWAYS_ALLOWED_MAX))
  .refine(
    (urls) => urls.every((url) => /^https?:\/\/[^/?#@]+\/?$/.test(url)),
    'holds more than origins, such as https://ipfs.example',
  )
  .transform((urls): ReadonlySet<string> => new Set(urls.map((url) => new URL(url).origin)));

/** The settings of the chunker. */
export const ChunkerConfig = PeerConfig.extend({
  CHUNKER_PORT: portSetting(7101),
  /** Uploads received at once, shared by clients; one more is answered 503. Each may hold one chunk in memory. */
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
  /** Files, folders and symlinks in one upload of a directory; each takes some 200 bytes of memory. */
  CHUNKER_DIRECTORY_FILES_MAX: z.coerce.number().int().min(1).max(10_000_000).default(100_000),
  /** Imports and pins at once, shared by clients; one more is answered 503. Each may hold some 40 MiB in memory. */
  CHUNKER_IMPORTS_MAX: z.coerce.number().int().min(1).max(256).default(8),
  /** Blocks that a DAG from outside may unfold to, and be kept. */
  CHUNKER_DAG_BLOCKS_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(16 * 1024 * KiB)
    .default(1024 * KiB),
  /**
   * Origins of trustless gateways that a request to keep a DAG may name, separated by commas, such as
   * `https://ipfs.example`. Blocks that no member has are fetched there. Default: none.
   */
  PIN_GATEWAYS: GatewayOrigins,
  /** Allows those gateways in a private network, or on this machine. */
  PIN_GATEWAYS_ALLOW_PRIVATE: z.stringbool().default(false),
  /** A resumable upload (tus) that is left alone this long is given up, and its blocks with it. */
  CHUNKER_TUS_EXPIRES_MS: z.coerce
    .number()
    .int()
    .min(1000)
    .max(30 * 24 * 3_600_000)
    .default(24 * 3_600_000),
  /**
   * Resumable uploads that may be unfinished at once, shared by clients. Idle ones give way when others
   * wait.
   */
  CHUNKER_TUS_UPLOADS_MAX: z.coerce.number().int().min(1).max(100_000).default(256),
  /** Longest file of a resumable upload; each MiB of it takes 32 bytes of memory until it is done. */
  CHUNKER_TUS_SIZE_MAX_BYTES: z.coerce
    .number()
    .int()
    .min(1)
    .max(16 * 1024 * GiB)
    .default(1024 * GiB),
});
export type ChunkerConfig = z.infer<typeof ChunkerConfig>;
