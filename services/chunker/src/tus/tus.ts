/**
 * Resumable uploads by tus 1.0, for clients that nobody here wrote. The library speaks the protocol:
 * headers, offsets, locks, expiry. It is given each request without its body, which we read from the
 * socket ourselves: so the minimum rate and the back-pressure of all uploads hold here too, and bytes do
 * not pass four more streams. For the same reason there is one library server a request, a dozen
 * small objects: its store then knows whose body it reads.
 *
 * What goes wrong is answered as a problem, like everywhere; a plain text only where tus itself has
 * no more to say than a status.
 */
import { type Mounting, type RateWatch, relativeReference, Shares } from '@shoal/chassis';
import {
  BodyIncomplete,
  chunkerRoutes,
  MediaTypeUnsupported,
  MethodNotAllowed,
  Problem,
  RESUMABLE_PATH,
  StorageFull,
  UploadExpired,
  UploadNotFound,
  UploadOffsetWrong,
  type UploadProgress,
  type UploadReply,
} from '@shoal/protocol';
import { Server as TusServer } from '@tus/server';
import type { Locker } from '@tus/utils';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { IntakeDeps } from '../intake/intake.ts';
import { PinDoubtful } from '../intake/put-pin.ts';
import { receive, watchRate } from '../request/read-stream.ts';
import { newUploadId, type Resumables } from '../resumable/uploads.ts';
import { offsetOf } from '../resumable/upload-state.ts';
import { createTusLocks } from './tus-locks.ts';
import { type TusBody, TusStore } from './tus-store.ts';

/** The only version there is. */
const TUS_VERSION = '1.0.0';
/** What the library reads. The rest is ours, or the connection's. */
const TUS_HEADER = /^(?:tus-resumable|content-type|content-length|upload-[a-z-]+)$/;
/** Of one upload: POST is how some clients say another of them. */
const UPLOAD_METHODS = 'GET, HEAD, PATCH, DELETE, OPTIONS';
const RESUMABLE_ID = `${RESUMABLE_PATH}/:id`;

export interface TusOptions {
  readonly expiresMs: number;
  readonly sizeMaxBytes: number;
  /** Bodies received at once, shared by clients. */
  readonly uploadsMax: number;
  readonly bytesPerSecondMin: number;
  readonly rateWindowMs: number;
}

export function mountTus(
  { app }: Mounting,
  resumables: Resumables,
  deps: IntakeDeps,
  options: TusOptions,
): void {
  const locker = createTusLocks((id) => resumables.takeOver(id));
  const answer = createAnswer(resumables, locker, deps, options);

  app.addHook('preClose', async () => resumables.stop()); // clients go on when we are back
  void app.register(async (scope) => {
    // Bodies stay on the socket, whatever their type says.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_, __, done) => done(null));
    scope.route({ method: ['POST', 'OPTIONS'], url: RESUMABLE_PATH, handler: answer });
    scope.route({
      method: ['HEAD', 'PATCH', 'DELETE', 'POST', 'OPTIONS'],
      url: RESUMABLE_ID,
      exposeHeadRoute: false,
      handler: answer,
    });
    scope.route<{ Params: { id: string } }>({
      method: 'GET',
      url: RESUMABLE_ID,
      exposeHeadRoute: false,
      handler: async ({ params }, reply) => {
        const said = tell(resumables, params.id, options);
        void reply.header('cache-control', 'no-store').type('application/json');
        return JSON.stringify(chunkerRoutes.resumableUpload.reply.parse(said));
      },
    });
  });
}

/** How an upload stands, for GET. */
function tell(
  resumables: Resumables,
  id: string,
  { expiresMs }: TusOptions,
): UploadReply | UploadProgress {
  const upload = resumables.find(id);
  const { reply, log, sizeBytes, usedAtMs } = upload;
  if (reply !== undefined) return reply;
  const { name } = log.head.wishes;
  return {
    state: 'receiving',
    receivedBytes: offsetOf(upload),
    expiresAtMs: Math.round(usedAtMs + expiresMs),
    ...(name === undefined ? {} : { name }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
}

function createAnswer(
  resumables: Resumables,
  locker: Locker,
  deps: IntakeDeps,
  options: TusOptions,
) {
  const { metrics, room, pool, stopping } = deps;
  const shares = new Shares({ what: 'uploads', placesMax: options.uploadsMax });

  /** Reads this request's body into an upload, within the limits that all uploads share. */
  const receiveBody = async (
    { raw, headers, client }: FastifyRequest,
    id: string,
    signal: AbortSignal,
  ): Promise<number> => {
    let rate: RateWatch | undefined;
    using place = await shares.take(client, { signal, isSlow: () => rate?.isSlow() ?? false });
    const length = headers['content-length'];
    const expectedBytes = length === undefined ? undefined : Number(length);
    const { sizeBytes } = resumables.find(id);
    const restBytes =
      sizeBytes === undefined ? expectedBytes : sizeBytes - offsetOf(resumables.find(id));
    using _buffer = pool.admit();
    const slow = new AbortController();
    using watched = watchRate(
      raw,
      { bytesPerSecondMin: options.bytesPerSecondMin, windowMs: options.rateWindowMs },
      (problem) => slow.abort(problem),
    );
    rate = watched;
    await room.check(restBytes, { signal: stopping });
    const upload = await resumables.receive(
      id,
      (until) => receive(raw, { ...until, expectedBytes }),
      { signal: AbortSignal.any([signal, slow.signal, place.signal, stopping]) },
    );
    return offsetOf(upload);
  };
  const bodyOf = (request: FastifyRequest, signal: AbortSignal): TusBody => ({
    client: request.client,
    query: request.query as Record<string, unknown>,
    receive: (id) => receiveBody(request, id, signal),
    async checkRoom(neededBytes) {
      try {
        await room.check(neededBytes, { signal: stopping });
      } catch (error) {
        if (!(error instanceof StorageFull)) throw error;
        throw await room.nameOthers(error, neededBytes, { signal: stopping });
      }
    },
  });

  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    refuseContentEncoding(request);
    const { id = '' } = request.params as { id?: string };
    const createdId = newUploadId();
    const [path = ''] = request.url.split('?', 1); // the library would take a query for a part of the id
    const method = methodOf(request);
    if (method === 'POST' && id !== '')
      throw new MethodNotAllowed({ method, path: path.slice(0, 200), allow: UPLOAD_METHODS });
    // The library answers 400 to another version, and leaves out the one that it speaks.
    if (method !== 'OPTIONS' && request.headers['tus-resumable'] !== TUS_VERSION)
      return reply
        .code(412)
        .headers({
          'tus-version': TUS_VERSION,
          'tus-resumable': TUS_VERSION,
        })
        .type('text/plain')
        .send(`Tus-Resumable must be ${TUS_VERSION}\n`);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      const receivedBytes = request.raw.socket?.bytesRead ?? 0;
      if (!reply.raw.writableFinished) gone.abort(new BodyIncomplete({ receivedBytes }));
    });
    const timer = metrics.uploadDuration.startTimer();
    const tus = new TusServer({
      path: RESUMABLE_PATH,
      datastore: new TusStore(resumables, options.expiresMs, bodyOf(request, gone.signal)),
      locker,
      maxSize: options.sizeMaxBytes,
      relativeLocation: true, // a path alone: below, it is made relative
      namingFunction: () => createdId,
      async onIncomingRequest(_, uploadId) {
        if (uploadId !== createdId) resumables.find(uploadId);
      },
      async onUploadFinish(_, upload) {
        await resumables.finish(upload.id);
        return {};
      },
      onResponseError(_, error) {
        throw error instanceof Error ? error : new TusRefusal(error); // answered below
      },
    });
    try {
      const response = await tus.handleWeb(
        new Request(new URL(path, 'http://tus.invalid'), {
          method,
          headers: tusHeaders(request),
        }),
      );
      void reply.code(response.status);
      for (const [name, value] of response.headers)
        if (isOurs(name))
          void reply.header(
            name,
            name === 'location' ? relativeReference(request.url, value) : value,
          );
      nameFile(reply, resumables, response.headers.get('location')?.split('/').pop() ?? id);
      // Taken over, its body is not wanted any more; unread it would keep the connection open for ever.
      if (!request.raw.complete) void reply.header('connection', 'close');
      const text = await response.text();
      return await (text === '' ? reply.send() : reply.send(text));
    } catch (error) {
      void reply.header('tus-resumable', TUS_VERSION);
      if (error instanceof TusRefusal) {
        const problem = problemOf(error, id, resumables);
        if (problem !== undefined) throw problem;
        return await reply.code(error.status).type('text/plain').send(error.message);
      }
      throw await explain(error, deps);
    } finally {
      timer();
    }
  };
}

/** What the library refuses by itself: a status and a line of text. */
class TusRefusal extends Error {
  readonly status: number;
  constructor({ status_code: status, body }: { status_code: number; body: string }) {
    super(body);
    this.status = status;
  }
}

function problemOf(
  { status }: TusRefusal,
  id: string,
  resumables: Resumables,
): Problem | undefined {
  if (status === 404) return new UploadNotFound({ id: id.slice(0, 100) });
  if (status === 410) return new UploadExpired({ id });
  if (status === 409)
    return new UploadOffsetWrong({ id, offsetBytes: offsetOf(resumables.find(id)) });
  return undefined;
}

async function explain(error: unknown, { room, stopping }: IntakeDeps): Promise<unknown> {
  const reason = error instanceof PinDoubtful ? error.cause : error;
  return reason instanceof StorageFull
    ? room.nameOthers(reason, undefined, { signal: stopping })
    : reason;
}

/** Tells what a finished upload became, with every answer about it. */
function nameFile(reply: FastifyReply, resumables: Resumables, id: string): void {
  if (reply.statusCode >= 300) return;
  const file = resumables.peek(id)?.reply;
  if (file === undefined) return;
  void reply.header('x-cid', file.cid);
  if (file.sha256 !== undefined) void reply.header('x-sha256', file.sha256);
}

/** Clients that can say only POST name the method they mean (tus 1.0, X-HTTP-Method-Override). */
function methodOf({ method, headers }: FastifyRequest): string {
  const meant = headers['x-http-method-override'];
  return method === 'POST' && typeof meant === 'string' && /^(?:PATCH|DELETE)$/.test(meant)
    ? meant
    : method;
}

function tusHeaders({ headers }: FastifyRequest): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      TUS_HEADER.test(name) && typeof value === 'string' ? [[name, value]] : [],
    ),
  );
}

/** The library would let pages of any origin in; what they may is decided for all routes at once. */
function isOurs(name: string): boolean {
  return name !== 'content-length' && !name.startsWith('access-control-');
}

/** A coded body would be stored as it is and served as if it were the file. */
function refuseContentEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new MediaTypeUnsupported({ expected: 'bodies without Content-Encoding' });
}
