/** Problems of a request before its body is read: what it names, how, and who sends it. */
import * as z from 'zod';
import { Cid } from '../cid.ts';
import { RecordId } from '../rights/roster.ts';
import { Right } from '../rights/token.ts';
import { defineProblem } from './problem.ts';

const VERBS: Readonly<Record<Right, string>> = {
  read: 'read',
  write: 'write',
  delete: 'delete',
  admin: 'administer',
};

/** A request can't be read as the route states it: its body, query, headers or path. */
export const RequestInvalid = defineProblem({
  type: 'problems/request-invalid',
  title: 'Request invalid',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `${reason}; correct the request and send it again`,
});

/** The hash in the path has neither form of one. */
export const HashInvalid = defineProblem({
  type: 'problems/hash-invalid',
  title: 'Hash invalid',
  status: 400,
  fields: z.object({ hash: z.string() }),
  detail: ({ hash }) =>
    `"${hash}" is neither a CID (59 characters, "baf…") nor a sha-256 (64 hex digits); copy it from the upload's answer`,
});

/** The router was asked for something that is neither a CID nor, where one is expected, a peer id. */
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

/** The content can't be given in the form that was asked for. */
export const FormatUnsupported = defineProblem({
  type: 'problems/format-unsupported',
  title: 'Format not supported',
  status: 406,
  fields: z.object({ format: z.string() }),
  detail: ({ format }) =>
    `this can't be had as ${format}; ask for its block (format=raw), a CAR (format=car), or, when it is a file or directory, a TAR (format=tar) or without a format`,
});

/** A directory holds something that would lie outside of it once it was unpacked. */
export const LinkLeadsOut = defineProblem({
  type: 'problems/link-leads-out',
  title: 'Link leads out',
  status: 422,
  fields: z.object({ path: z.string() }),
  detail: ({ path }) =>
    `${path} leads out of the root, which is not allowed in a TAR: ask for a CAR (format=car), or for the entries beside it`,
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

/** The content is not what the request's If-Match names. */
export const PreconditionFailed = defineProblem({
  type: 'problems/precondition-failed',
  title: 'Precondition failed',
  status: 412,
  fields: z.object({ etag: z.string() }),
  detail: ({ etag }) =>
    `what is here has the ETag ${etag}, which the request's If-Match does not name`,
});

/** A range begins behind the end of the file. */
export const RangeNotSatisfiable = defineProblem({
  type: 'problems/range-not-satisfiable',
  title: 'Range not satisfiable',
  status: 416,
  fields: z.object({ sizeBytes: z.int().nonnegative() }),
  detail: ({ sizeBytes }) => `the file has ${sizeBytes} bytes; ask for a range within them`,
});

/** A body is of a type, or in a Content-Encoding, that its route does not take. */
export const MediaTypeUnsupported = defineProblem({
  type: 'problems/media-type-unsupported',
  title: 'Media type unsupported',
  status: 415,
  fields: z.object({ expected: z.string() }),
  detail: ({ expected }) => `this route takes ${expected}`,
});

/** No route has this path; through the gateway, no public one. */
export const RouteUnknown = defineProblem({
  type: 'problems/route-unknown',
  title: 'No such route',
  status: 404,
  fields: z.object({ method: z.string(), path: z.string() }),
  detail: ({ method, path }) =>
    `there is no ${method} ${path} here; /openapi.json lists what there is`,
});

/** A path was asked with a method that it does not have. */
export const MethodNotAllowed = defineProblem({
  type: 'problems/method-not-allowed',
  title: 'Method not allowed',
  status: 405,
  fields: z.object({ method: z.string(), path: z.string(), allow: z.string() }),
  detail: ({ method, path, allow }) => `${path} has no ${method}; it takes ${allow}`,
});

/** A route between peers was called by none that proved to be a member, plainly where TLS is a must, or by the wrong peer. */
export const ProofRefused = defineProblem({
  type: 'problems/proof-refused',
  title: 'Proof refused',
  status: 401,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `this route is for peers of the swarm: ${reason}`,
});

/** A change of the roster came without the signature, or the invitation, that it needs. */
export const RosterRefused = defineProblem({
  type: 'problems/roster-refused',
  title: 'Roster refused',
  status: 403,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `the roster of the swarm stays as it is: ${reason}`,
});

/** A request came without a token, to a peer that wants one for this. */
export const TokenRequired = defineProblem({
  type: 'problems/token-required',
  title: 'Token required',
  status: 401,
  /** The right that is needed; a version of before wanted a token for writes alone, and said nothing. */
  fields: z.object({
    right: Right.optional(),
    /** The swarm whose owners give tokens; absent where it has none. */
    swarm: RecordId.optional(),
  }),
  detail: ({ right = 'write' }) =>
    `this peer wants a token with the right to ${VERBS[right]} (one that an owner made with "shoal token create", or the peer's setting WRITE_TOKEN, else what "shoal token" prints there): send the header "Authorization: Bearer <token>"; shoal's commands read it from --token, SHOAL_TOKEN or --token-file`,
});

/** A request came with a token that is not valid here. */
export const TokenWrong = defineProblem({
  type: 'problems/token-wrong',
  title: 'Token wrong',
  status: 401,
  fields: z.object({ reason: z.string().optional() }),
  detail: ({ reason }) =>
    `the header Authorization does not hold a token that is valid here${reason === undefined ? '' : ` (${reason})`}; it is "Bearer <token>", and the token is one that an owner made with "shoal token create", or the one in the peer's setting WRITE_TOKEN, else what "shoal token" prints there`,
});

/** A token is valid, and does not have the right to this. */
export const RightMissing = defineProblem({
  type: 'problems/right-missing',
  title: 'Right missing',
  status: 403,
  /** `only`: the file that it is for, where that is why. */
  fields: z.object({ right: Right, token: z.string(), only: Cid.optional() }),
  detail: ({ right, token, only }) =>
    only === undefined
      ? `the token "${token}" has no right to ${VERBS[right]} this; ask an owner for one that has`
      : `the token "${token}" is for ${only} alone, and this is about something else; ask an owner for another`,
});

/** A token came over a network without TLS, and is refused before it is looked at; or one is needed, and would be. */
export const TokenInClear = defineProblem({
  type: 'problems/token-in-clear',
  title: 'Token in clear text',
  status: 403,
  fields: z.object({}),
  detail: () =>
    'tokens are refused over plain HTTP from another machine, as everybody on the way can read them: call the gateway by https:// (its settings GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE), or by a proxy in TRUSTED_PROXIES that says X-Forwarded-Proto: https; on a network that nobody else is on, set TOKENS_OVER_HTTP=on at the peer. If you sent one just now and others may listen there, make another one',
});

/** A browser asked on behalf of a page that is not of this peer; such pages may read `/ipfs/` and `/routing/v1/`. */
export const OriginRefused = defineProblem({
  type: 'problems/origin-refused',
  title: 'Origin refused',
  status: 403,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) =>
    `this request came from a web page that may not make it: ${reason}; use this peer's own console, or a program`,
});

/** The request called this peer by a name that its settings don't list, as a page that moved its DNS name here does. */
export const HostRefused = defineProblem({
  type: 'problems/host-refused',
  title: 'Host refused',
  status: 403,
  fields: z.object({ host: z.string() }),
  detail: ({ host }) =>
    `this peer does not answer as "${host}": call it by its address, or list the name in its setting GATEWAY_HOST_NAMES`,
});

export const REQUEST_PROBLEMS = [
  RequestInvalid,
  HashInvalid,
  RoutingKeyInvalid,
  CidUnsupported,
  GatewayRefused,
  PathNotFound,
  FormatUnsupported,
  LinkLeadsOut,
  HeadersTooLarge,
  HeadersTooSlow,
  PreconditionFailed,
  RangeNotSatisfiable,
  MediaTypeUnsupported,
  RouteUnknown,
  MethodNotAllowed,
  ProofRefused,
  RosterRefused,
  TokenRequired,
  TokenWrong,
  TokenInClear,
  RightMissing,
  OriginRefused,
  HostRefused,
] as const;
