/**
 * What discovery services say to each other: JSON, parsed on arrival, bounded, never trusted further
 * than the signature in it. Broadcasts on `members` and `pins` are bare `Signed` records.
 */
import { Cid, FileHash, HaveMap, PeerId, WANT_ROOTS_MAX } from '@shoal/protocol';
import { MEMBERS_MAX, PIN_BUCKETS } from '@shoal/swarm';
import * as z from 'zod';
import { Signed } from './signed.ts';

/** Pins in one message: at about 1 KB each far below the largest message. */
export const PINS_PER_MESSAGE_MAX = 256;
/** Stamps in one message: about 160 bytes each. */
export const STAMPS_PER_MESSAGE_MAX = 2000;

/** A have-map whose bits are as many as it says: another peer wrote it, and we count in it. */
const SoundHaveMap = HaveMap.refine(
  ({ bits, blocks }) => Buffer.byteLength(bits, 'base64url') === Math.ceil(blocks / 8),
  'has not one bit a block',
);

/** A question to everybody: what do you hold of these roots, or: do you know this file's pin? */
export const Question = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('have'), roots: z.array(Cid).min(1).max(WANT_ROOTS_MAX) }),
  z.object({ kind: z.literal('pin'), hash: FileHash }),
]);
export type Question = z.infer<typeof Question>;

/** When a peer read its disk, by a clock of its own: only ever compared with what it said itself. */
const ReadAtMs = z.number().nonnegative().optional();

/** The answer of one peer; what is in neither list it has nothing of, which is worth knowing too. */
export const Answer = z.object({
  haves: z.array(SoundHaveMap).max(WANT_ROOTS_MAX),
  /** Roots of which it can't tell now what it holds. */
  unread: z.array(Cid).max(WANT_ROOTS_MAX).optional(),
  readAtMs: ReadAtMs,
  pin: Signed.optional(),
});
export type Answer = z.infer<typeof Answer>;

const Rid = z.string().min(8).max(64);

/** Broadcast on `asks`. */
export const Ask = z.object({ v: z.literal(1), rid: Rid, question: Question });
export type Ask = z.infer<typeof Ask>;

/** Broadcast on `holdings`: have-maps that changed, and roots of which nothing is left. */
export const Holdings = z.object({
  v: z.literal(1),
  haves: z.array(SoundHaveMap).max(WANT_ROOTS_MAX),
  gone: z.array(Cid).max(WANT_ROOTS_MAX),
  readAtMs: ReadAtMs,
});
export type Holdings = z.infer<typeof Holdings>;

/** No record is older than this: whoever relays it may say what it likes. */
const RECORD_AGE_MAX_MS = 10 * 365 * 24 * 3_600_000;

/** A member's record as it was signed, and how old it is. */
export const AgedRecord = z.object({
  signed: Signed,
  ageMs: z
    .number()
    .nonnegative()
    .transform((ageMs) => Math.min(ageMs, RECORD_AGE_MAX_MS)),
});
export type AgedRecord = z.infer<typeof AgedRecord>;

const Records = z.array(AgedRecord).max(MEMBERS_MAX + 1);
export const Stamp = z.object({
  root: Cid,
  epoch: z.int().nonnegative(),
  deleted: z.boolean(),
  clock: z.int().nonnegative(),
  origin: PeerId,
});

/** What one peer asks another directly. */
export const Request = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ping') }),
  /** Both sides tell all that they know of members (push-pull). */
  z.object({ kind: z.literal('exchange'), records: Records }),
  z.object({ kind: z.literal('ask'), ask: Ask }),
  z.object({ kind: z.literal('answer'), rid: Rid, answer: Answer }),
  /** Anti-entropy of pins: compare digests, list stamps where they differ, then trade pins. */
  z.object({ kind: z.literal('pin-digest'), total: z.string().max(32) }),
  z.object({
    kind: z.literal('pin-stamps'),
    bucket: z
      .int()
      .min(0)
      .max(PIN_BUCKETS - 1),
    after: z.string().max(64),
  }),
  z.object({ kind: z.literal('pins-get'), roots: z.array(Cid).max(PINS_PER_MESSAGE_MAX) }),
  z.object({ kind: z.literal('pins-put'), pins: z.array(Signed).max(PINS_PER_MESSAGE_MAX) }),
]);
export type Request = z.infer<typeof Request>;
export type RequestKind = Request['kind'];

/** The answers, by the kind of request. */
export const REPLIES = {
  ping: z.object({}),
  exchange: z.object({ records: Records }),
  ask: Answer,
  answer: z.object({}),
  'pin-digest': z.object({
    /** Undefined when the totals agree. */
    buckets: z.array(z.string().max(32)).length(PIN_BUCKETS).optional(),
  }),
  'pin-stamps': z.object({
    stamps: z.array(Stamp).max(STAMPS_PER_MESSAGE_MAX),
    isLast: z.boolean(),
  }),
  'pins-get': z.object({ pins: z.array(Signed).max(PINS_PER_MESSAGE_MAX) }),
  'pins-put': z.object({}),
} as const;
export type Reply<K extends RequestKind> = z.output<(typeof REPLIES)[K]>;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export const encode = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

/** Parses bytes from the network; undefined when they are not what they should be. */
export function decode<S extends z.ZodType>(schema: S, bytes: Uint8Array): z.output<S> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    return undefined; // not JSON: the caller counts it as malformed
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
