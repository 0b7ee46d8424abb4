/** The roster over HTTP: who belongs to the swarm, changes that owners signed, and how a machine joins. */
import * as z from 'zod';
import { Origin, TimeMs } from '../bounded.ts';
import { PeerId } from '../cid.ts';
import { SignedRecord } from '../member.ts';
import {
  GivenName,
  INVITE_USES_MAX,
  KeyId,
  MayChange,
  RecordId,
  ROSTER_RECORDS_MAX,
  ROSTER_RECORDS_PER_MESSAGE_MAX,
} from '../rights/roster.ts';
import { route } from '../route.ts';

const none = z.object({});

/** Longest life of an invitation: a month. Past it: 400. */
export const INVITE_LIFE_MAX_MS = 31 * 24 * 3_600_000;
/** Peers that a joiner calls. Past it: the others are found through these. */
export const JOIN_SEEDS_MAX = 16;

export const RosterReply = z.object({
  /** Absent where the swarm has no owner, and who knows its key belongs to it. */
  swarm: RecordId.optional(),
  /** Whether this peer has compared its roster with a member's since it started. */
  isCompared: z.boolean(),
  /** Whether this peer may sign invitations itself. */
  mayInvite: z.boolean(),
  recovery: KeyId.optional(),
  owners: z.array(
    z.object({ key: KeyId, name: GivenName.optional(), addedBy: KeyId, sinceMs: TimeMs }),
  ),
  members: z.array(
    z.object({
      peerId: PeerId,
      name: GivenName.optional(),
      addedBy: KeyId,
      mayChange: MayChange,
      mayInvite: z.boolean(),
      sinceMs: TimeMs,
    }),
  ),
  removed: z.array(
    z.object({ peerId: PeerId, by: KeyId, reason: z.string().optional(), atMs: TimeMs }),
  ),
  invites: z.array(
    z.object({
      key: KeyId,
      inviter: PeerId,
      uses: z.int(),
      used: z.int(),
      expiresAtMs: TimeMs,
      isClosed: z.boolean(),
    }),
  ),
});
export type RosterReply = z.infer<typeof RosterReply>;

export const JoinReply = z.object({
  records: z.array(SignedRecord).max(ROSTER_RECORDS_MAX),
  /** In hex, as in the file. */
  swarmKey: z.string().regex(/^[0-9a-f]{64}$/, 'is not a swarm key'),
  /** `host:port` for libp2p. */
  seeds: z
    .array(
      z
        .string()
        .max(300)
        .regex(/^[^\s,]+:\d{1,5}$/, 'is not host:port'),
    )
    .max(JOIN_SEEDS_MAX),
});
export type JoinReply = z.infer<typeof JoinReply>;

export const rosterRoutes = {
  show: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/roster',
    summary: 'Who belongs to the swarm: owners, members, those that were removed, and invitations.',
    params: none,
    query: none,
    body: undefined,
    reply: RosterReply,
  }),
  records: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/roster/records',
    summary: 'The signed records of the roster, to be kept, or checked by whom it may concern.',
    params: none,
    query: none,
    body: undefined,
    reply: z.object({ records: z.array(SignedRecord).max(ROSTER_RECORDS_MAX) }),
  }),
  change: route({
    service: 'discovery',
    audience: 'public',
    method: 'POST',
    path: '/roster',
    right: 'admin',
    summary:
      'Takes in records that an owner signed, and tells all members. A first one closes a swarm that had no owner.',
    params: none,
    query: none,
    body: z.object({
      records: z.array(SignedRecord).min(1).max(ROSTER_RECORDS_PER_MESSAGE_MAX),
    }),
    reply: z.object({
      added: z.int().nonnegative(),
      refused: z.array(z.object({ record: z.string(), reason: z.string() })),
    }),
  }),
  invite: route({
    service: 'discovery',
    audience: 'public',
    method: 'POST',
    path: '/invitations',
    right: 'admin',
    summary:
      'Makes an invitation in the name of this peer, where an owner let it: one line for `shoal join`.',
    params: none,
    query: none,
    body: z.object({
      forMs: z.int().min(1000).max(INVITE_LIFE_MAX_MS).default(3_600_000),
      uses: z.int().min(1).max(INVITE_USES_MAX).default(1),
    }),
    reply: z.object({
      code: z.string(),
      key: KeyId,
      expiresAtMs: TimeMs,
      uses: z.int(),
      /** Where the machine that joins must reach this one. */
      addresses: z.array(Origin),
      /** The code as a QR code: modules on a side, with a margin, and the dark ones as a path of SVG. */
      qr: z.object({ size: z.int(), path: z.string() }),
    }),
  }),
  joinInfo: route({
    service: 'discovery',
    audience: 'any-peer',
    method: 'GET',
    path: '/join',
    summary: 'Which swarm an invitation of this peer is for.',
    params: none,
    query: none,
    body: undefined,
    reply: z.object({ swarm: RecordId }),
  }),
  join: route({
    service: 'discovery',
    audience: 'any-peer',
    method: 'POST',
    path: '/join',
    summary:
      'Lets in the peer that calls, which shows by a signature that it has the invitation; answers all that it needs to start.',
    params: none,
    query: none,
    body: z.object({
      invite: KeyId,
      proof: z.string().max(100),
      name: GivenName.optional(),
    }),
    reply: JoinReply,
  }),
};
