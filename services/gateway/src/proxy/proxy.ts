/**
 * Passes requests on to the services and their answers back, both as streams.
 *
 * Written on undici's dispatch and not on a proxy library, because the rules that matter here are
 * about how things break. A client that leaves ends the request upstream, before and after the
 * answer began. An answer that breaks in its middle destroys the client's socket: a clean end would
 * make a short file look whole. Nothing is tried twice: a body can't be sent again.
 */
import { PassThrough } from 'node:stream';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import {
  BodyTooSlow,
  CLIENT_HEADER,
  Problem,
  PROOF_HEADER,
  ServiceUnavailable,
  type Service,
} from '@shoal/protocol';
import {
  type Clients,
  type Place,
  type Server,
  Shares,
  watchReader,
  watchSender,
} from '@shoal/chassis';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Agent, type Dispatcher } from 'undici';
import type { Metrics, ProxyOutcome } from '../metrics.ts';
import type { Row } from './table.ts';

/** A service of our own host that doesn't accept within this time is down. */
const CONNECT_TIMEOUT_MS = 2000;
/** Idle connections are closed by us before the service does it, so that none is reused dying. */
const KEEP_ALIVE_MS = 30_000;

/** Headers that belong to one connection (RFC 9110 §7.6.1), and those that undici writes itself. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export interface ProxyOptions {
  readonly table: readonly Row[];
  readonly origins: Readonly<Record<Service, string>>;
  readonly clients: Clients;
  readonly requestsMax: number;
  readonly answerTimeoutMs: number;
  readonly uploadAnswerTimeoutMs: number;
  readonly bodyBeginTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
  readonly metrics: Metrics;
}

/** Mounts every row of the table on a server; disposing ends the connections to the services. */
export function mountProxy(app: Server, options: ProxyOptions): AsyncDisposable {
  const agent = new Agent({
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  });
  const shares = new Shares({ what: 'requests at once', placesMax: options.requestsMax });

  const pass = async (
    row: Row,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<undefined> => {
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort(new Error('the client left')));
    using reader = watchReader(reply.raw);
    using sender = watchSender(request.raw);
    const place = await shares.take(request.client, {
      signal: gone.signal,
      isSlow: () => reader.isSlow() || sender.isSlow(),
    });
    options.metrics.requestsOpen.set(shares.size);
    try {
      return await passOn(agent, options, row, request, reply, place);
    } finally {
      place[Symbol.dispose]();
      options.metrics.requestsOpen.set(shares.size);
    }
  };

  void app.register(async (scope) => {
    // Bodies of any type and size stay on the socket: `passOn` streams them.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_, __, done) => done(null));
    for (const row of options.table)
      scope.route({
        method: [...row.methods],
        url: row.path,
        exposeHeadRoute: false,
        handler: (request, reply) => pass(row, request, reply),
      });
  });
  return { [Symbol.asyncDispose]: () => agent.destroy() };
}

/**
 * One request, from its head to the last byte of its answer.
 * @throws ServiceUnavailable when no answer began, BodyTooSlow when the body did not, GaveWay.
 */
async function passOn(
  agent: Agent,
  options: ProxyOptions,
  { service }: Row,
  request: FastifyRequest,
  reply: FastifyReply,
  place: Pick<Place, 'signal'>,
): Promise<undefined> {
  const { metrics } = options;
  const { raw } = request;
  const bytesIn = metrics.bytes.labels(service, 'in');
  const bytesOut = metrics.bytes.labels(service, 'out');
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const isRead = raw.method === 'GET' || raw.method === 'HEAD';
  const body = !isRead && hasBody(raw) ? bodyOf(raw) : undefined;
  let controller: Dispatcher.DispatchController | undefined;
  let answerTimer: NodeJS.Timeout | undefined;
  let hasAnswer = false;
  let isOver = false;
  let whyAborted: Error | undefined;

  const leave = () => {
    if (!reply.raw.writableFinished) abort(new Error('the client left'));
  };
  const abort = (reason: Error) => {
    whyAborted = reason;
    controller?.abort(reason); // without one we still connect: `onRequestStart` sees the reason
  };
  const expectAnswer = (withinMs: number) => {
    if (hasAnswer || isOver) return;
    answerTimer = setTimeout(() => abort(new Error('no answer in time')), withinMs);
  };
  const giveWay = () => abort(place.signal.reason as Problem); // shares abort with nothing else
  const finish = (outcome: ProxyOutcome) => {
    isOver = true;
    place.signal.removeEventListener('abort', giveWay);
    clearTimeout(answerTimer);
    reply.raw.off('close', leave);
    metrics.requests.inc({ upstream: service, outcome });
  };

  reply.raw.once('close', leave);
  place.signal.addEventListener('abort', giveWay, { once: true });
  if (isRead) expectAnswer(options.answerTimeoutMs);
  else if (body === undefined) expectAnswer(options.uploadAnswerTimeoutMs);
  else {
    // The service behind hears of a request when its body begins, and watches its rate from then on.
    const beginTimer = setTimeout(
      () => abort(new BodyTooSlow({ bytesPerSecondMin: 1 })),
      options.bodyBeginTimeoutMs,
    );
    reply.raw.once('close', () => clearTimeout(beginTimer));
    raw.once('data', () => clearTimeout(beginTimer));
    raw.on('data', (chunk: Uint8Array) => bytesIn.inc(chunk.length));
    raw.once('end', () => expectAnswer(options.uploadAnswerTimeoutMs));
  }
  agent.dispatch(
    {
      origin: options.origins[service],
      path: request.url,
      method: request.method as Dispatcher.HttpMethod,
      headers: requestHeaders(request, body !== undefined, options.clients),
      body: body ?? null,
      headersTimeout: 0, // `expectAnswer`: undici's also runs while a slow body is being sent
      bodyTimeout: options.bodyIdleTimeoutMs,
    },
    {
      onRequestStart(started) {
        controller = started;
        if (whyAborted !== undefined) started.abort(whyAborted);
      },
      onResponseStart(_, status, headers, statusMessage) {
        if (status < 200) return;
        hasAnswer = true;
        clearTimeout(answerTimer);
        reply.hijack();
        reply.raw.writeHead(status, statusMessage, endToEnd(headers));
        reply.raw.flushHeaders();
        reply.raw.on('drain', () => controller?.resume());
      },
      onResponseData(active, chunk) {
        bytesOut.inc(chunk.length);
        if (!reply.raw.write(chunk)) active.pause();
      },
      onResponseEnd() {
        finish('answered');
        reply.raw.end();
        resolve(undefined);
      },
      onResponseError(_, cause) {
        const hasLeft = reply.raw.destroyed;
        finish(hasLeft ? 'client-left' : hasAnswer ? 'broken' : 'unavailable');
        if (!hasLeft && hasAnswer) request.log.warn({ err: cause, service }, 'answer broke off');
        if (hasAnswer || hasLeft) {
          if (!reply.sent) reply.hijack();
          reply.raw.destroy();
          resolve(undefined);
        } else if (whyAborted instanceof Problem) {
          void reply.header('connection', 'close'); // what comes after all is not another request
          reject(whyAborted);
        } else reject(new ServiceUnavailable({ service }, { cause }));
      },
    },
  );
  return promise;
}

/** Whether a body comes (RFC 9112 §6): an empty one that is announced all the same may be refused behind. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * The body as a stream of its own. undici destroys the stream that it was given when an answer comes
 * early; on the request itself that would destroy the client's socket before it could read why.
 */
export function bodyOf(raw: IncomingMessage): PassThrough {
  const body = new PassThrough();
  raw.pipe(body);
  raw.once('close', () => {
    if (!raw.complete) body.destroy(new Error('the client left'));
  });
  body.on('error', () => {}); // undici reports it as the end of the request
  body.once('close', () => {
    raw.unpipe(body);
    raw.resume();
  });
  return body;
}

/**
 * What the client sent, without what belongs to its connection or could pass for a peer's proof, and
 * whose request it is.
 */
function requestHeaders(
  request: FastifyRequest,
  hasBody: boolean,
  clients: Clients,
): IncomingHttpHeaders {
  const headers = endToEnd(request.headers);
  delete headers[PROOF_HEADER];
  delete headers[CLIENT_HEADER];
  Object.assign(
    headers,
    clients.vouch(request.client, { method: request.method, path: request.url }),
  );
  delete headers.origin; // looked at here; the service behind would see another host
  if (!hasBody) delete headers['content-length'];
  headers['x-request-id'] = request.id;
  return headers;
}

function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = (headers.connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !HOP_HEADERS.has(name) && !named.includes(name)),
  );
}
