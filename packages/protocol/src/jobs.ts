/**
 * The queues of one peer: names and payloads. Jobs carry ids, never bytes, and may run twice.
 * Redis may lose them all: the settle loop does the work of a lost job later, from disk.
 */
import * as z from 'zod';
import { label, TimeMs } from './bounded.ts';
import { CIDS_PER_BATCH_MAX, DAG_BLOCKS_MAX, DAG_SIZE_MAX_BYTES } from './bytes.ts';
import { Cid, PeerId } from './cid.ts';
import { PIN_NAME_MAX_BYTES } from './file-name.ts';
import { MemberState } from './member.ts';
import { REPLICAS_MAX } from './pin.ts';

/** Names one upload's hold on its blocks until the file is pinned or given up. */
export const Lease = z.string().regex(/^[0-9a-f-]{36}$/, 'is not a lease id (a UUID)');
export type Lease = z.infer<typeof Lease>;

/** Queue `replicate`: copy these blocks from this peer to the peers that placement names. */
export const ReplicateJob = z.object({
  v: z.literal(1),
  lease: Lease,
  cids: z.array(Cid).min(1).max(CIDS_PER_BATCH_MAX),
  replicas: z.int().min(1).max(REPLICAS_MAX),
});
export type ReplicateJob = z.infer<typeof ReplicateJob>;

/**
 * Copies that anything may be said to have: above the largest swarm.
 * Past it: the report is passed over.
 */
const COPIES_MAX = 65_536;

/** Progress and result of a `replicate` job: the fewest confirmed copies over its blocks, ours included. */
export const ReplicateProgress = z.object({ copies: z.int().min(0).max(COPIES_MAX) });
export type ReplicateProgress = z.infer<typeof ReplicateProgress>;

/** Queue `settle`: make what this peer holds of these DAGs what placement says it should hold. */
export const SettleJob = z.object({
  v: z.literal(2),
  roots: z.array(Cid).min(1).max(CIDS_PER_BATCH_MAX),
});
export type SettleJob = z.infer<typeof SettleJob>;

/**
 * Queue `release`: an upload is over, so the leases of the peers that took its blocks are too. With
 * `keep`, its pin exists and holds the blocks from now on; else they may go.
 */
export const ReleaseJob = z.object({
  v: z.literal(1),
  lease: Lease,
  keep: z.boolean().default(false),
});
export type ReleaseJob = z.infer<typeof ReleaseJob>;

export const QUEUES = {
  replicate: { name: 'replicate', payload: ReplicateJob },
  settle: { name: 'settle', payload: SettleJob },
  release: { name: 'release', payload: ReleaseJob },
} as const;
export type QueueName = keyof typeof QUEUES;

/** Redis channel for progress events; the gateway relays it as server-sent events. */
export const EVENTS_CHANNEL = 'shoal:events';

/** A file's name in an event, whatever may be wrong with it otherwise. */
const EventName = label(PIN_NAME_MAX_BYTES);

/** An event of `GET /events`. `atMs` is the sender's wall clock. */
export const SwarmEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('member'), atMs: TimeMs, peerId: PeerId, state: MemberState }),
  z.object({
    kind: z.literal('upload'),
    atMs: TimeMs,
    name: EventName,
    cid: Cid.optional(),
    phase: z.enum(['receiving', 'spreading', 'done', 'failed']),
    receivedBytes: z.int().min(0).max(DAG_SIZE_MAX_BYTES),
    copies: z.int().min(0).max(COPIES_MAX),
  }),
  z.object({ kind: z.literal('pin'), atMs: TimeMs, cid: Cid, name: EventName }),
  z.object({ kind: z.literal('deleted'), atMs: TimeMs, cid: Cid, name: EventName }),
  /** A deleted file can't be brought back any more. `isForRoom`: this peer needed its room. */
  z.object({
    kind: z.literal('purged'),
    atMs: TimeMs,
    cid: Cid,
    name: EventName,
    isForRoom: z.boolean(),
  }),
  z.object({
    kind: z.literal('repair'),
    atMs: TimeMs,
    cid: Cid,
    copiedBlocks: z.int().min(0).max(DAG_BLOCKS_MAX),
    droppedBlocks: z.int().min(0).max(DAG_BLOCKS_MAX),
  }),
  z.object({ kind: z.literal('holding'), atMs: TimeMs, cid: Cid, peerId: PeerId }),
]);
export type SwarmEvent = z.infer<typeof SwarmEvent>;
