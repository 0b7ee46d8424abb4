/**
 * The messages between discovery services: JSON, parsed on arrival, bounded, never trusted further
 * than the signature in it. Broadcasts on `members` are bare `Signed` records, those on `pins` are `MadePins`.
 */
import {
  Cid,
  DATE_MAX_MS,
  FileHash,
  HaveMap,
  Losses,
  PeerId,
  RecordId,
  refusalOf,
  ROSTER_RECORDS_MAX,
  ROSTER_RECORDS_PER_MESSAGE_MAX,
  SignedRecord,
  TimeMs,
  WANT_ROOTS_MAX,
} from '@shoal/protocol';
import { MEMBERS_MAX, PIN_BUCKETS } from '@shoal/swarm';
import * as z from 'zod';
import type { Refusal } from './refusals.ts';
import { PINS_PER_BATCH_MAX, Signed, SignedBatch, SignedPin } from './signed.ts';

/** Batches of pins in one message, and pins in all of them that a sender puts in. Past it: sent in several. */
export const BATCHES_PER_MESSAGE_MAX = 64;
/** Stamps in one message: about 160 bytes each. */
export const STAMPS_PER_MESSAGE_MAX = 2000;

/** An item of a batch that was refused, while the others were kept. */
export interface RefusedItem {
  readonly what: Refusal['what'];
  readonly reason: string;
}

/** Of the message that is being read: parsing is synchronous, so one list does for all. */
let refusedItems: RefusedItem[] = [];

/** A batch of at most `max` items, of which those that are wrong are left out, and noted. */
function batch<S extends z.ZodType>(what: Refusal['what'], item: S, itemsMax: number) {
  return z
    .array(z.unknown())
    .max(itemsMax)
    .transform((items) =>
      items.flatMap((each): z.output<S>[] => {
        const parsed = item.safeParse(each);
        if (parsed.success) return [parsed.data];
        refusedItems.push({ what, reason: refusalOf(parsed.error) });
        return [];
      }),
    );
}

/** A question to everybody: what do you hold of these roots, or: do you know this file's pin? */
export const Question = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('have'), roots: z.array(Cid).min(1).max(WANT_ROOTS_MAX) }),
  z.object({ kind: z.literal('pin'), hash: FileHash }),
]);
export type Question = z.infer<typeof Question>;

/** When a peer read its disk, by a clock of its own: only ever compared with what it said itself. */
const ReadAtMs = z.number().min(0).max(DATE_MAX_MS).optional();

/** The answer of one peer; what is in neither list it has nothing of, which is worth knowing too. */
export const Answer = z.object({
  haves: batch('have-map', HaveMap, WANT_ROOTS_MAX),
  /** Roots of which it can't tell now what it holds. */
  unread: batch('root', Cid, WANT_ROOTS_MAX).optional(),
  readAtMs: ReadAtMs,
  pin: SignedPin.optional(),
});
export type Answer = z.infer<typeof Answer>;

const Rid = z
  .string()
  .min(8)
  .max(64)
  .regex(/^[\w-]*$/, 'is not an id');

/** Broadcast on `asks`. */
export const Ask = z.object({ v: z.literal(1), rid: Rid, question: Question });
export type Ask = z.infer<typeof Ask>;

/** Broadcast on `holdings`: have-maps that changed, and roots of which nothing is left. */
export const Holdings = z.object({
  v: z.literal(1),
  haves: batch('have-map', HaveMap, WANT_ROOTS_MAX),
  gone: batch('root', Cid, WANT_ROOTS_MAX),
  readAtMs: ReadAtMs,
});
export type Holdings = z.infer<typeof Holdings>;

/** No record is older than this: a relay may claim any age. */
const RECORD_AGE_MAX_MS = 10 * 365 * 24 * 3_600_000;

/** A member's record as it was signed, and what the one that relays it knows of the member. */
export const AgedRecord = z.object({
  signed: Signed,
  /** How long ago a sign of life came, at most; 0 for what a peer says of itself. */
  ageMs: z
    .number()
    .min(0)
    .max(DATE_MAX_MS)
    .transform((ageMs) => Math.min(ageMs, RECORD_AGE_MAX_MS)),
  /** It takes the member for down or out; the member itself then signs a newer record. */
  isGone: z.boolean().optional(),
});
export type AgedRecord = z.infer<typeof AgedRecord>;

/**
 * Changes among the members that ride on one probe or its answer.
 * Past it: the others come with the next ones.
 */
export const NEWS_PER_MESSAGE_MAX = 8;

/** A member did not answer, while this was its newest record; only a newer one clears it of that. */
export const Suspicion = z.object({ peerId: PeerId, incarnation: TimeMs, seq: TimeMs });
export type Suspicion = z.infer<typeof Suspicion>;

/** Riders on probes and their answers. */
export const MemberNews = z.object({
  records: batch('member', AgedRecord, NEWS_PER_MESSAGE_MAX),
  suspicions: batch('member', Suspicion, NEWS_PER_MESSAGE_MAX),
});
export type MemberNews = z.infer<typeof MemberNews>;

/** Random text that the answer to a probe has to be signed with, so that a helper can't make it up. */
const Nonce = z
  .string()
  .min(16)
  .max(64)
  .regex(/^[\w-]*$/, 'is not a nonce');

const Records = batch('member', AgedRecord, MEMBERS_MAX + 1);
const Pins = batch('pin', SignedPin, PINS_PER_BATCH_MAX);
/** Pins that were made a moment ago, as they were signed. */
export const MadePins = z.array(SignedBatch).min(1).max(BATCHES_PER_MESSAGE_MAX);
export type MadePins = z.infer<typeof MadePins>;
export const Stamp = z.object({
  root: Cid,
  epoch: TimeMs,
  deleted: z.boolean(),
  deletedAtMs: TimeMs.optional(),
  clock: TimeMs,
  origin: PeerId,
  /** Whose pin it says to be; absent: its origin's, or there is one version of the root. */
  author: PeerId.optional(),
});

const RosterRecords = z.array(SignedRecord).max(ROSTER_RECORDS_PER_MESSAGE_MAX);

/** A direct question of one peer to another. */
export const Request = z.discriminatedUnion('kind', [
  /** Is it there? With a nonce, the answer is signed, for a third that can't ask itself. */
  z.object({ kind: z.literal('ping'), nonce: Nonce.optional(), news: MemberNews.optional() }),
  /** Asks a helper to ping a member that does not answer us, with our nonce. */
  z.object({ kind: z.literal('probe'), peerId: PeerId, nonce: Nonce }),
  /** Whether both know the same of the members. */
  z.object({ kind: z.literal('members-digest'), digest: z.string().max(64) }),
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
  z.object({ kind: z.literal('pins-get'), roots: z.array(Cid).max(PINS_PER_BATCH_MAX) }),
  /** The same as the broadcast on `pins`, while not all hear that. */
  z.object({ kind: z.literal('pins-put'), made: MadePins }),
  /** Pins that the other side lacks, made when ever. */
  z.object({ kind: z.literal('pins-give'), pins: Pins }),
  /** Whether both have the same roster, and which records the other one has where they have not. */
  z.object({ kind: z.literal('roster'), digest: z.string().max(64) }),
  z.object({
    kind: z.literal('roster-get'),
    ids: z.array(RecordId).max(ROSTER_RECORDS_PER_MESSAGE_MAX),
  }),
  z.object({ kind: z.literal('roster-put'), records: RosterRecords }),
]);
export type Request = z.infer<typeof Request>;
export type RequestKind = Request['kind'];

/** The answers, by the kind of request. */
export const REPLIES = {
  ping: z.object({
    /** Its record, with the nonce in it. */
    signed: Signed.optional(),
    news: MemberNews.optional(),
    /** Its counter of blocks that stopped counting as copies; undefined when its storage doesn't tell. */
    losses: Losses.optional(),
  }),
  /** Nothing when the member did not answer the helper either. */
  probe: z.object({ signed: Signed.optional() }),
  'members-digest': z.object({ isEqual: z.boolean() }),
  exchange: z.object({ records: Records }),
  ask: Answer,
  answer: z.object({}),
  'pin-digest': z.object({
    /** Undefined when the totals agree. */
    buckets: z.array(z.string().max(32)).length(PIN_BUCKETS).optional(),
  }),
  'pin-stamps': z.object({
    stamps: batch('stamp', Stamp, STAMPS_PER_MESSAGE_MAX),
    isLast: z.boolean(),
  }),
  'pins-get': z.object({
    pins: Pins,
    /** The first root whose pins did not fit; absent: all did. */
    next: Cid.optional(),
  }),
  'pins-put': z.object({}),
  'pins-give': z.object({}),
  roster: z.object({
    /** Undefined where the digests agree. */
    ids: z.array(RecordId).max(ROSTER_RECORDS_MAX).optional(),
  }),
  'roster-get': z.object({ records: RosterRecords }),
  'roster-put': z.object({}),
} as const;
export type Reply<K extends RequestKind> = z.output<(typeof REPLIES)[K]>;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export const encode = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

/** A message from the network, or why there is none; and the items that were left out of it. */
export type Decoded<S extends z.ZodType> = { readonly refused: readonly RefusedItem[] } & (
  | { readonly message: z.output<S>; readonly reason?: undefined }
  | { readonly message: undefined; readonly reason: string }
);

/** Parses bytes from the network. */
export function decode<S extends z.ZodType>(schema: S, bytes: Uint8Array): Decoded<S> {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    return { message: undefined, reason: 'it is not JSON', refused: [] };
  }
  refusedItems = [];
  const parsed = schema.safeParse(value);
  const refused = refusedItems;
  return parsed.success
    ? { message: parsed.data, refused }
    : { message: undefined, reason: refusalOf(parsed.error), refused };
}
