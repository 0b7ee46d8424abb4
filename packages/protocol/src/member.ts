import * as z from 'zod';
import { label, Multiaddr, Origin, TimeMs } from './bounded.ts';
import { PeerId } from './cid.ts';
import { GivenName } from './rights/roster.ts';

/** The five services of a peer, in the order of their ports (`base + index`). */
export const SERVICES = ['gateway', 'chunker', 'storage', 'transfer', 'discovery'] as const;
export const Service = z.enum(SERVICES);
export type Service = z.infer<typeof Service>;

/** In order of dependency: started from the first, stopped from the last. */
export const START_ORDER = ['storage', 'discovery', 'transfer', 'chunker', 'gateway'] as const;

/** Where each service of a peer answers HTTP: origins such as `http://127.0.0.1:7102`. */
export const Endpoints = z.record(Service, Origin);
export type Endpoints = z.infer<typeof Endpoints>;

/** The disk of a peer that keeps its blocks in memory: it is none. */
export const DISK_MEMORY = 'memory';
/** An unknown host or disk: it may be the same as any other. */
export const DOMAIN_UNKNOWN = 'unknown';
/** Begins the name of a disk that several machines share over the network. */
export const DISK_SHARED_PREFIX = 'net:';

/** The failure domain, which two peers share when one accident can take both: the same boot of a host, the same disk. */
export const FailureDomain = z.object({
  /** Boot id of the host's kernel, or `unknown`. */
  host: label(64),
  /** The device under the blocks, however it is cut: `vda`, `memory`, `net:…` or `unknown`. */
  disk: label(64),
});
export type FailureDomain = z.infer<typeof FailureDomain>;

/** Records of one run of a peer: at five a second, thousands of years. Past it: its record is refused. */
const SEQ_MAX = 2 ** 40;

/**
 * Space that a peer may say it has, 4 PiB.
 * Past it: its record is refused; of its own it states no more.
 */
export const SPACE_MAX_BYTES = 2 ** 52;
/**
 * Blocks that a peer may say it has: a million million.
 * Past it: its record is refused; of its own it states no more.
 */
const BLOCKS_HELD_MAX = 2 ** 40;

/** Longest text that is signed; a record with 16 addresses is a third of it. Past it: not taken. */
const PAYLOAD_MAX_CHARS = 16 * 1024;

/** Anything that a peer signed: the very text, relayed as it is. */
export const SignedRecord = z.object({
  payload: z.string().max(PAYLOAD_MAX_CHARS),
  signature: z.string().max(100),
});
export type SignedRecord = z.infer<typeof SignedRecord>;

/** One run of a peer. Two of one peer at a time are twins: its folder was copied and started beside it. */
export const PeerRun = z.object({
  /** Random, so that a peer knows the records of itself that it did not write. */
  id: label(32),
  /** When it started: the incarnation that it began with. */
  sinceMs: TimeMs,
  /** It found a twin that came before it, and keeps out of the swarm. */
  isAside: z.boolean(),
  /** A nonce of the reader of this very record, which shows that the run lives. */
  nonce: label(64).optional(),
});
export type PeerRun = z.infer<typeof PeerRun>;

/** A peer's record of itself, signed with its key, and relayed as it was signed. */
export const MemberRecord = z.object({
  v: z.literal(1),
  peerId: PeerId,
  /** Orders records of one peer: first by incarnation (one per start), then by seq (one per record). */
  incarnation: TimeMs,
  seq: z.int().min(0).max(SEQ_MAX),
  /** Its wall clock when it said so; absent in records of earlier versions. */
  atMs: TimeMs.optional(),
  /** Multiaddrs that other peers can dial. */
  libp2p: z.array(Multiaddr).max(16),
  http: Endpoints,
  /** Whether other peers must call those by TLS; absent where they are called plainly. */
  tls: z.boolean().default(false),
  domain: FailureDomain,
  version: label(32),
  /** Space the operator gave to blocks: the weight in placement, so it is configured, not measured. */
  capacityBytes: z.int().min(0).max(SPACE_MAX_BYTES),
  usedBytes: z.int().min(0).max(SPACE_MAX_BYTES),
  freeBytes: z.int().min(0).max(SPACE_MAX_BYTES),
  blocks: z.int().min(0).max(BLOCKS_HELD_MAX),
  /** True in the last record of a peer that leaves on purpose. */
  leaving: z.boolean(),
  /** True while it hands over what it holds: it still serves, nothing is placed on it any more. */
  draining: z.boolean().default(false),
  /** Which run of the peer says so; absent in records of earlier versions. */
  run: PeerRun.optional(),
  /** Gateway of a twin, another process under its identity; absent when it knows of none, and in earlier versions. */
  twin: Origin.optional(),
});
export type MemberRecord = z.infer<typeof MemberRecord>;

/**
 * How much a member is relied upon.
 * `alive`: asked and placed on. `suspect`: a time-out; still asked, last. `down`: not asked, still
 * placed on, because a reboot must copy nothing. `out`: neither.
 */
export const MemberState = z.enum(['alive', 'suspect', 'down', 'out']);
export type MemberState = z.infer<typeof MemberState>;

/** Whether a member can keep what it has: it is up, means to stay, and gives space. */
export function keepsCopies({
  state,
  draining,
  capacityBytes,
}: Pick<Member, 'state' | 'draining' | 'capacityBytes'>): boolean {
  return (state === 'alive' || state === 'suspect') && !draining && capacityBytes > 0;
}

/** Whether a member has said what space it has: it asks its storage for that a moment after its start. */
export const hasFigures = ({ capacityBytes, domain }: Pick<Member, 'capacityBytes' | 'domain'>) =>
  capacityBytes > 0 || domain.disk !== DOMAIN_UNKNOWN;

/** Whether copies can be made at a member now: it can keep them, and is not full. */
export function takesCopies(
  member: Pick<Member, 'state' | 'draining' | 'capacityBytes' | 'freeBytes'>,
): boolean {
  return keepsCopies(member) && member.freeBytes > 0;
}

/** A member as one peer sees it. */
export const Member = MemberRecord.extend({
  state: MemberState,
  isSelf: z.boolean(),
  /** That people gave it. Absent: people know it by its id. */
  name: GivenName.optional(),
  /** Milliseconds since the last sign of life; a member signs a new record when its figures change. */
  seenMsAgo: TimeMs,
  /** How long it has been down or out. */
  goneForMs: TimeMs.optional(),
  /** Of one that is down: when it counts as gone for good, and its copies are made anew elsewhere. */
  outInMs: TimeMs.optional(),
  /** Blocks that it was asked to prove, by this peer since its start; absent before that. */
  proofs: z
    .object({
      /** All of them that it said it holds. */
      claimed: z.int().nonnegative(),
      proved: z.int().nonnegative(),
      failed: z.int().nonnegative(),
      /** Times that it did not answer. */
      unanswered: z.int().nonnegative(),
      /** When it last failed to prove a block that it said it holds. */
      failedAtMs: TimeMs.optional(),
    })
    .optional(),
  /** It failed to prove what it said it holds, so that this peer counts no copy of it. */
  isDistrusted: z.boolean().optional(),
});
export type Member = z.infer<typeof Member>;
