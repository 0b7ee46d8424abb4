/** The peer that a command asks, by the SDK. Problems come back as sentences, broken connections too. */
import { Readable } from 'node:stream';
import { type BYTES, ForeignAnswer, type JsonRoute, Problem, type Route } from '@shoal/protocol';
import {
  type Answer,
  type BytesOrder,
  call,
  type CallArgs,
  type CallOptions,
  type Download as SdkDownload,
  downloadCar,
  downloadFile,
  type FilesReply,
  eachFilesPage,
  NoAnswer,
  partsOf,
  type Send,
  sendBytes,
} from '@shoal/sdk';
import { Agent, type Dispatcher } from 'undici';
import type * as z from 'zod';
import { CommandFailure } from '../failure.ts';
import { trustMachine } from './authorities.ts';
import { PROGRAM } from '../terminal/program-name.ts';

/** Connecting to a peer. Past it: the command fails. */
const CONNECT_TIMEOUT_MS = 5000;
/**
 * An import is read through, and a pin fetched, before the answer begins.
 * Past it: the command fails; the peer goes on.
 */
const SLOW_ANSWER_TIMEOUT_MS = 3_600_000;
/** A download that stands still for this long is given up. Past it: the command fails; nothing is kept. */
const SILENCE_TIMEOUT_MS = 60_000;

/** What Node says of a certificate that it can't trust. */
const CERTIFICATE_CODES = /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_)/;

export type Download = SdkDownload<Readable>;

interface Stop {
  readonly signal: AbortSignal;
}

/** Each method throws a CommandFailure, or the reason of its signal. */
export class Client implements AsyncDisposable {
  /** Of the gateway: its origin, and the path of a proxy that it is behind. */
  readonly peerUrl: string;
  readonly #token: string | undefined;
  readonly #program: string;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: 0, // the SDK has a time-out of its own, which doesn't run while a body is sent
    bodyTimeout: SILENCE_TIMEOUT_MS,
  });

  /**
   * @param token what the peer wants of those who write; reads go without it too.
   * @param program how the command line is called here.
   */
  constructor(peerUrl: string, token?: string, program = PROGRAM) {
    this.peerUrl = peerUrl;
    this.#token = token;
    this.#program = program;
    if (peerUrl.startsWith('https:')) trustMachine();
  }

  /** A path that the peer names, as an address for anybody. */
  urlOf(path: string): string {
    return new URL(this.peerUrl + path).href;
  }

  /** Calls a route that answers JSON. */
  async call<
    P extends z.ZodObject,
    Q extends z.ZodObject,
    B extends z.ZodType | undefined,
    R extends z.ZodType,
  >(route: JsonRoute<P, Q, B, R>, args: CallArgs<P, Q, B>, stop: Stop): Promise<z.output<R>> {
    return this.#explained(call(this.peerUrl, route, args, this.#options(stop)));
  }

  /** The same for what may take long: a DAG is fetched from elsewhere before the answer begins. */
  async callSlow<
    P extends z.ZodObject,
    Q extends z.ZodObject,
    B extends z.ZodType | undefined,
    R extends z.ZodType,
  >(route: JsonRoute<P, Q, B, R>, args: CallArgs<P, Q, B>, stop: Stop): Promise<z.output<R>> {
    return this.#explained(call(this.peerUrl, route, args, this.#slow(stop)));
  }

  /** Sends a body to a route that takes one, as it comes. */
  async upload<R extends z.ZodType>(
    route: Route<z.ZodObject, z.ZodObject, typeof BYTES>,
    reply: R,
    order: BytesOrder,
    stop: Stop,
  ): Promise<z.output<R>> {
    return this.#explained(sendBytes(this.peerUrl, route, reply, order, this.#slow(stop)));
  }

  /** All files, a page at a time; with `deleted` the deleted ones that can be brought back instead. */
  async *eachFilesPage(
    which: { readonly deleted: boolean },
    stop: Stop,
  ): AsyncGenerator<FilesReply, void, undefined> {
    const pages = eachFilesPage(this.peerUrl, which, this.#options(stop));
    for (;;) {
      const { value, done } = await this.#explained(pages.next());
      if (done === true) return;
      yield value;
    }
  }

  /** A file; or the address of what has this hash, when it is a directory or another DAG. */
  async getFile(hash: string, stop: Stop): Promise<Download | { readonly location: string }> {
    return this.#explained(downloadFile(this.peerUrl, hash, this.#options(stop)));
  }

  /** A DAG as a CAR, each block where a walk comes by it. */
  async getCar(cid: string, stop: Stop): Promise<Readable> {
    return this.#explained(downloadCar(this.peerUrl, cid, this.#options(stop)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  #options({ signal }: Stop): CallOptions<Readable> {
    return { signal, token: this.#token, send: this.#send };
  }

  #slow(stop: Stop): CallOptions<Readable> {
    return { ...this.#options(stop), answerTimeoutMs: SLOW_ANSWER_TIMEOUT_MS };
  }

  /** By undici's own interface: its bodies are streams of Node, and quicker than those of fetch. */
  readonly #send: Send<Answer<Readable>> = async (url, { method, headers, body, signal }) => {
    const { statusCode, ...answer } = await this.#agent.request({
      ...partsOf(url),
      method: method as Dispatcher.HttpMethod, // of a route
      headers,
      body: typeof body === 'object' ? Readable.from(body, { objectMode: false }) : (body ?? null),
      signal,
    });
    const get = (name: string) => [answer.headers[name]].flat()[0] ?? null;
    return {
      status: statusCode,
      headers: { get },
      body: answer.body,
      text: () => answer.body.text(),
    };
  };

  async #explained<T>(asking: Promise<T>): Promise<T> {
    try {
      return await asking;
    } catch (error) {
      throw explain(error, this.peerUrl, this.#program);
    }
  }
}

/** A failure in words for a person; undisguised when it is no failure of the peer. */
function explain(error: unknown, peerUrl: string, program: string): unknown {
  if (error instanceof NoAnswer) return connectionFailure(peerUrl, error.cause, program);
  if (error instanceof Problem) return new CommandFailure(error.message, { cause: error });
  if (!(error instanceof ForeignAnswer)) return error;
  const { status, problem } = error;
  const told = problem?.detail ?? problem?.title;
  const message =
    status === 308
      ? `${peerUrl} sends us elsewhere: call it by https://`
      : status < 400
        ? `${peerUrl} answered, but not as a Shoal peer does`
        : (told ?? `${peerUrl} answered with status ${status}`);
  return new CommandFailure(message, { cause: error });
}

/** Advice on a connection that failed. */
export function connectionFailure(
  peerUrl: string,
  cause: unknown,
  program = PROGRAM,
): CommandFailure {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return new CommandFailure(
      `the certificate of ${peerUrl} is for other names: ${(cause as Error).message}`,
      { cause },
    );
  if (CERTIFICATE_CODES.test(code))
    return new CommandFailure(
      `the certificate of ${peerUrl} is not trusted here (${(cause as Error).message}); that of its authority may be given by NODE_EXTRA_CA_CERTS`,
      { cause },
    );
  const isAbsent = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'];
  const detail = isAbsent.includes(code)
    ? `no peer answers at ${peerUrl}; start one ("${program} peer"), or name another with --peer`
    : `the connection to ${peerUrl} broke (${(cause as Error).message}); try again, or name another peer with --peer`;
  return new CommandFailure(detail, { cause });
}
