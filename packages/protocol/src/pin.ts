import * as z from 'zod';
import { DateText, label, TimeMs } from './bounded.ts';
import { DAG_BLOCKS_MAX, DAG_SIZE_MAX_BYTES } from './bytes.ts';
import { Cid, PeerId, Sha256 } from './cid.ts';
import { FileName, PinName } from './file-name.ts';
import { DagKind } from './file.ts';
import { SignedRecord } from './member.ts';

/** No file asks for more copies than this. Past it: 400. */
export const REPLICAS_MAX = 16;
/** Copies of each block that a file is kept in when nobody says otherwise. */
export const REPLICAS_DEFAULT = 3;

/** The wish to keep a file, as the service that took it in states it. */
export const PinDraft = z.object({
  root: Cid,
  kind: DagKind.default('file'),
  /** The file's name, as checked by `FileName`. */
  name: PinName,
  /** File bytes: of a directory, those of all files below it. */
  sizeBytes: z.int().min(0).max(DAG_SIZE_MAX_BYTES),
  /** Of the file's bytes; only files have one. */
  sha256: Sha256.optional(),
  /** Number of blocks in the DAG, manifests included. */
  blocks: z.int().min(1).max(DAG_BLOCKS_MAX),
  replicas: z.int().min(1).max(REPLICAS_MAX),
  /** Expiry (wall clock, ms); undefined: never. */
  expiresAtMs: TimeMs.optional(),
  /** The id of the token that it was put with. */
  token: label(64).optional(),
});
export type PinDraft = z.infer<typeof PinDraft>;

/** Grants in a right, as many as a token has. Past it: the pin is refused. */
export const RIGHT_GRANTS_MAX = 4;

/** The right that a version of a pin brings along. */
export const PinRight = z.object({
  grants: z.array(SignedRecord).min(1).max(RIGHT_GRANTS_MAX),
  signature: SignedRecord.shape.signature,
});
export type PinRight = z.infer<typeof PinRight>;

/**
 * The promise to keep a DAG. Signed by its origin, copied to every member; the pin set is what the
 * swarm tries to make true. Of two pins for one root the higher (epoch, deleted, purged, clock, origin)
 * wins. In a swarm with a roster each author has a pin of its own for a root (`swarm/pin-entries.ts`).
 */
export const Pin = PinDraft.extend({
  /** 1 is signed alone, 2 with the others of its batch. */
  v: z.union([z.literal(1), z.literal(2)]),
  createdAtMs: TimeMs,
  /**
   * The upload it stems from, by wall clock. A deletion ends its epoch for good, however late a change
   * made elsewhere comes in; only another upload begins a new one.
   */
  epoch: TimeMs.default(0),
  /** A deleted pin stays as a tombstone: an absent peer must not bring the file back. */
  deleted: z.boolean(),
  /**
   * When it was deleted, while its bytes are kept so that it can be brought back. A tombstone without it,
   * and every one from before there was this field, says that they need not be: the file is purged.
   */
  deletedAtMs: TimeMs.optional(),
  /** Logical clock: the highest clock seen for this root plus one, never behind the wall clock. */
  clock: TimeMs,
  /** The peer that made this version, and signed it. */
  origin: PeerId,
  /** The peer at which the file was put, whose pin it is; in a version of before, without one: its origin's. */
  author: PeerId.optional(),
  /**
   * The right to this change of a pin of another peer, when its origin has none of its own: the grants of a token,
   * and the signature of its key over `rightText`. Absent: none.
   */
  right: PinRight.optional(),
});
export type Pin = z.infer<typeof Pin>;

/** The text that the key of a token signs when it gives the right to a version: all that the version says. */
export function rightText(pin: Pin): string {
  const { root, kind, name, sizeBytes, sha256, blocks, replicas, expiresAtMs, token } = pin;
  const { createdAtMs, epoch, deleted, deletedAtMs, clock, origin, author } = pin;
  const wish = [root, kind, name, sizeBytes, sha256, blocks, replicas, expiresAtMs, token];
  const version = [createdAtMs, epoch, deleted, deletedAtMs, clock, origin, author];
  // As JSON an absent field is null.
  return JSON.stringify([...wish, ...version]);
}

/** A change of a live pin; what is left out stays as it is. */
export const PinChange = z
  .strictObject({
    name: FileName.optional(),
    replicas: z.int().min(1).max(REPLICAS_MAX).optional(),
    /** RFC 3339 with an offset or Z; null for "never". */
    expiresAt: DateText.nullable().optional(),
  })
  .refine(
    (change) => Object.values(change).some((value) => value !== undefined),
    'names nothing to change: give name, replicas or expiresAt',
  );
export type PinChange = z.infer<typeof PinChange>;
