import * as z from 'zod';
import { YesNo } from '../bounded.ts';
import { CIDS_PER_BATCH_MAX, SMALL_BLOCKS_MAX } from '../bytes.ts';
import { Cid, FileHash } from '../cid.ts';
import { FileName, UncheckedName } from '../file-name.ts';
import { Nonce } from '../copy-proof.ts';
import { Lease } from '../jobs.ts';
import { REPLICAS_MAX } from '../pin.ts';
import { BYTES, route } from '../route.ts';
import { Bits, CopyProofs } from './storage.ts';

const none = z.object({});

/** Settle requests in one call. Past it: 400; our own lists are cut into several. */
export const SETTLE_ROOTS_MAX = 64;

/** How far a peer is with handing over what it holds. */
export const DrainReport = z.object({
  isDraining: z.boolean(),
  /** True when the peers that remain hold the copies of everything: this peer may go for good. */
  isDrained: z.boolean(),
  filesTotal: z.int().nonnegative(),
  /** Files of which something is still to be handed over, as far as is known. */
  filesLeft: z.int().nonnegative(),
  /** Files that have fewer copies without this peer than they ask for. */
  filesBelow: z.int().nonnegative(),
  blocksLeft: z.int().nonnegative(),
  /** Why it does not go on, when it does not: `no other peer is up`. */
  heldUpBy: z.string().optional(),
});
export type DrainReport = z.infer<typeof DrainReport>;

export const transferRoutes = {
  getFile: route({
    service: 'transfer',
    audience: 'public',
    method: 'GET',
    path: '/files/:hash',
    publicAs: 'files',
    checksRoot: true,
    summary: 'A file by its CID or sha-256 (also HEAD, Range, If-Range, If-None-Match).',
    params: z.object({ hash: FileHash }),
    query: z.object({ download: z.string().optional(), filename: FileName.optional() }),
    body: undefined,
    reply: BYTES,
    // That of its name; bytes, when that tells nothing.
    replyTypes: ['application/octet-stream', '*/*'],
  }),
  getTorrent: route({
    service: 'transfer',
    audience: 'public',
    method: 'GET',
    path: '/files/:hash.torrent',
    publicAs: 'torrents',
    checksRoot: true,
    summary:
      'A file as a BitTorrent v1 metainfo file, with the peers that are up as web seeds (BEP 19; also HEAD, If-None-Match).',
    params: z.object({ hash: FileHash }),
    query: none,
    body: undefined,
    reply: BYTES,
    replyTypes: ['application/x-bittorrent'],
  }),
  getMetalink: route({
    service: 'transfer',
    audience: 'public',
    method: 'GET',
    path: '/files/:hash.meta4',
    publicAs: 'torrents',
    checksRoot: true,
    summary:
      'A file as a Metalink (RFC 5854): its hashes, and its address at the peers that are up (also HEAD, If-None-Match).',
    params: z.object({ hash: FileHash }),
    query: none,
    body: undefined,
    reply: BYTES,
    replyTypes: ['application/metalink4+xml'],
  }),
  getIpfs: route({
    service: 'transfer',
    audience: 'public',
    method: 'GET',
    path: '/ipfs/*',
    publicAs: 'ipfs',
    checksRoot: true,
    summary:
      'Anything by CID and path: the bytes of a UnixFS file, a directory’s page, a block (?format=raw), a CAR (?format=car), a TAR (?format=tar). As the IPFS gateway specifications say.',
    params: z.object({
      '*': z.string().meta({ description: 'a CID in any spelling, and a path below it' }),
    }),
    query: z.object({
      /** Else as `Accept` says, else as the file or directory that it is. */
      format: z
        .string()
        .meta({ enum: ['raw', 'car', 'tar'] })
        .optional(),
      filename: UncheckedName.optional(),
      download: z.string().optional(),
      'dag-scope': z.string().optional(),
      'entity-bytes': z.string().optional(),
      'car-version': z.string().optional(),
      'car-order': z.string().optional(),
      'car-dups': z.string().optional(),
    }),
    body: undefined,
    reply: BYTES,
    replyTypes: [
      'application/vnd.ipld.raw',
      'application/vnd.ipld.car',
      'application/x-tar',
      'text/html', // a directory's page; and files, as all that follows
      'application/json',
      'application/octet-stream',
      'inode/symlink',
      'text/plain',
      '*/*',
    ],
    problemTypes: ['text/plain'],
  }),
  spreadBlocks: route({
    service: 'transfer',
    audience: 'local',
    method: 'POST',
    path: '/copies/small',
    summary:
      'Stores small blocks where placement says, under a lease, or, without one, as whole files that pins of that many replicas are about to reach: a body of frames (see frames.ts). Answers for each how many peers made it durable and proved it, once those are `copies` of each block or no more can be had; the other copies follow.',
    params: none,
    query: z.object({
      replicas: z.coerce.number().int().min(1).max(REPLICAS_MAX),
      copies: z.coerce.number().int().min(0).max(REPLICAS_MAX),
      lease: Lease.optional(),
    }),
    body: BYTES,
    reply: z.object({
      blocks: z
        .array(
          z.object({
            cid: Cid,
            copies: z
              .int()
              .min(0)
              .max(REPLICAS_MAX + 1),
          }),
        )
        .max(SMALL_BLOCKS_MAX),
    }),
  }),
  takeBlocks: route({
    service: 'transfer',
    audience: 'peer',
    method: 'POST',
    path: '/replicas/small',
    summary:
      'Hands over small blocks, under a lease, or, without one, as whole files that pins of that many replicas are about to reach: a body of frames (see frames.ts). This peer makes them durable, and answers the CID and a proof of each.',
    params: none,
    query: z.object({
      replicas: z.coerce.number().int().min(1).max(REPLICAS_MAX),
      nonce: Nonce,
      /** Unknown to earlier versions, which mark the blocks as about to be pinned. */
      lease: Lease.optional(),
    }),
    body: BYTES,
    reply: z.object({ cids: z.array(Cid).max(CIDS_PER_BATCH_MAX), ...CopyProofs.shape }),
  }),
  offerReplicas: route({
    service: 'transfer',
    audience: 'peer',
    method: 'POST',
    path: '/replicas',
    summary:
      'Offers blocks that the caller holds. This peer pulls from the caller those that it lacks, makes them durable, and answers a bit for each that it now holds; to a nonce also a proof of each.',
    params: none,
    query: none,
    body: z.object({
      lease: Lease,
      cids: z.array(Cid).min(1).max(CIDS_PER_BATCH_MAX),
      /** Absent in offers of earlier versions. */
      nonce: Nonce.optional(),
    }),
    reply: Bits.extend(CopyProofs.partial().shape),
  }),
  releaseReplicas: route({
    service: 'transfer',
    audience: 'peer',
    method: 'DELETE',
    path: '/replicas/:lease',
    summary:
      'The upload that offered blocks under this lease is over: pinned (`keep`), or given up.',
    params: z.object({ lease: Lease }),
    query: z.object({ keep: YesNo.default(false) }),
    body: undefined,
    reply: z.object({ deletedBlocks: z.int().nonnegative() }),
  }),
  copyBlocks: route({
    service: 'transfer',
    audience: 'local',
    method: 'POST',
    path: '/copies',
    summary:
      'Copies these blocks from other members into our own storage, verified; a bit for each that is there now.',
    params: none,
    query: none,
    body: z.object({ cids: z.array(Cid).min(1).max(CIDS_PER_BATCH_MAX) }),
    reply: Bits,
  }),
  settleFiles: route({
    service: 'transfer',
    audience: 'local',
    method: 'POST',
    path: '/settlements',
    summary: 'Something about these files changed here: look at them again soon.',
    params: none,
    query: none,
    body: z.object({ roots: z.array(Cid).min(1).max(SETTLE_ROOTS_MAX) }),
    reply: none,
  }),
  forgetPins: route({
    service: 'transfer',
    audience: 'local',
    method: 'POST',
    path: '/pins/forget',
    summary:
      'The pins of these files changed, or with `isAll` any of them: what is remembered of them is out of date. Answered before the change is.',
    params: none,
    query: none,
    body: z.object({ roots: z.array(Cid).max(CIDS_PER_BATCH_MAX), isAll: z.boolean() }),
    reply: none,
  }),
  drainState: route({
    service: 'transfer',
    audience: 'public',
    method: 'GET',
    path: '/drain',
    summary: 'Whether this peer hands over what it holds, and how far it is.',
    params: none,
    query: none,
    body: undefined,
    reply: DrainReport,
  }),
  startDrain: route({
    service: 'transfer',
    audience: 'public',
    method: 'POST',
    path: '/drain',
    right: 'admin',
    summary:
      'This peer is to leave for good: from now on nothing is placed on it, and the others take over what it holds. It serves on meanwhile.',
    params: none,
    query: none,
    body: undefined,
    reply: DrainReport,
  }),
  cancelDrain: route({
    service: 'transfer',
    audience: 'public',
    method: 'DELETE',
    path: '/drain',
    right: 'admin',
    summary: 'This peer stays after all.',
    params: none,
    query: none,
    body: undefined,
    reply: DrainReport,
  }),
} as const;
