/**
 * The queues of one peer: names and payloads. Jobs carry ids, never bytes, and may run twice.
 * Redis may lose them all: whatever a job would have done, the settle loop does later from disk.
 */
import * as z from 'zod';
import { CIDS_PER_BATCH_MAX } from './bytes.ts';
import { Cid, PeerId } from './cid.ts';
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

/** Progress and result of a `replicate` job: the fewest confirmed copies over its blocks, ours included. */
export const ReplicateProgress = z.object({ copies: z.int().nonnegative() });
export type ReplicateProgress = z.infer<typeof ReplicateProgress>;

/** Queue `settle`: make what this peer holds of a DAG what placement says it should hold. */
export const SettleJob = z.object({ v: z.literal(1), root: Cid });
export type SettleJob = z.infer<typeof SettleJob>;

/**
 * Queue `release`: an upload is over, so the leases of the peers that took its blocks are too. With
 * `keep` its pin stands and holds the blocks from now on; without, they may go.
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

/** What `GET /events` tells. `atMs` is the sender's wall clock. */
export const SwarmEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('member'), atMs: z.int(), peerId: PeerId, state: z.string() }),
  z.object({
    kind: z.literal('upload'),
    atMs: z.int(),
    name: z.string(),
    cid: Cid.optional(),
    phase: z.enum(['receiving', 'spreading', 'done', 'failed']),
    receivedBytes: z.int().nonnegative(),
    copies: z.int().nonnegative(),
  }),
  z.object({ kind: z.literal('pin'), atMs: z.int(), cid: Cid, name: z.string() }),
  z.object({ kind: z.literal('deleted'), atMs: z.int(), cid: Cid, name: z.string() }),
  z.object({
    kind: z.literal('repair'),
    atMs: z.int(),
    cid: Cid,
    copiedBlocks: z.int().nonnegative(),
    droppedBlocks: z.int().nonnegative(),
  }),
  z.object({ kind: z.literal('holding'), atMs: z.int(), cid: Cid, peerId: PeerId }),
]);
export type SwarmEvent = z.infer<typeof SwarmEvent>;
