/**
 * The HTTP server of every service: health, metrics, API description, problems, and the rule that
 * a body must move. Routes for peers and for this peer's own services are mounted behind the proof.
 */
import { randomUUID } from 'node:crypto';
import { maxHeaderSize, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import {
  HeadersTooLarge,
  HeadersTooSlow,
  InternalError,
  Overloaded,
  PROBLEM_TYPE,
  Problem,
  RequestInvalid,
  BodyTooLarge,
  MediaTypeUnsupported,
  MethodNotAllowed,
  type Service,
} from '@shoal/protocol';
import fastify, { type FastifyError, type FastifyInstance, LogController } from 'fastify';
import type { Registry } from 'prom-client';
import type { Log } from '../process/log.ts';
import { type ClearText, guardClearText, withoutAsking } from '../tls/clear-text.ts';
import type { Access } from '../access/access.ts';
import { guardRoutes } from '../access/guard.ts';
import type { Prover } from '../client/proof.ts';
import type { Clients } from './clients.ts';
import { endAfterReading, lingerAfterEarlyAnswers } from './linger.ts';
import { createRequestHistogram } from '../process/metrics.ts';
import { describeRoutes } from './openapi.ts';
import { refuseForeignPages } from './origin.ts';
import { type Accepting, acceptPeers } from '../tls/accept.ts';
import { type AcceptingPeople, acceptPeople } from '../tls/accept-people.ts';
import { refuseUnknownRoutes } from './unknown-route.ts';
import { watchConnections } from './watch-connections.ts';

/** JSON bodies are lists of ids: this is ten times the largest. Past it: 413. */
const JSON_SIZE_MAX_BYTES = 256 * 1024;
/**
 * Headers must be here this long after the connection (Node's default, against slowloris).
 * Past it: 408 `headers-too-slow`, and the connection ends.
 */
const HEADERS_TIMEOUT_MS = 60_000;
/**
 * Node refuses longer request lines before this matters (16 KiB of headers).
 * Past it: 431 `headers-too-large`, and the connection ends.
 */
const PARAM_LENGTH_MAX = 16 * 1024;
/**
 * Idle keep-alive connections are closed after this; above the client's, so that it closes first.
 * Past it: closed.
 */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;

/** Probes, and what describes the routes, are there for everybody. */
const OPEN = { logLevel: 'silent', config: { right: 'none' } } as const;

export interface ServerOptions {
  readonly service: Service;
  readonly log: Log;
  readonly registry: Registry;
  /** Why this service can't serve yet; undefined when it can. */
  readonly whyNotReady: () => Promise<string | undefined> | string | undefined;
  /** Why it can't serve before a person acts, in a sentence; undefined when waiting may help. */
  readonly blocker?: (() => string | undefined) | undefined;
  /** News for a person although it serves, each in a sentence: the launcher says it. */
  readonly notices?: (() => readonly string[]) | undefined;
  /** Names under which it answers, beside those that are local anyway: see `ownHostNames`. */
  readonly hostNames: readonly string[];
  /** The rule for its public routes; without it they are open. */
  readonly access?: Access | undefined;
  /** Recognises own services that read without a token. */
  readonly prover?: Prover | undefined;
  /** Tells whose requests they are; without it, by the address of the connection. */
  readonly clients?: Clients | undefined;
  /** Lets other peers in by TLS, on the same port; without it TLS is not spoken. */
  readonly peers?: Accepting | undefined;
  /** Serves people by HTTPS, on the same port; instead of `peers`. */
  readonly people?: AcceptingPeople | undefined;
  /** Refuses tokens in clear text; without it they are taken. */
  readonly clearText?: ClearText | undefined;
}

export type Server = FastifyInstance;

/** Builds the server; `listen` is the caller's. */
export function createServer(options: ServerOptions): Server {
  const {
    service,
    log,
    registry,
    whyNotReady,
    hostNames,
    access,
    prover,
    clients,
    peers,
    people,
    clearText,
  } = options;
  const app: FastifyInstance = fastify({
    loggerInstance: log,
    // A line for each block would cost more than the block: /metrics counts requests instead.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: JSON_SIZE_MAX_BYTES,
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && /^[\w-]{1,64}$/.test(given) ? given : randomUUID();
    },
    // Uploads take hours; slow senders are caught by the minimum-rate rule where bodies are read.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
    // A file name may be long in percent-encoding; its own check answers one that is too long.
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX },
    http: { headersTimeout: HEADERS_TIMEOUT_MS, requireHostHeader: false },
    // A path that can't be decoded: the router says so before any hook or handler.
    frameworkErrors: (error, request, reply) => {
      const body = JSON.stringify(problemOf(error).toBody(`urn:request:${request.id}`));
      reply.hijack();
      reply.raw.writeHead(400, {
        'content-type': PROBLEM_TYPE,
        'content-length': Buffer.byteLength(body),
      });
      reply.raw.end(body);
    },
  });
  const histogram = createRequestHistogram(registry);
  let isStopping = false;

  app.decorateRequest('client', {
    getter() {
      return clients === undefined ? (this.socket.remoteAddress ?? '') : clients.of(this);
    },
  });
  app.addHook('onRequest', async (request) => {
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined)
      throw new RequestInvalid({ reason: 'the Host header is missing' });
    try {
      decodeURIComponent(request.url);
    } catch (cause) {
      throw new RequestInvalid({ reason: 'the address is not percent-encoded UTF-8' }, { cause });
    }
  });
  refuseForeignPages(app, hostNames);
  if (clearText !== undefined)
    guardClearText(app, { ...clearText, hasHttps: people !== undefined });
  guardRoutes(app, { access, prover });
  refuseUnknownRoutes(app, { maxParamLength: PARAM_LENGTH_MAX });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    histogram.observe(
      { method: request.method, route, status: reply.statusCode },
      reply.elapsedTime / 1000,
    );
  });
  const linger = lingerAfterEarlyAnswers(app.server);
  app.addHook('onSend', async ({ raw }, reply) => {
    if (!raw.complete) void reply.header('connection', 'close'); // the sender then stops
  });
  const connections = watchConnections(app.server);
  const accepted =
    people !== undefined
      ? acceptPeople(app.server, people)
      : peers && acceptPeers(app.server, { ...peers, log });
  app.addHook('preClose', async () => {
    isStopping = true;
    accepted?.endIdle();
    connections.endIdle();
    linger.hurry();
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    if (reply.raw.destroyed || request.raw.socket.destroyed) {
      request.log.debug({ err: error }, 'the caller left');
      return reply.hijack();
    }
    const told = clearText === undefined ? error : withoutAsking(error, request, clearText);
    const problem = problemOf(told, request.routeOptions.config.takes);
    if (told !== error) void reply.removeHeader('www-authenticate');
    if (problem instanceof MethodNotAllowed) void reply.header('allow', problem.fields.allow);
    // 503 and 507 are degraded and handled; only a fault of our own needs a person.
    if (problem.status === 500) request.log.error({ err: error }, 'request failed');
    else if (problem.status > 500) request.log.warn({ err: error }, 'request not served');
    else request.log.debug({ err: error }, 'request refused');
    if (reply.raw.headersSent) return reply.raw.destroy();
    if (problem instanceof Overloaded || problem.status === 503)
      void reply.header('retry-after', '1');
    return (
      reply
        .code(problem.status)
        .header('content-type', PROBLEM_TYPE)
        // As bytes: fastify would add a charset to a string's type, which this one does not have.
        .send(Buffer.from(JSON.stringify(problem.toBody(`urn:request:${request.id}`))))
    );
  });
  app.get('/healthz', OPEN, async () => ({ status: 'alive', service }));
  app.get('/readyz', OPEN, async (_, reply) => {
    const blocker = isStopping ? undefined : options.blocker?.();
    const reason = isStopping ? 'stopping' : (blocker ?? (await whyNotReady()));
    if (reason !== undefined) void reply.code(503);
    const list = options.notices?.() ?? [];
    const notices = list.length === 0 ? {} : { notices: list };
    if (reason === undefined) return { status: 'ready', service, ...notices };
    const needs = blocker === undefined ? {} : { needsPerson: true };
    return { status: 'unready', service, reason, ...needs, ...notices };
  });
  app.get('/metrics', { logLevel: 'silent' }, async (_, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
  app.get('/openapi.json', OPEN, async () => describeRoutes(service));
  return app;
}

/** Any error as the problem that goes over the wire; what is not ours to explain is a 500 without detail. */
function problemOf(error: FastifyError | Problem, takes = 'application/json'): Problem {
  if (error instanceof Problem) return error;
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new BodyTooLarge({ sizeMaxBytes: JSON_SIZE_MAX_BYTES });
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new MediaTypeUnsupported({ expected: takes });
  if (error.statusCode !== undefined && error.statusCode < 500)
    return new RequestInvalid({ reason: error.message });
  return new InternalError({}, { cause: error });
}

/** Bytes that could not be parsed as HTTP get a problem too, then the connection ends. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (socket.writableEnded) return; // the parser meets what comes behind the fault: it is read away
  if (error.code === 'ECONNRESET' || !socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  // A response may be half sent on this socket: a second one would be read as its bytes.
  if (socket.bytesWritten > 0 && error.code !== 'HPE_INVALID_EOF_STATE') {
    socket.destroy();
    return;
  }
  const problem = brokenRequest(error.code);
  const body = JSON.stringify(problem.toBody(`urn:request:${randomUUID()}`));
  endAfterReading(
    socket,
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\nConnection: close\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** @param code What Node's parser, or its timer for a head, says. */
function brokenRequest(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') return new HeadersTooLarge({ sizeMaxBytes: maxHeaderSize });
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new HeadersTooSlow({ withinMs: HEADERS_TIMEOUT_MS });
  const reason =
    code === 'HPE_INVALID_EOF_STATE'
      ? 'the connection ended before the request was complete'
      : 'this is not an HTTP request that can be read';
  return new RequestInvalid({ reason });
}
