/**
 * Resumable uploads by tus 1.0, for clients that nobody here wrote: the core protocol and the extensions
 * creation (also with a body, and with a length that comes later), termination and expiration. Sentences
 * in quotes are the specification's (https://tus.io/protocols/resumable-upload).
 *
 * Failures are answered as problems, like everywhere; a plain text only where tus itself has
 * no more to say than a status.
 */
import { configOf, type Mounting, relativeReference } from '@shoal/chassis';
import {
  BodyIncomplete,
  MethodNotAllowed,
  RESUMABLE_PATH,
  StorageFull,
  TUS_VERSION,
  uploadRoutes,
  UploadOffsetWrong,
  type UploadProgress,
  type UploadReply,
} from '@shoal/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { IntakeDeps } from '../intake/intake.ts';
import {
  type Admit,
  createAdmit,
  explainFailure,
  refuseContentEncoding,
  type RequestLimits,
} from '../request/take-request.ts';
import { readStream } from '../request/read-body.ts';
import type { UploadWishes } from '../resumable/log.ts';
import type { ResumableUpload } from '../resumable/upload-state.ts';
import { newUploadId, type Resumables } from '../resumable/uploads.ts';
import {
  readHeaders,
  TUS_EXTENSIONS,
  type TusHeaders,
  TusRefusal,
  writeMetadata,
} from './headers.ts';
import { createUploadLocks, type UploadLocks } from './locks.ts';
import { readWishes } from './wishes.ts';

/** Of one upload. Some clients send POST with a header that names another of them. */
const UPLOAD_METHODS = 'GET, HEAD, PATCH, DELETE, OPTIONS';
const PLAIN_TEXT = 'text/plain';
const LENGTH_REQUIRED = 'Upload-Length or Upload-Defer-Length header required\n';

export interface TusOptions extends RequestLimits {
  readonly expiresMs: number;
  readonly sizeMaxBytes: number;
}

interface Tus {
  readonly resumables: Resumables;
  readonly locks: UploadLocks;
  readonly admit: Admit;
  readonly deps: IntakeDeps;
  readonly options: TusOptions;
}

/** One request, of any method. */
interface TusCall {
  /** Empty for those that name no upload. */
  readonly id: string;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly headers: TusHeaders;
  /** Fires when the client leaves. */
  readonly signal: AbortSignal;
}

/** Answers by what it writes to the head of the reply; the upload that it was about. */
type Handler = (tus: Tus, call: TusCall) => Promise<ResumableUpload | undefined>;

export function mountTus(
  { app }: Mounting,
  resumables: Resumables,
  deps: IntakeDeps,
  options: TusOptions,
): void {
  const tus: Tus = {
    resumables,
    locks: createUploadLocks((id) => resumables.takeOver(id)),
    admit: createAdmit(deps, options, 'uploads'),
    deps,
    options,
  };
  const handler = (request: FastifyRequest, reply: FastifyReply) => answer(tus, request, reply);

  app.addHook('preClose', async () => resumables.stop()); // clients resume when we are back
  void app.register(async (scope) => {
    // Bodies of all types stay on the socket.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_, __, done) => done(null));
    const config = configOf(uploadRoutes.append);
    scope.route({ method: ['POST', 'OPTIONS'], url: RESUMABLE_PATH, config, handler });
    scope.route({
      method: ['HEAD', 'PATCH', 'DELETE', 'POST', 'OPTIONS'],
      url: uploadRoutes.state.path,
      config,
      exposeHeadRoute: false,
      handler,
    });
    scope.route<{ Params: { id: string } }>({
      method: 'GET',
      url: uploadRoutes.state.path,
      config,
      exposeHeadRoute: false,
      handler: async ({ params }, reply) => {
        const state = stateOf(tus, params.id);
        void reply.header('cache-control', 'no-store').type('application/json');
        return JSON.stringify(uploadRoutes.state.reply.parse(state));
      },
    });
  });
}

/** Common to all requests: the version, the client, and how they fail. */
async function answer(
  tus: Tus,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  refuseContentEncoding(request);
  const { id = '' } = request.params as { id?: string };
  const method = methodOf(request);
  if (method === 'POST' && id !== '')
    throw new MethodNotAllowed({
      method,
      path: request.url.split('?', 1).join().slice(0, 200),
      allow: UPLOAD_METHODS,
    });
  // "The Tus-Resumable header MUST be included in every request and response except for OPTIONS requests."
  void reply.header('tus-resumable', TUS_VERSION);
  // "If the version specified by the Client is not supported by the Server, it MUST respond with the 412
  // Precondition Failed status and MUST include the Tus-Version header into the response. In addition, the
  // Server MUST NOT process the request."
  if (method !== 'OPTIONS' && request.headers['tus-resumable'] !== TUS_VERSION)
    return reply
      .code(412)
      .header('tus-version', TUS_VERSION)
      .type(PLAIN_TEXT)
      .send(`Tus-Resumable must be ${TUS_VERSION}\n`);
  const gone = new AbortController();
  reply.raw.once('close', () => {
    const receivedBytes = request.raw.socket?.bytesRead ?? 0;
    if (!reply.raw.writableFinished) gone.abort(new BodyIncomplete({ receivedBytes }));
  });
  const timer = tus.deps.metrics.uploadDuration.startTimer();
  try {
    const handle = HANDLERS[method];
    if (handle === undefined) throw new TusRefusal(404, 'Not found\n');
    const headers = readHeaders(request, method);
    const upload = await handle(tus, { id, request, reply, headers, signal: gone.signal });
    if (upload !== undefined) nameFile(reply, upload);
    // Taken over, its body is not wanted any more; unread it would keep the connection open.
    if (!request.raw.complete) void reply.header('connection', 'close');
    return await reply.send();
  } catch (error) {
    if (error instanceof TusRefusal)
      return await reply.code(error.status).type(PLAIN_TEXT).send(error.message);
    throw await explainFailure(error, undefined, tus.deps);
  } finally {
    timer();
  }
}

/**
 * "A successful response indicated by the 204 No Content or 200 OK status MUST contain the Tus-Version
 * header. It MAY include the Tus-Extension and Tus-Max-Size headers."
 */
const describe: Handler = async ({ options: { sizeMaxBytes } }, { reply }) => {
  void reply.code(204).headers({
    'tus-version': TUS_VERSION,
    'tus-extension': TUS_EXTENSIONS,
    'tus-max-size': String(sizeMaxBytes),
  });
  return undefined;
};

/** "The Client MUST send a POST request against a known upload creation URL to request a new upload resource." */
const create: Handler = async (tus, call) => {
  const { resumables, options } = tus;
  const { request, reply, headers, signal } = call;
  const { length: sizeBytes, isLengthDeferred, metadata } = headers;
  if (headers.isConcat) throw new TusRefusal(501, 'Concatenation is not supported\n');
  // "The request MUST include one of the following headers: Upload-Length to indicate the size of an entire
  // upload in bytes. Upload-Defer-Length: 1 if upload size is not known at the time."
  if ((sizeBytes === undefined) !== isLengthDeferred) throw new TusRefusal(400, LENGTH_REQUIRED);
  // "If the length of the upload exceeds the maximum, which MAY be specified using the Tus-Max-Size header,
  // the Server MUST respond with the 413 Request Entity Too Large status."
  if (sizeBytes !== undefined && sizeBytes > options.sizeMaxBytes)
    throw new TusRefusal(413, 'Maximum size exceeded\n');
  const wishes = readWishes(
    request.query as Record<string, unknown>,
    metadata ?? {},
    request.token,
  );
  await checkQuota(tus, wishes, sizeBytes ?? 0);
  if (sizeBytes !== undefined) await checkRoom(tus, sizeBytes);
  const id = newUploadId();
  await resumables.create({
    id,
    client: request.client,
    wishes,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(metadata === undefined ? {} : { metadata }),
  });
  const upload = resumables.find(id);
  if (headers.hasPart) {
    // "The Server MUST include the Upload-Offset header in the response" when the request had a body.
    await receivePart(tus, call, upload, { signal });
    void reply.header('upload-offset', String(upload.offset));
  }
  await finishIfWhole(tus, reply, upload);
  // "The Server MUST acknowledge a successful upload creation with the 201 Created status. The Server MUST
  // set the Location header to the URL of the created resource. This URL MAY be absolute or relative."
  void reply
    .code(201)
    .header('location', relativeReference(request.url, `${RESUMABLE_PATH}/${id}`));
  return upload;
};

/** "The Server MUST always include the Upload-Offset header in the response for a HEAD request". */
const head: Handler = async ({ resumables, locks }, { id, reply, signal }) => {
  resumables.find(id);
  using _lock = await locks.take(id, { signal });
  const upload = await resumables.ready(id);
  // "If the size of the upload is known, the Server MUST include the Upload-Length header in the response."
  // "As long as the length of the upload is not known, the Server MUST set Upload-Defer-Length: 1".
  const { sizeBytes, offset } = upload;
  const { metadata } = upload.log.head;
  void reply.code(200).headers({
    // "The Server MUST prevent the client and/or proxies from caching the response".
    'cache-control': 'no-store',
    'upload-offset': String(offset),
    ...(sizeBytes === undefined
      ? { 'upload-defer-length': '1' }
      : { 'upload-length': String(sizeBytes) }),
    // "responses to HEAD requests MUST include the Upload-Metadata header and its value as specified".
    ...(metadata === undefined ? {} : { 'upload-metadata': writeMetadata(metadata) }),
  });
  return upload;
};

/** "The Server SHOULD accept PATCH requests against any upload URL and apply the bytes contained in the message at the given offset". */
const patch: Handler = async (tus, call) => {
  const { resumables, locks } = tus;
  const { id, reply, headers, signal } = call;
  if (headers.offset === undefined) throw new TusRefusal(403, 'Upload-Offset header required\n');
  resumables.find(id);
  let upload: ResumableUpload;
  {
    using _lock = await locks.take(id, { signal });
    upload = await resumables.ready(id);
    // "If the offsets do not match, the Server MUST respond with the 409 Conflict status without modifying the
    // upload resource."
    if (upload.offset !== headers.offset)
      throw new UploadOffsetWrong({ id, offsetBytes: upload.offset });
    if (headers.length !== undefined) await declareLength(tus, upload, headers.length);
    await receivePart(tus, call, upload, { signal });
  }
  // "The Server MUST acknowledge successful PATCH requests with the 204 No Content status. It MUST include the
  // Upload-Offset header containing the new offset."
  void reply.code(204).header('upload-offset', String(upload.offset));
  await finishIfWhole(tus, reply, upload);
  return upload;
};

/** "The Server SHOULD free associated resources and MUST respond with the 204 No Content status". */
const terminate: Handler = async ({ resumables, locks }, { id, reply, signal }) => {
  resumables.find(id);
  using _lock = await locks.take(id, { signal });
  await resumables.remove(id);
  void reply.code(204);
  return undefined;
};

const HANDLERS: Readonly<Record<string, Handler>> = {
  OPTIONS: describe,
  POST: create,
  HEAD: head,
  PATCH: patch,
  DELETE: terminate,
};

/** Reads this request's body into an upload, within the limits that all uploads share. */
async function receivePart(
  { resumables, admit, deps, options }: Tus,
  { request, headers }: TusCall,
  upload: ResumableUpload,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { contentLength: expectedBytes } = headers;
  const { id, sizeBytes, offset } = upload;
  if (offset + (expectedBytes ?? 0) > (sizeBytes ?? options.sizeMaxBytes))
    throw new TusRefusal(413, 'The upload would be longer than its length\n');
  // All of it, since what came before is counted nowhere until it is pinned.
  const neededBytes = sizeBytes ?? offset + (expectedBytes ?? 0);
  const token = upload.isWhole ? undefined : upload.wishes.token;
  const quota = { token, neededBytes };
  using admitted = await admit(request, { signal, quota });
  const restBytes = sizeBytes === undefined ? expectedBytes : sizeBytes - offset;
  await deps.room.check(restBytes, { signal: deps.stopping });
  const { raw } = request;
  await resumables.receive(id, (until) => readStream(raw, { ...until, expectedBytes }), admitted);
}

/**
 * "Once it is known the Client MUST set the Upload-Length header in the next PATCH request. Once set the
 * length MUST NOT be changed."
 */
async function declareLength(tus: Tus, upload: ResumableUpload, sizeBytes: number): Promise<void> {
  if (upload.sizeBytes !== undefined || sizeBytes < upload.offset)
    throw new TusRefusal(400, LENGTH_REQUIRED);
  if (sizeBytes > tus.options.sizeMaxBytes) throw new TusRefusal(413, 'Maximum size exceeded\n');
  await checkQuota(tus, upload.wishes, sizeBytes);
  await checkRoom(tus, sizeBytes - upload.offset);
  await tus.resumables.declareSize(upload.id, sizeBytes);
}

/** Pins the file when its last byte is here; until then the answer says how long it waits for more. */
async function finishIfWhole(
  { resumables, options }: Tus,
  reply: FastifyReply,
  upload: ResumableUpload,
): Promise<void> {
  if (upload.isWhole) {
    await resumables.finish(upload.id);
    return;
  }
  // "This header MUST be included in every PATCH response if the upload is going to expire." "The value of the
  // Upload-Expires header MUST be in RFC 7231 datetime format."
  const expiresAt = new Date(upload.usedAtMs + options.expiresMs);
  void reply.header('upload-expires', expiresAt.toUTCString());
}

/** @throws QuotaExceeded when a file of that many bytes is more than its token may put */
async function checkQuota(
  { deps }: Tus,
  { token }: UploadWishes,
  sizeBytes: number,
): Promise<void> {
  await deps.quota.check(token, sizeBytes, { signal: deps.stopping });
}

/** @throws StorageFull when that many bytes more do not fit; it names peers where they would. */
async function checkRoom({ deps }: Tus, neededBytes: number): Promise<void> {
  const { room, stopping: signal } = deps;
  try {
    await room.check(neededBytes, { signal });
  } catch (error) {
    if (!(error instanceof StorageFull)) throw error;
    throw await room.nameOthers(error, neededBytes, { signal });
  }
}

/** How far an upload is, for GET. */
function stateOf({ resumables, options }: Tus, id: string): UploadReply | UploadProgress {
  const { reply, offset, wishes, sizeBytes, usedAtMs } = resumables.find(id);
  if (reply !== undefined) return reply;
  return {
    state: 'receiving',
    receivedBytes: offset,
    expiresAtMs: Math.round(usedAtMs + options.expiresMs),
    ...(wishes.name === undefined ? {} : { name: wishes.name }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
}

/** Says what a finished upload became, with every answer about it. */
function nameFile(reply: FastifyReply, { reply: file }: ResumableUpload): void {
  if (file === undefined) return;
  void reply.header('x-cid', file.cid);
  if (file.sha256 !== undefined) void reply.header('x-sha256', file.sha256);
}

/**
 * "The X-HTTP-Method-Override request header MUST be a string which MUST be interpreted as the request's
 * method by the Server, if the header is presented."
 */
function methodOf({ method, headers }: FastifyRequest): string {
  const meant = headers['x-http-method-override'];
  return method === 'POST' && typeof meant === 'string' && /^(?:PATCH|DELETE)$/.test(meant)
    ? meant
    : method;
}
