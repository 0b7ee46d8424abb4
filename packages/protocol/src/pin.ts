import * as z from 'zod';
import { Cid, PeerId, Sha256 } from './cid.ts';
import { DagKind, FileName } from './file.ts';

/** No file asks for more copies than this. */
export const REPLICAS_MAX = 16;
/** Copies of each block that a file is kept in when nobody says otherwise. */
export const REPLICAS_DEFAULT = 3;

/** The wish to keep a file, as the service that took it in states it. */
export const PinDraft = z.object({
  root: Cid,
  kind: DagKind.default('file'),
  /** The file's name, as checked by `FileName`. */
  name: z.string().min(1).max(255),
  /** File bytes: of a directory, those of all files below it. */
  sizeBytes: z.int().nonnegative(),
  /** Of the file's bytes; only files have one. */
  sha256: Sha256.optional(),
  /** Number of blocks in the DAG, manifests included. */
  blocks: z.int().positive(),
  replicas: z.int().min(1).max(REPLICAS_MAX),
  /** Wall-clock time from which the file need not be kept; for ever without. */
  expiresAtMs: z.int().nonnegative().optional(),
});
export type PinDraft = z.infer<typeof PinDraft>;

/**
 * The promise to keep a DAG. Signed by its origin, copied to every member; the pin set is what the
 * swarm tries to make true. Of two pins for one root the higher (epoch, deleted, clock, origin) wins.
 */
export const Pin = PinDraft.extend({
  v: z.literal(1),
  createdAtMs: z.int().nonnegative(),
  /**
   * The upload it stems from, by wall clock. A deletion ends its epoch for good, however late a change
   * made elsewhere comes in; only another upload begins a new one.
   */
  epoch: z.int().nonnegative().default(0),
  /** A deleted pin stays as a tombstone: an absent peer must not bring the file back. */
  deleted: z.boolean(),
  /** Logical clock: the highest clock seen for this root plus one, never behind the wall clock. */
  clock: z.int().nonnegative(),
  origin: PeerId,
});
export type Pin = z.infer<typeof Pin>;

/** A change of a live pin; what is left out stays as it is. */
export const PinChange = z
  .strictObject({
    name: FileName.optional(),
    replicas: z.int().min(1).max(REPLICAS_MAX).optional(),
    /** RFC 3339 with an offset or Z; null for "never". */
    expiresAt: z.iso.datetime({ offset: true }).nullable().optional(),
  })
  .refine(
    (change) => Object.values(change).some((value) => value !== undefined),
    'names nothing to change: give name, replicas or expiresAt',
  );
export type PinChange = z.infer<typeof PinChange>;
