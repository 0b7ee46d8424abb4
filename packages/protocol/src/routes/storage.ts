import * as z from 'zod';
import { Flag, YesNo } from '../bounded.ts';
import { CIDS_PER_BATCH_MAX, DAG_BLOCKS_MAX } from '../bytes.ts';
import { Cid, PeerId } from '../cid.ts';
import { CopyProof, Nonce } from '../copy-proof.ts';
import { HaveMap } from '../have-map.ts';
import { Lease } from '../jobs.ts';
import { FailureDomain, SERVICES, SPACE_MAX_BYTES } from '../member.ts';
import { REPLICAS_MAX } from '../pin.ts';
import { BYTES, route } from '../route.ts';
import { WANT_ROOTS_MAX } from './discovery.ts';
import { ServiceLoops } from './loops.ts';

const none = z.object({});
const byCid = z.object({ cid: Cid });
const Cids = z.object({ cids: z.array(Cid).min(1).max(CIDS_PER_BATCH_MAX) });

/** How to read a block's bytes: as a chunk of a file, or as a node that lists blocks. */
export const Codec = z.enum(['raw', 'dag-pb']);
export type Codec = z.infer<typeof Codec>;

/** The answer to a put: the block is durable. `isNew` is false when it was here already. */
export const PutReply = z.object({
  cid: Cid,
  sizeBytes: z.int().nonnegative(),
  isNew: z.boolean(),
});
export type PutReply = z.infer<typeof PutReply>;

/**
 * The have-map of one of several DAGs, or why there is none: it is `absent` without its root,
 * `incomplete` without one of its nodes, and `unread` when it could not be read in the time and room
 * of one answer. Asked for alone it may still be answered.
 */
export const HaveMapOrNot = z.union([HaveMap, z.enum(['absent', 'incomplete', 'unread'])]);
export type HaveMapOrNot = z.infer<typeof HaveMapOrNot>;

/** One bit a CID, in the order asked, packed and encoded as in a have-map. */
export const Bits = z.object({
  bits: z
    .string()
    .max(Math.ceil((CIDS_PER_BATCH_MAX * 4) / 3 / 8))
    .regex(/^[\w-]*$/, 'are not base64url'),
});

/** One proof a CID, in the order asked; an empty one for a block that is not held. */
export const CopyProofs = z.object({ proofs: z.array(CopyProof).max(CIDS_PER_BATCH_MAX) });
export type CopyProofs = z.infer<typeof CopyProofs>;

/** A block by its place in a DAG. */
export const BlockPlace = z.object({ root: Cid, index: z.int().min(0).max(DAG_BLOCKS_MAX) });
export type BlockPlace = z.infer<typeof BlockPlace>;

/** Largest counter of losses: it begins below half of this, and no store loses as many blocks. Past it: refused. */
export const LOSSES_MAX = 2 ** 47;
/** A peer's counter of blocks that stopped counting as copies. */
export const Losses = z.int().min(0).max(LOSSES_MAX);

export const StorageStats = z.object({
  blocks: z.int().nonnegative(),
  usedBytes: z.int().nonnegative(),
  /** Bytes that uploads may still write. */
  freeBytes: z.int().nonnegative(),
  /** The limit that ends that, in the words of `StorageFull`: `storage capacity`, `disk space`, … */
  limit: z.string().optional(),
  capacityBytes: z.int().nonnegative(),
  domain: FailureDomain,
});
export type StorageStats = z.infer<typeof StorageStats>;

/** The report of one round of the sweep, or of a dry run. */
export const SweepReport = z.object({
  isDryRun: z.boolean(),
  startedAtMs: z.int().nonnegative(),
  durationMs: z.int().nonnegative(),
  /** Pins that were followed: of files, and of deleted ones that can be brought back. */
  pins: z.int().nonnegative(),
  /** Blocks held here that a pin reaches. */
  reachedBlocks: z.int().nonnegative(),
  /** Blocks that no pin reaches, but an upload may yet: under a lease, or too young. */
  leasedBlocks: z.int().nonnegative(),
  /** Blocks that no pin reaches: no longer counted as copies, deleted by a later round. */
  condemnedBlocks: z.int().nonnegative(),
  condemnedBytes: z.int().nonnegative(),
  /** Blocks condemned by an earlier round and deleted by this one. */
  deletedBlocks: z.int().nonnegative(),
  deletedBytes: z.int().nonnegative(),
  /** Why nothing was condemned or deleted: what is unknown might reach anything. */
  heldUpBy: z.string().optional(),
});
export type SweepReport = z.infer<typeof SweepReport>;

/** The report of one round of the scrub. Without `endedAtMs` it is under way, or a restart cut it short. */
export const ScrubReport = z.object({
  startedAtMs: z.int().nonnegative(),
  endedAtMs: z.int().nonnegative().optional(),
  checkedBlocks: z.int().nonnegative(),
  checkedBytes: z.int().nonnegative(),
  damagedBlocks: z.int().nonnegative(),
});
export type ScrubReport = z.infer<typeof ScrubReport>;

/** How this peer looks after its blocks, and the background work of all its services. */
export const UpkeepReport = z.object({
  scrub: z.object({
    /** Every block is re-hashed at least this often, the rate allowing. */
    intervalMs: z.int().nonnegative(),
    bytesPerSecondMax: z.int().nonnegative(),
    /** When the block that was re-hashed longest ago was written or re-hashed; absent without blocks. */
    oldestCheckAtMs: z.int().nonnegative().optional(),
    /** Blocks whose last check is older than the interval. */
    overdueBlocks: z.int().nonnegative(),
    /** The round under way, or the last one. */
    round: ScrubReport.optional(),
    /** The last round that came to its end: it re-hashed every block that was held when it began. */
    lastWhole: ScrubReport.optional(),
  }),
  /** Blocks that were found damaged or gone and are not yet replaced. */
  damaged: z.object({ blocks: z.int().nonnegative(), cids: z.array(Cid).max(100) }),
  /** Blocks found damaged and replaced since this service started. */
  healedBlocks: z.int().nonnegative(),
  sweep: z.object({
    intervalMs: z.int().nonnegative(),
    graceMs: z.int().nonnegative(),
    last: SweepReport.optional(),
  }),
  /** Every service of this peer; a peer of an earlier version names none. */
  loops: z.array(ServiceLoops).max(SERVICES.length).default([]),
});
export type UpkeepReport = z.infer<typeof UpkeepReport>;

export const storageRoutes = {
  addBlock: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks',
    summary: 'Stores a block and answers its CID; it is hashed here, once.',
    params: none,
    query: z.object({ codec: Codec, lease: Lease.optional() }),
    body: BYTES,
    reply: PutReply,
  }),
  addBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks/batch',
    summary:
      'Stores several small blocks at once: a body of frames (see frames.ts), in order. With `replicas` they are marked as reached by pins of that many; to a nonce with the proofs that this peer gives its asker.',
    params: none,
    query: z.object({
      lease: Lease.optional(),
      replicas: z.coerce.number().int().min(1).max(REPLICAS_MAX).optional(),
      nonce: Nonce.optional(),
      asker: PeerId.optional(),
    }),
    body: BYTES,
    reply: z.object({ blocks: z.array(PutReply), ...CopyProofs.partial().shape }),
  }),
  putBlock: route({
    service: 'storage',
    audience: 'local',
    method: 'PUT',
    path: '/blocks/:cid',
    summary: 'Stores a block under a name that is known; refuses bytes that do not hash to it.',
    params: byCid,
    query: z.object({
      lease: Lease.optional(),
      /** It takes room from nothing else: neither that of repairs nor that of deleted files. */
      yields: Flag,
    }),
    body: BYTES,
    reply: PutReply,
  }),
  getBlock: route({
    service: 'storage',
    audience: 'peer',
    method: 'GET',
    path: '/blocks/:cid',
    summary: 'The bytes of a block (also HEAD). They are not re-hashed here: the caller verifies.',
    params: byCid,
    query: none,
    body: undefined,
    reply: BYTES,
    replyTypes: ['application/octet-stream'],
  }),
  haveBlocks: route({
    service: 'storage',
    audience: 'peer',
    method: 'POST',
    path: '/blocks/have',
    summary:
      'Which of these blocks are held durably here and are not about to be dropped; with ?forGood=true without those that only unfinished uploads hold.',
    params: none,
    query: z.object({ forGood: YesNo.default(false) }),
    body: Cids,
    reply: Bits,
  }),
  proveBlocks: route({
    service: 'storage',
    audience: 'peer',
    method: 'POST',
    path: '/blocks/prove',
    summary:
      'Proves to the caller that these blocks are here: a proof for each that is, bound to the nonce and to both peers; with ?forGood=true only for those that haveBlocks would confirm.',
    params: none,
    query: z.object({ forGood: YesNo.default(false) }),
    body: Cids.extend({ nonce: Nonce }),
    reply: CopyProofs,
  }),
  expectProofs: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks/expect',
    summary:
      'The proofs that `holder` gives `asker` of these blocks, worked out from the bytes that are here.',
    params: none,
    query: none,
    body: Cids.extend({ nonce: Nonce, asker: PeerId, holder: PeerId }),
    reply: CopyProofs,
  }),
  nameBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/dags/blocks',
    summary: 'The CIDs of blocks by their places in DAGs; absent where the DAG is not listed here.',
    params: none,
    query: none,
    body: z.object({ places: z.array(BlockPlace).min(1).max(CIDS_PER_BATCH_MAX) }),
    reply: z.object({
      blocks: z.array(z.object({ cid: Cid.optional() })).max(CIDS_PER_BATCH_MAX),
    }),
  }),
  checkBlock: route({
    service: 'storage',
    audience: 'peer',
    method: 'POST',
    path: '/blocks/:cid/check',
    summary:
      'Re-reads and re-hashes a block; a corrupt one is set aside, no longer held, and replaced from another peer.',
    params: byCid,
    query: none,
    body: undefined,
    reply: z.object({ state: z.enum(['sound', 'corrupt', 'absent']) }),
  }),
  leaseBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/leases/:lease',
    summary: 'Puts blocks that are already here under a lease; answers which are here.',
    params: z.object({ lease: Lease }),
    query: none,
    body: Cids,
    reply: Bits,
  }),
  endLease: route({
    service: 'storage',
    audience: 'local',
    method: 'DELETE',
    path: '/leases/:lease',
    summary:
      'Ends a lease. Without `keep`, blocks that only this lease held and no pin reached are deleted.',
    params: z.object({ lease: Lease }),
    query: z.object({ keep: YesNo.default(false) }),
    body: undefined,
    reply: z.object({ deletedBlocks: z.int().nonnegative() }),
  }),
  haveMap: route({
    service: 'storage',
    audience: 'peer',
    method: 'GET',
    path: '/dags/:cid/have-map',
    summary: 'What this peer holds of a DAG. 404 without its root, 409 without one of its nodes.',
    params: byCid,
    query: none,
    body: undefined,
    reply: HaveMap,
  }),
  haveMaps: route({
    service: 'storage',
    audience: 'peer',
    method: 'POST',
    path: '/dags/have-maps',
    summary: 'What this peer holds of several DAGs, in the order asked.',
    params: none,
    query: none,
    body: z.object({ roots: z.array(Cid).min(1).max(WANT_ROOTS_MAX) }),
    reply: z.object({ haveMaps: z.array(HaveMapOrNot).max(WANT_ROOTS_MAX) }),
  }),
  keepBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks/keep',
    summary:
      'Marks blocks, each a whole file, as reached by pins of that many replicas; answers which are held here.',
    params: none,
    query: none,
    body: z.object({
      blocks: z
        .array(z.object({ cid: Cid, replicas: z.int().min(1).max(REPLICAS_MAX) }))
        .min(1)
        .max(CIDS_PER_BATCH_MAX),
    }),
    reply: Bits,
  }),
  keepDag: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/dags/:cid/keep',
    summary: 'Marks the blocks held of a DAG as reached by a pin that wants this many replicas.',
    params: byCid,
    query: none,
    body: z.object({ replicas: z.int().min(1).max(REPLICAS_MAX) }),
    reply: z.object({ keptBlocks: z.int().nonnegative() }),
  }),
  retireBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks/retire',
    summary:
      'First half of a drop: these blocks are no longer confirmed to anybody (still served). Leased ones, and ones that a pin with more replicas reaches, are left out.',
    params: none,
    query: none,
    body: Cids.extend({ replicas: z.int().min(1).max(REPLICAS_MAX) }),
    reply: Bits,
  }),
  unretireBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks/unretire',
    summary: 'Takes a retirement back: the blocks are confirmed again.',
    params: none,
    query: none,
    body: Cids,
    reply: none,
  }),
  dropBlocks: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/blocks/drop',
    summary: 'Second half of a drop: deletes those of these blocks that are still retired.',
    params: none,
    query: none,
    body: Cids,
    reply: z.object({ droppedBlocks: z.int().nonnegative() }),
  }),
  upkeep: route({
    service: 'storage',
    audience: 'public',
    method: 'GET',
    path: '/upkeep',
    summary:
      'What scrub and sweep of this peer found and did, and when; and the background loops of all its services.',
    params: none,
    query: none,
    body: undefined,
    reply: UpkeepReport,
  }),
  scrub: route({
    service: 'storage',
    audience: 'public',
    method: 'POST',
    path: '/scrub',
    right: 'admin',
    summary:
      'Begins a scrub of every block of this peer now, at the configured rate; see GET /upkeep for how it goes.',
    params: none,
    query: none,
    body: undefined,
    reply: ScrubReport,
  }),
  sweep: route({
    service: 'storage',
    audience: 'public',
    method: 'POST',
    path: '/sweep',
    right: 'admin',
    summary:
      'Runs a round of the sweep on this peer now and answers what it did; with ?dryRun=true what it would do.',
    params: none,
    query: z.object({ dryRun: YesNo.default(false) }),
    body: undefined,
    reply: SweepReport,
  }),
  makeRoom: route({
    service: 'storage',
    audience: 'local',
    method: 'POST',
    path: '/room',
    summary:
      'Makes room for an upload, if that takes no more than purging deleted files; answers how much there is then.',
    params: none,
    query: none,
    body: z.object({ neededBytes: z.int().min(0).max(SPACE_MAX_BYTES) }),
    reply: StorageStats,
  }),
  stats: route({
    service: 'storage',
    audience: 'local',
    method: 'GET',
    path: '/stats',
    summary: 'How much is held, and how much room there is.',
    params: none,
    query: none,
    body: undefined,
    reply: StorageStats,
  }),
  losses: route({
    service: 'storage',
    audience: 'local',
    method: 'GET',
    path: '/losses',
    summary:
      'A counter that grows whenever a block stops counting as a copy here; waits up to `waitMs` for another one than `known`.',
    params: none,
    query: z.object({
      known: z.coerce.number().int().min(-1).max(LOSSES_MAX).default(-1),
      waitMs: z.coerce.number().int().min(0).max(30_000).default(0),
    }),
    body: undefined,
    reply: z.object({ losses: Losses }),
  }),
} as const;
