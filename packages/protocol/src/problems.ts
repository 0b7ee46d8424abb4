/** The catalogue: every error that a service may answer with. `type` never changes once released. */
import * as z from 'zod';
import { defineProblem, type Problem, type ProblemBody } from './problem.ts';

// ── What the caller sent ─────────────────────────────────────────────────────────────────────────

/** A request can't be read as the route states it: its body, query, headers or path. */
export const RequestInvalid = defineProblem({
  type: 'problems/request-invalid',
  title: 'Request invalid',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `${reason}; correct the request and send it again`,
});

/** What stands in the place of a hash is neither form of one. */
export const HashInvalid = defineProblem({
  type: 'problems/hash-invalid',
  title: 'Hash invalid',
  status: 400,
  fields: z.object({ hash: z.string() }),
  detail: ({ hash }) =>
    `"${hash}" is neither a CID (59 characters, "baf…") nor a sha-256 (64 hex digits); copy it from the upload's answer`,
});

/** What a router is asked about is neither a CID nor, where one is asked for, a peer id. */
export const RoutingKeyInvalid = defineProblem({
  type: 'problems/routing-key-invalid',
  title: 'Routing key invalid',
  status: 422,
  fields: z.object({ key: z.string(), expected: z.string() }),
  detail: ({ key, expected }) => `"${key}" is not ${expected}`,
});

/** A CID that others may read, but that names nothing Shoal can hold: another codec, another hash. */
export const CidUnsupported = defineProblem({
  type: 'problems/cid-unsupported',
  title: 'CID not supported',
  status: 400,
  fields: z.object({ cid: z.string(), reason: z.string() }),
  detail: ({ cid, reason }) =>
    `${cid} can't be read here: ${reason}; blocks are raw (0x55) or dag-pb (0x70), named by sha2-256`,
});

/** A CAR breaks off, or is not one. */
export const CarInvalid = defineProblem({
  type: 'problems/car-invalid',
  title: 'CAR invalid',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `the CAR can't be read: ${reason}; nothing of it was kept`,
});

/** The names of a directory's files do not make a tree. */
export const DirectoryInvalid = defineProblem({
  type: 'problems/directory-invalid',
  title: 'Directory invalid',
  status: 400,
  fields: z.object({ path: z.string(), reason: z.string() }),
  detail: ({ path, reason }) => `"${path}" can't be in the directory: ${reason}; nothing was kept`,
});

/** A gateway is named that this peer's operator does not allow. */
export const GatewayRefused = defineProblem({
  type: 'problems/gateway-refused',
  title: 'Gateway refused',
  status: 403,
  fields: z.object({ gateway: z.string(), reason: z.string() }),
  detail: ({ gateway, reason }) => `blocks are not fetched from ${gateway}: ${reason}`,
});

/** A path leads through a name that its directory does not have. */
export const PathNotFound = defineProblem({
  type: 'problems/path-not-found',
  title: 'Path not found',
  status: 404,
  fields: z.object({ root: z.string(), segment: z.string() }),
  detail: ({ root, segment }) =>
    `there is no "${segment}" on the path below ${root}; list the directory above it`,
});

/** What is there can't be given in the form that was asked for. */
export const FormatUnsupported = defineProblem({
  type: 'problems/format-unsupported',
  title: 'Format not supported',
  status: 406,
  fields: z.object({ format: z.string() }),
  detail: ({ format }) =>
    `this can't be had as ${format}; ask for its block (format=raw), a CAR (format=car), or, when it is a file or directory, without a format`,
});

/** An upload, or a download with `?filename=`, has no usable name, or two different ones. */
export const FileNameInvalid = defineProblem({
  type: 'problems/file-name-invalid',
  title: 'File name invalid',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) =>
    `the file name was refused: ${reason}; give one plain name, for example ?name=report.pdf`,
});

/** A form came to its end without a file part, or its field `file` is text. */
export const FileMissing = defineProblem({
  type: 'problems/file-missing',
  title: 'No file in the form',
  status: 400,
  fields: z.object({}),
  detail: () => 'the form has no file part; send one, for example: curl -F file=@report.pdf',
});

/** A form breaks the rules of multipart/form-data, or ends without its last boundary. */
export const MultipartMalformed = defineProblem({
  type: 'problems/multipart-malformed',
  title: 'Form malformed',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `the multipart body can't be read: ${reason}; nothing was kept`,
});

/** The sender left, or closed, before the whole body was here. */
export const BodyIncomplete = defineProblem({
  type: 'problems/body-incomplete',
  title: 'Body incomplete',
  status: 400,
  fields: z.object({ receivedBytes: z.int(), expectedBytes: z.int().optional() }),
  detail: ({ receivedBytes, expectedBytes }) =>
    `the body ended after ${receivedBytes} bytes${expectedBytes === undefined ? '' : ` of ${expectedBytes}`}; nothing was kept, send it again`,
});

/** A body stalled, or came slower than the minimum rate over a whole window. */
export const BodyTooSlow = defineProblem({
  type: 'problems/body-too-slow',
  title: 'Body too slow',
  status: 408,
  fields: z.object({ bytesPerSecondMin: z.int() }),
  detail: ({ bytesPerSecondMin }) =>
    `the body came slower than ${bytesPerSecondMin} bytes a second for too long; nothing was kept`,
});

/** A request's head is larger than what is read of one. */
export const HeadersTooLarge = defineProblem({
  type: 'problems/headers-too-large',
  title: 'Request headers too large',
  status: 431,
  fields: z.object({ sizeMaxBytes: z.int() }),
  detail: ({ sizeMaxBytes }) =>
    `the request line and its headers are larger than ${sizeMaxBytes} bytes; send fewer or shorter ones`,
});

/** A request's head was not complete in time. */
export const HeadersTooSlow = defineProblem({
  type: 'problems/headers-too-slow',
  title: 'Request headers too slow',
  status: 408,
  fields: z.object({ withinMs: z.int() }),
  detail: ({ withinMs }) => `the request's head was not complete after ${withinMs} ms`,
});

/** The bytes that came in do not have the sha-256 that the sender stated. */
export const DigestMismatch = defineProblem({
  type: 'problems/digest-mismatch',
  title: 'Digest mismatch',
  status: 400,
  fields: z.object({ expected: z.string(), actual: z.string() }),
  detail: ({ expected, actual }) =>
    `the body's sha-256 is ${actual}, but its sender says ${expected}; nothing was kept, send it again`,
});

/** A range begins behind the end of the file. */
export const RangeNotSatisfiable = defineProblem({
  type: 'problems/range-not-satisfiable',
  title: 'Range not satisfiable',
  status: 416,
  fields: z.object({ sizeBytes: z.int().nonnegative() }),
  detail: ({ sizeBytes }) => `the file has ${sizeBytes} bytes; ask for a range within them`,
});

/** A body is larger than its route takes. Files have no such limit. */
export const BodyTooLarge = defineProblem({
  type: 'problems/body-too-large',
  title: 'Body too large',
  status: 413,
  fields: z.object({ sizeMaxBytes: z.int() }),
  detail: ({ sizeMaxBytes }) => `this route takes at most ${sizeMaxBytes} bytes`,
});

/** A body is of a type, or in a Content-Encoding, that its route does not take. */
export const MediaTypeUnsupported = defineProblem({
  type: 'problems/media-type-unsupported',
  title: 'Media type unsupported',
  status: 415,
  fields: z.object({ expected: z.string() }),
  detail: ({ expected }) => `this route takes ${expected}`,
});

/** No route has this method and path; through the gateway, no public one. */
export const RouteUnknown = defineProblem({
  type: 'problems/route-unknown',
  title: 'No such route',
  status: 404,
  fields: z.object({ method: z.string(), path: z.string() }),
  detail: ({ method, path }) =>
    `there is no ${method} ${path} here; /openapi.json lists what there is`,
});

/** A route between peers was called without the proof of the swarm key, or by the wrong peer. */
export const ProofRefused = defineProblem({
  type: 'problems/proof-refused',
  title: 'Proof refused',
  status: 401,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `this route is for peers of the swarm: ${reason}`,
});

/** This peer has a write token, and a write came without it. */
export const TokenRequired = defineProblem({
  type: 'problems/token-required',
  title: 'Token required',
  status: 401,
  fields: z.object({}),
  detail: () =>
    'this peer takes writes with its token alone (its setting WRITE_TOKEN): send the header "Authorization: Bearer <token>"; shoal\'s commands read it from SHOAL_TOKEN or --token-file',
});

/** A write came with another token than this peer's. */
export const TokenWrong = defineProblem({
  type: 'problems/token-wrong',
  title: 'Token wrong',
  status: 401,
  fields: z.object({}),
  detail: () =>
    'the header Authorization does not hold the token of this peer; it is "Bearer <token>", and the token is the one in the peer\'s setting WRITE_TOKEN',
});

/** A browser sent a write on behalf of a page that is not of this peer. */
export const OriginRefused = defineProblem({
  type: 'problems/origin-refused',
  title: 'Origin refused',
  status: 403,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) =>
    `this write came from a web page that may not make it: ${reason}; use this peer's own console, or a program`,
});

/** No upload that may be resumed has this address: it never was, was ended, or is long done. */
export const UploadNotFound = defineProblem({
  type: 'problems/upload-not-found',
  title: 'Upload not found',
  status: 404,
  fields: z.object({ id: z.string() }),
  detail: ({ id }) => `there is no upload ${id} here; begin a new one with POST /uploads`,
});

/** An upload was not gone on with for too long. */
export const UploadExpired = defineProblem({
  type: 'problems/upload-expired',
  title: 'Upload expired',
  status: 410,
  fields: z.object({ id: z.string() }),
  detail: ({ id }) => `upload ${id} was left alone for too long; begin a new one`,
});

/** An upload is not where the sender thinks: other bytes are awaited, or blocks of it were lost. */
export const UploadOffsetWrong = defineProblem({
  type: 'problems/upload-offset-wrong',
  title: 'Upload offset wrong',
  status: 409,
  fields: z.object({ id: z.string(), offsetBytes: z.int().nonnegative() }),
  detail: ({ id, offsetBytes }) =>
    `upload ${id} stands at byte ${offsetBytes}; ask with HEAD and go on from there`,
});

/** Another request has the upload and does not let go of it, or its file is still being put together. */
export const UploadBusy = defineProblem({
  type: 'problems/upload-busy',
  title: 'Upload busy',
  status: 423,
  fields: z.object({ id: z.string() }),
  detail: ({ id }) => `upload ${id} is at work; ask again shortly`,
});

// ── What the swarm lacks ─────────────────────────────────────────────────────────────────────────

/** No live pin has this hash, here or at the members that answered. */
export const FileNotFound = defineProblem({
  type: 'problems/file-not-found',
  title: 'File not found',
  status: 404,
  fields: z.object({ hash: z.string(), peersAsked: z.int().nonnegative() }),
  detail: ({ hash, peersAsked }) =>
    `no file ${hash} is known here, and none of ${peersAsked} other peers answered for it`,
});

/** The file was here, and is not kept any more: somebody deleted it, or its end has come. */
export const FileGone = defineProblem({
  type: 'problems/file-gone',
  title: 'File gone',
  status: 410,
  fields: z.object({ hash: z.string(), why: z.enum(['deleted', 'expired']) }),
  detail: ({ hash, why }) =>
    `file ${hash} ${why === 'deleted' ? 'was deleted' : 'was kept until its expiresAt'}; upload it again to have it back`,
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

/** A block of a DAG that is to be kept is neither in the swarm nor at the gateways that were named. */
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
    /** What may still be written, before the limit. */
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

/** A bound on what is done at once is reached. Retry-After says when to come again. */
export const Overloaded = defineProblem({
  type: 'problems/overloaded',
  title: 'Overloaded',
  status: 503,
  fields: z.object({ what: z.string(), limit: z.int() }),
  detail: ({ what, limit }) =>
    `this peer already has ${limit} ${what}; try again shortly, or ask another peer`,
});

/** A bug. What happened is in the log, under the same instance, and nowhere else. */
export const InternalError = defineProblem({
  type: 'problems/internal-error',
  title: 'Internal error',
  status: 500,
  fields: z.object({}),
  detail: () => 'the service met a fault of its own; its log has the details under this instance',
});

/** Every kind of problem, for the docs and for `problemFromBody`. */
export const PROBLEMS = [
  RequestInvalid,
  HashInvalid,
  CidUnsupported,
  CarInvalid,
  DirectoryInvalid,
  GatewayRefused,
  PathNotFound,
  RoutingKeyInvalid,
  FormatUnsupported,
  FileNameInvalid,
  FileMissing,
  MultipartMalformed,
  BodyIncomplete,
  BodyTooSlow,
  HeadersTooLarge,
  HeadersTooSlow,
  DigestMismatch,
  RangeNotSatisfiable,
  BodyTooLarge,
  MediaTypeUnsupported,
  RouteUnknown,
  ProofRefused,
  TokenRequired,
  TokenWrong,
  OriginRefused,
  UploadNotFound,
  UploadExpired,
  UploadOffsetWrong,
  UploadBusy,
  FileNotFound,
  FileGone,
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
  Overloaded,
  InternalError,
] as const;

/** Whether a file's hash has no live pin: it never had one that we know of, or has none any more. */
export function isFileMissing(error: unknown): boolean {
  return error instanceof FileNotFound || error instanceof FileGone;
}

function whereElse(peers: readonly { readonly gateway: string }[] | undefined): string {
  if (peers === undefined) return 'make room here, or upload to another peer';
  if (peers.length === 0) return 'no other peer has room either; make room, or add a peer';
  return `upload to a peer with room (${peers.map(({ gateway }) => gateway).join(', ')}), or make room here`;
}

/** Turns a body from the wire back into the class that was thrown; undefined for a foreign problem. */
export function problemFromBody(body: ProblemBody): Problem | undefined {
  return PROBLEMS.find(({ type }) => type === body.type)?.fromBody(body);
}
