/** Problems of the swarm, this peer or its disk. */
import * as z from 'zod';
import { DateText } from '../bounded.ts';
import { defineProblem } from './problem.ts';

/** No live pin has this hash, here or at the members that answered. */
export const FileNotFound = defineProblem({
  type: 'problems/file-not-found',
  title: 'File not found',
  status: 404,
  fields: z.object({
    hash: z.string(),
    peersAsked: z.int().nonnegative(),
    /** Of those, the ones that gave no answer: one of them may know it. */
    peersSilent: z.int().nonnegative().optional(),
  }),
  detail: ({ hash, peersAsked, peersSilent = 0 }) =>
    `no file ${hash} is known here, nor at the other peers that were asked (${peersAsked}${peersSilent === 0 ? '' : `, of which ${peersSilent} did not answer`})`,
});

/** The file was here, and is not kept any more: it was deleted, or it expired. */
export const FileGone = defineProblem({
  type: 'problems/file-gone',
  title: 'File gone',
  status: 410,
  fields: z.object({
    hash: z.string(),
    why: z.enum(['deleted', 'expired']),
    /** A deleted file can be brought back until then; absent when it can't, as it was purged. */
    purgeAt: DateText.optional(),
  }),
  detail: ({ hash, why, purgeAt }) => {
    if (purgeAt !== undefined)
      return `file ${hash} was deleted; until ${purgeAt} it can be brought back: shoal undelete ${hash}, or POST /files/${hash}/undelete`;
    return `file ${hash} ${why === 'deleted' ? 'was deleted' : 'was kept until its expiresAt'}; upload it again to have it back`;
  },
});

/** An owner shut this peer out of the swarm. */
export const PeerRemoved = defineProblem({
  type: 'problems/peer-removed',
  title: 'Peer removed',
  status: 503,
  fields: z.object({ reason: z.string().optional() }),
  detail: ({ reason }) =>
    `this peer was removed from the swarm${reason === undefined ? '' : ` (${reason})`}, so nothing is taken in here: a file would have this one copy; ask a member`,
});

/** Other peers pinned the file, and this one may change only what was put through it. */
export const FileOfAnother = defineProblem({
  type: 'problems/file-of-another',
  title: 'File of another peer',
  status: 403,
  fields: z.object({
    hash: z.string(),
    /** The peers that pinned it, or the first of them, with the names that people gave them. */
    authors: z.array(z.object({ peerId: z.string(), name: z.string().optional() })).optional(),
  }),
  detail: ({ hash, authors = [] }) => {
    const names = authors.map(({ peerId, name }) =>
      name === undefined ? peerId : `${name} (${peerId})`,
    );
    const who = names.length === 0 ? 'other peers' : names.join(', ');
    return `file ${hash} was put through ${who}, and this peer may change only what was put through itself; ask there, at a peer that may change all files (shoal members shows which may), or with a token of an owner that may (delete to delete it, write and delete to change it)`;
  },
});

/** This peer does not hold the block; another one may. */
export const BlockNotFound = defineProblem({
  type: 'problems/block-not-found',
  title: 'Block not found',
  status: 404,
  fields: z.object({ cid: z.string() }),
  detail: ({ cid }) => `no block ${cid} is stored here`,
});

/** No member that is up has the block. */
export const BlockAbsent = defineProblem({
  type: 'problems/block-absent',
  title: 'Block absent',
  status: 404,
  fields: z.object({ cid: z.string(), peersAsked: z.int().nonnegative() }),
  detail: ({ cid, peersAsked }) =>
    `none of the ${peersAsked} peers that were asked has block ${cid}; it may be on one that is away`,
});

/** The caller wants only what is stored on this very peer, and this is not. */
export const NotCached = defineProblem({
  type: 'problems/not-cached',
  title: 'Not cached',
  status: 412,
  fields: z.object({ cid: z.string() }),
  detail: ({ cid }) =>
    `block ${cid} is not stored on this peer; ask without "only-if-cached" and it asks the others`,
});

/** Bytes that were put or fetched under a CID hash to another one. */
export const BlockCorrupt = defineProblem({
  type: 'problems/block-corrupt',
  title: 'Block corrupt',
  status: 422,
  fields: z.object({ cid: z.string(), peer: z.string() }),
  detail: ({ cid, peer }) => `the bytes from ${peer} do not hash to ${cid}; they were refused`,
});

/** A block of a DAG to pin is neither in the swarm nor at the gateways that were named. */
export const DagIncomplete = defineProblem({
  type: 'problems/dag-incomplete',
  title: 'DAG incomplete',
  status: 404,
  fields: z.object({
    root: z.string(),
    cid: z.string(),
    /** Gateways that were asked for the block, and what came of it. */
    tried: z.array(z.object({ gateway: z.string(), outcome: z.string() })).optional(),
  }),
  detail: ({ root, cid, tried }) =>
    `block ${cid} of ${root} is not in the swarm${(tried ?? [])
      .map(({ gateway, outcome }) => `, ${gateway}: ${outcome}`)
      .join('')}; what came stays here for a while, so that you can ask again`,
});

/** A torrent or a Metalink is asked for of something that can't have one. */
export const DescriptionImpossible = defineProblem({
  type: 'problems/description-impossible',
  title: 'Description impossible',
  status: 409,
  fields: z.object({ root: z.string(), form: z.string(), reason: z.string() }),
  detail: ({ root, form, reason }) => `there is no ${form} of ${root}: ${reason}`,
});

/** A torrent or a Metalink needs digests of the whole file, which takes longer than a request waits. */
export const DescriptionNotReady = defineProblem({
  type: 'problems/description-not-ready',
  title: 'Description not ready',
  status: 503,
  fields: z.object({ root: z.string(), form: z.string(), hashedBytes: z.int().nonnegative() }),
  detail: ({ root, form, hashedBytes }) =>
    `the ${form} of ${root} is being made, ${hashedBytes} bytes of the file are read; ask again soon, or it is given up`,
});

/** Every provider of a block failed for as long as a download waits. */
export const BlockUnavailable = defineProblem({
  type: 'problems/block-unavailable',
  title: 'Block unavailable',
  status: 503,
  fields: z.object({ cid: z.string(), providersTried: z.int().nonnegative() }),
  detail: ({ cid, providersTried }) =>
    `none of ${providersTried} peers returned block ${cid}; try again when more peers are up`,
});

/** The nodes of a file's DAG are not all here, so its blocks can't be listed. */
export const ManifestIncomplete = defineProblem({
  type: 'problems/manifest-incomplete',
  title: 'Manifest incomplete',
  status: 409,
  fields: z.object({ root: z.string(), cid: z.string() }),
  detail: ({ root, cid }) =>
    `the list of blocks of ${root} can't be read here: node ${cid} is absent`,
});

/** A block that should list blocks is not a node, or its sizes do not add up. */
export const ManifestInvalid = defineProblem({
  type: 'problems/manifest-invalid',
  title: 'Manifest invalid',
  status: 422,
  fields: z.object({ cid: z.string(), reason: z.string() }),
  detail: ({ cid, reason }) => `block ${cid} is not a node of a file: ${reason}`,
});

/** The capacity given to blocks is used up, or the disk is full but for its reserve. */
export const StorageFull = defineProblem({
  type: 'problems/storage-full',
  title: 'Storage full',
  status: 507,
  fields: z.object({
    /** Which limit was reached: `storage capacity`, `disk space`, … */
    limit: z.string(),
    /** Bytes that may still be written, before the limit. */
    freeBytes: z.int().nonnegative(),
    /** Peers that could take it, the roomiest first; absent when nobody looked. */
    peersWithRoom: z
      .array(z.object({ peerId: z.string(), gateway: z.string(), freeBytes: z.int() }))
      .optional(),
  }),
  detail: ({ limit, freeBytes, peersWithRoom }) =>
    `this peer's ${limit} is reached (${freeBytes} bytes free); ${whereElse(peersWithRoom)}`,
});

/** A service of this peer refused the connection, broke it, or did not answer in time. */
export const ServiceUnavailable = defineProblem({
  type: 'problems/service-unavailable',
  title: 'Service unavailable',
  status: 503,
  fields: z.object({ service: z.string() }),
  detail: ({ service }) =>
    `this peer's ${service} service does not answer; it is restarted when it crashed, try again shortly`,
});

/** This peer's clock is so far from those of its members that what it writes would be dated wrong. */
export const ClockWrong = defineProblem({
  type: 'problems/clock-wrong',
  title: 'Clock wrong',
  status: 503,
  fields: z.object({
    /** Ahead of the median of the members' clocks; below zero when it is behind. */
    aheadMs: z.int(),
  }),
  detail: ({ aheadMs }) =>
    `this peer's clock is ${Math.floor(Math.abs(aheadMs) / 86_400_000)} days ${aheadMs < 0 ? 'behind' : 'ahead of'} the clocks of its members, so nothing is written here; set the clocks right (NTP), or write at another peer`,
});

/** Another process runs under this peer's identity, and was first: what is written here might get lost. */
export const IdentityInUse = defineProblem({
  type: 'problems/identity-in-use',
  title: 'Identity in use',
  status: 503,
  fields: z.object({
    /** Gateway of the process that was first. */
    gateway: z.string(),
  }),
  detail: ({ gateway }) =>
    `another process runs under this peer's identity, at ${gateway}: one of the two data folders is a copy of the other, and nothing is written here; stop one of them, or start this one as a peer of its own (shoal peer --new-identity), or write at another peer`,
});

/** A bound on what is done at once is reached. Retry-After says when to come again. */
export const Overloaded = defineProblem({
  type: 'problems/overloaded',
  title: 'Overloaded',
  status: 503,
  fields: z.object({ what: z.string(), limit: z.int() }),
  detail: ({ what, limit }) =>
    `this peer already has ${limit} ${what}; try again shortly, or ask another peer`,
});

/** Others waited for the place that a request held, and it was the slowest or one of too many. */
export const GaveWay = defineProblem({
  type: 'problems/gave-way',
  title: 'Gave way to others',
  status: 503,
  fields: z.object({ what: z.string(), limit: z.int(), reason: z.enum(['slow', 'share']) }),
  detail: ({ what, limit, reason }) =>
    `this peer takes ${limit} ${what} and others were waiting; this one was ended because ${
      reason === 'slow' ? 'it moved too slowly' : 'your address had the most of them'
    }; try again, with fewer at once`,
});

/** A bug. The details are in the log, under the same instance, and nowhere else. */
export const InternalError = defineProblem({
  type: 'problems/internal-error',
  title: 'Internal error',
  status: 500,
  fields: z.object({}),
  detail: () => 'the service met a fault of its own; its log has the details under this instance',
});

export const SWARM_PROBLEMS = [
  FileNotFound,
  FileGone,
  FileOfAnother,
  BlockNotFound,
  BlockAbsent,
  NotCached,
  BlockCorrupt,
  DagIncomplete,
  DescriptionImpossible,
  DescriptionNotReady,
  BlockUnavailable,
  ManifestIncomplete,
  ManifestInvalid,
  StorageFull,
  ServiceUnavailable,
  ClockWrong,
  IdentityInUse,
  PeerRemoved,
  Overloaded,
  GaveWay,
  InternalError,
] as const;

function whereElse(peers: readonly { readonly gateway: string }[] | undefined): string {
  if (peers === undefined) return 'make room here, or upload to another peer';
  if (peers.length === 0) return 'no other peer has room either; make room, or add a peer';
  return `upload to a peer with room (${peers.map(({ gateway }) => gateway).join(', ')}), or make room here`;
}
