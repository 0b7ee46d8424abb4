import * as z from 'zod';
import { Flag, YesNo } from '../bounded.ts';
import { CIDS_PER_BATCH_MAX } from '../bytes.ts';
import { Cid, FileHash, PeerId } from '../cid.ts';
import { FileEntry, FileHealth } from '../file.ts';
import { HaveAnswer } from '../have-map.ts';
import { DATE_MAX_MS, Origin, TimeMs } from '../bounded.ts';
import { Member, SignedRecord } from '../member.ts';
import { Pin, PinChange, PinDraft } from '../pin.ts';
import { KeyId } from '../rights/roster.ts';
import { route } from '../route.ts';

const none = z.object({});

/** So often something may have happened between two reports of it. Past it: 400. */
const TIMES_MAX = 2 ** 31 - 1;

/** Where a page of files ended: the date that it is ordered by, and a root. Text that only discovery reads. */
export const FilesCursor = z
  .string()
  .regex(/^\d{1,15}\.[a-z2-7]{59}$/, 'is not what a page calls `next`');

/**
 * Deleted files in one list of those that can be purged, or in one request to purge some.
 * Past it: the others stay, and come next.
 */
export const PURGES_MAX = 1000;

/**
 * Roots in one want: an answer then stays under the 4 MB of a libp2p message.
 * Past it: 400; our own lists are cut into several.
 */
export const WANT_ROOTS_MAX = 64;

/** Pins put, or looked up, in one call. Past it: 400; our own lists are cut into several. */
export const PINS_PER_CALL_MAX = 64;

/** Whether the peer's wall clock agrees with its members'. Where it is wrong nothing is written. */
export const ClockReport = z.object({
  /** Ahead of the median of the members' clocks, below zero when behind; absent while no member says. */
  aheadMs: z.int().optional(),
  isWrong: z.boolean(),
});
export type ClockReport = z.infer<typeof ClockReport>;

/** Another process that runs under this peer's identity: one of the two folders is a copy. */
export const TwinReport = z.object({
  /** This one keeps out of the swarm, and nothing is written here; otherwise the other one does. */
  isAside: z.boolean(),
  /** When the other one started, by its clock. */
  sinceMs: TimeMs,
  /** When a sign of its life came last. */
  seenMsAgo: TimeMs,
  gateway: Origin,
});
export type TwinReport = z.infer<typeof TwinReport>;

/** An owner shut this peer out of the swarm. */
export const RemovedReport = z.object({
  by: KeyId,
  /** By the clock of who did it. */
  atMs: TimeMs,
  reason: z.string().optional(),
});
export type RemovedReport = z.infer<typeof RemovedReport>;

/** Longest random text that a peer is asked to sign. Past it: not taken. */
const NONCE_MAX_CHARS = 64;
/** Records in one answer: a full member table. Past it: not taken. */
const RECORDS_MAX = 1025;

export const PeersReply = z.object({
  self: PeerId,
  /** Distinct machines among the members that are up. */
  machines: z.int().nonnegative().default(0),
  /** Distinct disks among them, however they are cut: one disk is one accident. */
  disks: z.int().nonnegative(),
  /** How many of each may be lost together before a block of a file with the default copies may be. */
  survives: z
    .object({
      peers: z.int().nonnegative(),
      disks: z.int().nonnegative(),
      machines: z.int().nonnegative(),
    })
    .optional(),
  /** The same in a sentence. */
  summary: z.string().default(''),
  /** Absent in answers of earlier versions. */
  clock: ClockReport.optional(),
  /** Absent without one. */
  twin: TwinReport.optional(),
  /** Absent while it belongs to the swarm. */
  removed: RemovedReport.optional(),
  peers: z.array(Member),
});
export type PeersReply = z.infer<typeof PeersReply>;

export const MembersReply = z.object({
  /** Grows with every change; give it back as `after` to wait for the next one. */
  version: z.int().nonnegative(),
  clock: ClockReport.optional(),
  twin: TwinReport.optional(),
  removed: RemovedReport.optional(),
  members: z.array(Member),
});
export type MembersReply = z.infer<typeof MembersReply>;

/** Reports of proofs in one call. Past it: 400. */
export const PROOF_REPORTS_MAX = 64;

/** The outcome of asking a member for proofs of its copies. */
export const ProofReport = z.object({
  peerId: PeerId,
  /** Blocks that it proved, which it was not sent just before. */
  proved: z.int().min(0).max(TIMES_MAX),
  /** Blocks that it said it holds and could not prove. */
  failed: z.array(Cid).max(CIDS_PER_BATCH_MAX),
  /** Times that it did not answer at all. */
  unanswered: z.int().min(0).max(TIMES_MAX),
});
export type ProofReport = z.infer<typeof ProofReport>;

export const discoveryRoutes = {
  listPeers: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/peers',
    summary: 'The members of the swarm as this peer sees them, itself included.',
    params: none,
    query: none,
    body: undefined,
    reply: PeersReply,
  }),
  listFiles: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/files',
    summary:
      'The files of the swarm, newest first, with their copies and the date of the answers that these rest on.',
    params: none,
    query: z.object({
      limit: z.coerce.number().int().min(1).max(1000).default(100),
      /** Goes on behind this page: its `next`. Files that come or go between two pages move nothing. */
      after: FilesCursor.optional(),
      /** Lists the deleted files that can be brought back instead, the last one deleted first. */
      deleted: Flag,
    }),
    body: undefined,
    reply: z.object({
      total: z.int().nonnegative(),
      files: z.array(FileEntry),
      /** Why files of the swarm may be missing from it; absent when this peer knows of no reason. */
      incomplete: z.string().optional(),
      /** Given back as `after`, it asks for the next page; absent on the last one. */
      next: FilesCursor.optional(),
    }),
  }),
  fileHealth: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/files/:hash/health',
    checksRoot: true,
    summary:
      'How safe a file is: every member is asked now. An answer that is missing is said, and an older one of that peer counts with its date.',
    params: z.object({ hash: FileHash }),
    query: none,
    body: undefined,
    reply: FileHealth,
  }),
  changeFile: route({
    service: 'discovery',
    audience: 'public',
    method: 'PATCH',
    path: '/files/:hash',
    checksRoot: true,
    summary:
      'Changes the name, the copies or the end of a file, for the whole swarm; answers the file as it is now.',
    params: z.object({ hash: FileHash }),
    query: none,
    body: PinChange,
    reply: FileEntry,
  }),
  removeFile: route({
    service: 'discovery',
    audience: 'public',
    method: 'DELETE',
    path: '/files/:hash',
    checksRoot: true,
    summary:
      'Deletes a file from the whole swarm, also from peers that are away now. It can be brought back until `purgeAtMs`; then, and with ?now at once, it is purged: its bytes go with the two sweeps that follow. With ?now a file that is deleted already is purged too.',
    params: z.object({ hash: FileHash }),
    query: z.object({ now: Flag }),
    body: undefined,
    reply: z.object({
      cid: Cid,
      name: z.string(),
      deletedAtMs: z.int().nonnegative(),
      /** Until when it can be brought back; absent when it is purged, or kept. */
      purgeAtMs: z.int().nonnegative().optional(),
      /** Peers that pinned the same file, for which it stays; absent when it is deleted. */
      keptBy: z.array(PeerId).optional(),
    }),
  }),
  undeleteFile: route({
    service: 'discovery',
    audience: 'public',
    method: 'POST',
    path: '/files/:hash/undelete',
    checksRoot: true,
    summary:
      'Brings a deleted file back, for the whole swarm; answers the file as it is now. 410 when it was purged.',
    params: z.object({ hash: FileHash }),
    query: none,
    body: undefined,
    reply: FileEntry,
  }),
  listPurgeable: route({
    service: 'discovery',
    audience: 'local',
    method: 'GET',
    path: '/purges',
    summary: 'The deleted files that can be brought back, the one that is purged next first.',
    params: none,
    query: z.object({ limit: z.coerce.number().int().min(1).max(PURGES_MAX).default(PURGES_MAX) }),
    body: undefined,
    reply: z.object({ roots: z.array(Cid).max(PURGES_MAX) }),
  }),
  purgeForRoom: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/purges',
    summary:
      'Purges those of these files that are deleted, for the whole swarm, since this peer needs their room.',
    params: none,
    query: none,
    body: z.object({ roots: z.array(Cid).min(1).max(PURGES_MAX) }),
    reply: z.object({ purged: z.int().nonnegative() }),
  }),
  members: route({
    service: 'discovery',
    audience: 'local',
    method: 'GET',
    path: '/members',
    summary: 'The member table; waits up to `waitMs` for a version past `after`.',
    params: none,
    query: z.object({
      after: z.coerce.number().int().min(-1).default(-1),
      waitMs: z.coerce.number().int().min(0).max(30_000).default(0),
    }),
    body: undefined,
    reply: MembersReply,
  }),
  meet: route({
    service: 'discovery',
    audience: 'peer',
    method: 'POST',
    path: '/meetings',
    summary:
      'Shows who runs here: its record, signed with the nonce given, and the records of all members. For two processes of one identity, which cannot connect otherwise.',
    params: none,
    query: none,
    body: z.object({
      nonce: z
        .string()
        .min(16)
        .max(NONCE_MAX_CHARS)
        .regex(/^[\w-]*$/, 'is not a nonce'),
      /** The caller's own record. */
      record: SignedRecord,
    }),
    reply: z.object({
      own: SignedRecord,
      others: z
        .array(z.object({ signed: SignedRecord, ageMs: z.number().min(0).max(DATE_MAX_MS) }))
        .max(RECORDS_MAX),
    }),
  }),
  putPins: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/pins',
    summary:
      'Signs pins, stores them durably in one transaction, all or none, and sends them to every member; the answer has their order.',
    params: none,
    query: none,
    body: z.object({ drafts: z.array(PinDraft).min(1).max(PINS_PER_CALL_MAX) }),
    reply: z.object({ pins: z.array(Pin).max(PINS_PER_CALL_MAX) }),
  }),
  findPins: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/pins/find',
    summary:
      'The pins of several files that are known here, live ones and those of deleted files that can be brought back; null where there is none.',
    params: none,
    query: none,
    body: z.object({ hashes: z.array(FileHash).min(1).max(PINS_PER_CALL_MAX) }),
    reply: z.object({ pins: z.array(Pin.nullable()).max(PINS_PER_CALL_MAX) }),
  }),
  getPin: route({
    service: 'discovery',
    audience: 'local',
    method: 'GET',
    path: '/pins/:hash',
    summary:
      'The live pin of a file; asks the other members when it is not known here. 404 when nobody knows one, 410 when it was deleted or ended.',
    params: z.object({ hash: FileHash }),
    query: z.object({
      /** False answers from what is known here, at once. */
      ask: YesNo.default(true),
      /** Also that of a deleted file that can be brought back. */
      deleted: Flag,
    }),
    body: undefined,
    reply: Pin,
  }),
  tokenUse: route({
    service: 'discovery',
    audience: 'local',
    method: 'GET',
    path: '/tokens/:token/use',
    summary:
      'Bytes of the live files that were put with a token, as far as their pins are known here.',
    params: z.object({ token: KeyId }),
    query: none,
    body: undefined,
    reply: z.object({ usedBytes: z.int().nonnegative() }),
  }),
  listPins: route({
    service: 'discovery',
    audience: 'local',
    method: 'GET',
    path: '/pins',
    summary: 'The live pins in the order of their roots, a page at a time.',
    params: none,
    query: z.object({
      after: z.string().max(64).default(''),
      limit: z.coerce.number().int().min(1).max(1000).default(500),
      /** Also those that ended so lately that a wrong clock might be all there is to it. */
      justExpired: YesNo.default(false),
      /** Also those of deleted files that can be brought back. */
      deleted: Flag,
    }),
    body: undefined,
    reply: z.object({
      pins: z.array(Pin),
      next: z.string().optional(),
      /**
       * False while pins may be unknown here: since its start this peer has not compared its set with
       * that of every member that is up, or it knows members and none is up.
       */
      isCurrent: z.boolean(),
    }),
  }),
  copies: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/copies',
    summary:
      'The fewest copies over the blocks of each of these files, in their order, as a list gives them.',
    params: none,
    query: none,
    body: z.object({ roots: z.array(Cid).min(1).max(WANT_ROOTS_MAX) }),
    reply: z.object({
      /** `copies` is absent for a root without a live pin. */
      files: z.array(z.object({ cid: Cid, copies: z.int().nonnegative().optional() })),
    }),
  }),
  noteProofs: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/proofs',
    summary: 'What came of asking members for proofs of their copies.',
    params: none,
    query: none,
    body: z.object({ reports: z.array(ProofReport).min(1).max(PROOF_REPORTS_MAX) }),
    reply: none,
  }),
  setDraining: route({
    service: 'discovery',
    audience: 'local',
    method: 'PUT',
    path: '/draining',
    summary: 'Notes durably, and tells all members, whether this peer hands over what it holds.',
    params: none,
    query: none,
    body: z.object({ isDraining: z.boolean() }),
    reply: none,
  }),
  want: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/wants',
    summary:
      'Asks the swarm who holds these roots; answers with have-maps, ours left out. Ends when `enough` peers answered, all did, or after `timeoutMs`.',
    params: none,
    query: none,
    body: z.object({
      roots: z.array(Cid).min(1).max(WANT_ROOTS_MAX),
      enough: z.int().min(1).max(65_536).optional(),
      timeoutMs: z.int().min(10).max(10_000).default(1500),
    }),
    reply: z.object({ asked: z.int().nonnegative(), answers: z.array(HaveAnswer) }),
  }),
  announce: route({
    service: 'discovery',
    audience: 'local',
    method: 'POST',
    path: '/announcements',
    summary: 'What this peer holds of these roots has changed: tell the others.',
    params: none,
    query: none,
    body: z.object({ roots: z.array(Cid).min(1).max(WANT_ROOTS_MAX) }),
    reply: none,
  }),
  holders: route({
    service: 'discovery',
    audience: 'local',
    method: 'GET',
    path: '/holders/:cid',
    summary: 'Who announced or answered that they hold blocks of this root, from memory.',
    params: z.object({ cid: Cid }),
    query: none,
    body: undefined,
    reply: z.object({ answers: z.array(HaveAnswer) }),
  }),
} as const;
