/**
 * One request, passed on to a service, and its answer back, both as streams.
 *
 * Written on undici's dispatch and not on a proxy library, because the rules that matter here are
 * about how things break. A client that leaves ends the request upstream, before and after the
 * answer began. An answer that breaks in its middle destroys the client's socket: a clean end would
 * make a short file look whole. Nothing is tried twice: a body can't be sent again.
 */
import assert from 'node:assert';
import type { IncomingHttpHeaders } from 'node:http';
import type { Clients } from '@shoal/chassis';
import { BodyTooSlow, Problem, type Service, ServiceUnavailable } from '@shoal/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Dispatcher } from 'undici';
import type { Metrics, ProxyOutcome } from '../metrics.ts';
import { bodyOf, hasBody } from './bodies.ts';
import { endToEnd, requestHeaders } from './headers.ts';

export interface PassOptions {
  readonly origins: Readonly<Record<Service, string>>;
  readonly clients: Clients;
  readonly answerTimeoutMs: number;
  readonly uploadAnswerTimeoutMs: number;
  readonly bodyBeginTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
  readonly metrics: Metrics;
}

/** A request, and the place that it has among those that are passed on at once. */
export interface Passed {
  readonly service: Exclude<Service, 'gateway'>;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Fires with a GaveWay when another client needs the place more. */
  readonly placeSignal: AbortSignal;
}

/**
 * Resolves after the last byte of the answer, however that ended.
 * @throws ServiceUnavailable when no answer began, BodyTooSlow when the body did not, GaveWay.
 */
export function passOn(
  dispatcher: Dispatcher,
  passed: Passed,
  options: PassOptions,
): Promise<undefined> {
  const { service, request } = passed;
  const { raw } = request;
  const isRead = raw.method === 'GET' || raw.method === 'HEAD';
  const body = !isRead && hasBody(raw) ? bodyOf(raw) : undefined;
  const passage = new Passage(passed, options.metrics);
  if (isRead) passage.expectAnswer(options.answerTimeoutMs);
  else if (body === undefined) passage.expectAnswer(options.uploadAnswerTimeoutMs);
  else passage.expectBody(options);
  dispatcher.dispatch(
    {
      origin: options.origins[service],
      path: request.url,
      method: request.method as Dispatcher.HttpMethod, // the router took it
      headers: requestHeaders(request, options.clients, { hasBody: body !== undefined }),
      body: body ?? null,
      headersTimeout: 0, // `expectAnswer`: undici's also runs while a slow body is being sent
      bodyTimeout: options.bodyIdleTimeoutMs,
    },
    passage,
  );
  return passage.ended;
}

/** Handles undici's events of the request behind, on behalf of the client in front. */
class Passage implements Dispatcher.DispatchHandler {
  readonly #passed: Passed;
  readonly #metrics: Metrics;
  readonly #bytesOut: ReturnType<Metrics['bytes']['labels']>;
  readonly #end = Promise.withResolvers<undefined>();
  #state: 'waiting' | 'answering' | 'over' = 'waiting';
  /** Undefined while the connection to the service is being made. */
  #controller: Dispatcher.DispatchController | undefined;
  #whyAborted: Error | undefined;
  #answerTimer: NodeJS.Timeout | undefined;

  constructor(passed: Passed, metrics: Metrics) {
    this.#passed = passed;
    this.#metrics = metrics;
    this.#bytesOut = metrics.bytes.labels(passed.service, 'out');
    passed.reply.raw.once('close', this.#onClientClose);
    passed.placeSignal.addEventListener('abort', this.#onGiveWay, { once: true });
  }

  get ended(): Promise<undefined> {
    return this.#end.promise;
  }

  /** Gives the request up when no answer has begun by then. */
  expectAnswer(withinMs: number): void {
    if (this.#state !== 'waiting') return;
    const late = () => this.#abort(new Error('no answer in time'));
    this.#answerTimer = setTimeout(late, withinMs);
  }

  /** The service behind hears of a request when its body begins, and watches its rate from then on. */
  expectBody(options: Pick<PassOptions, 'bodyBeginTimeoutMs' | 'uploadAnswerTimeoutMs'>): void {
    const { service, request, reply } = this.#passed;
    const bytesIn = this.#metrics.bytes.labels(service, 'in');
    const late = () => this.#abort(new BodyTooSlow({ bytesPerSecondMin: 1 }));
    const beginTimer = setTimeout(late, options.bodyBeginTimeoutMs);
    reply.raw.once('close', () => clearTimeout(beginTimer));
    request.raw.once('data', () => clearTimeout(beginTimer));
    request.raw.on('data', (chunk: Uint8Array) => bytesIn.inc(chunk.length));
    request.raw.once('end', () => this.expectAnswer(options.uploadAnswerTimeoutMs));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#whyAborted !== undefined) controller.abort(this.#whyAborted);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusMessage?: string,
  ): void {
    if (status < 200) return;
    assert(this.#state === 'waiting', 'an answer begins once');
    this.#state = 'answering';
    clearTimeout(this.#answerTimer);
    const { reply } = this.#passed;
    reply.hijack();
    reply.raw.writeHead(status, statusMessage, endToEnd(headers));
    reply.raw.flushHeaders();
    reply.raw.on('drain', () => controller.resume());
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.#bytesOut.inc(chunk.length);
    if (!this.#passed.reply.raw.write(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    this.#finish('answered');
    this.#passed.reply.raw.end();
    this.#end.resolve(undefined);
  }

  onResponseError(_: Dispatcher.DispatchController, cause: Error): void {
    const { service, request, reply } = this.#passed;
    const hasLeft = reply.raw.destroyed;
    const hasAnswer = this.#state === 'answering';
    this.#finish(hasLeft ? 'client-left' : hasAnswer ? 'broken' : 'unavailable');
    if (!hasLeft && hasAnswer) request.log.warn({ err: cause, service }, 'answer broke off');
    if (hasAnswer || hasLeft) {
      if (!reply.sent) reply.hijack();
      reply.raw.destroy();
      this.#end.resolve(undefined);
    } else if (this.#whyAborted instanceof Problem) {
      void reply.header('connection', 'close'); // what comes after all is not another request
      this.#end.reject(this.#whyAborted);
    } else this.#end.reject(new ServiceUnavailable({ service }, { cause }));
  }

  /** Without a controller yet, `onRequestStart` finds the reason. */
  #abort(reason: Error): void {
    this.#whyAborted = reason;
    this.#controller?.abort(reason);
  }

  readonly #onClientClose = (): void => {
    if (!this.#passed.reply.raw.writableFinished) this.#abort(new Error('the client left'));
  };

  readonly #onGiveWay = (): void => {
    this.#abort(this.#passed.placeSignal.reason as Problem); // shares abort with nothing else
  };

  #finish(outcome: ProxyOutcome): void {
    assert(this.#state !== 'over', 'a request ends once');
    this.#state = 'over';
    const { service, reply, placeSignal } = this.#passed;
    placeSignal.removeEventListener('abort', this.#onGiveWay);
    clearTimeout(this.#answerTimer);
    reply.raw.off('close', this.#onClientClose);
    this.#metrics.requests.inc({ upstream: service, outcome });
  }
}
