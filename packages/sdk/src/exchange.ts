/**
 * One request and the head of its answer, over a `send` that is injected: the global fetch, or a pool of
 * connections with its own settings. Here is what both need and neither has: a deadline for the answer
 * that begins with the last byte of the body, and a failure of the body that is distinct from one of the
 * connection.
 */

/** A body that is streamed, or sent as it is. */
export type Body = string | AsyncIterable<Uint8Array>;

/** A request: the part of fetch's `init` that every kind of `send` supports. */
export interface Request {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body | undefined;
  readonly signal: AbortSignal;
}

/** Sends one request, follows no redirect, and gives the answer, whatever its status. */
export type Send<Answer> = (url: string, request: Request) => Promise<Answer>;

/** A URL in the two parts that pools of connections want, the path as it was written: URL would rewrite it. */
export function partsOf(url: string): { readonly origin: string; readonly path: string } {
  const at = url.indexOf('/', url.indexOf('//') + 2);
  return at < 0 ? { origin: url, path: '/' } : { origin: url.slice(0, at), path: url.slice(at) };
}

/** No answer came: nobody listens there, the connection broke, or it took too long. `cause` says which. */
export class NoAnswer extends Error {
  constructor(url: string, options: { cause: unknown }) {
    super(`no answer from ${url}`, options);
  }
}

export interface ExchangeOptions {
  readonly signal: AbortSignal;
  /** Longest wait for the head of the answer, from the last byte of the body. */
  readonly answerTimeoutMs: number;
}

/** @throws NoAnswer; what the body throws; the reason of `signal`. */
export async function exchange<Answer>(
  send: Send<Answer>,
  url: string,
  request: {
    readonly method: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Body | undefined;
  },
  { signal, answerTimeoutMs }: ExchangeOptions,
): Promise<Answer> {
  const late = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expectAnswer = (): void => {
    timer = setTimeout(() => late.abort(new Error('no answer in time')), answerTimeoutMs);
  };
  // More telling than the failure of the request that it broke.
  let bodyFault: unknown;
  const watched = async function* (bytes: AsyncIterable<Uint8Array>) {
    try {
      yield* bytes;
    } catch (error) {
      bodyFault = error;
      throw error;
    }
    expectAnswer();
  };
  const { method, headers = {}, body } = request;
  const isStream = typeof body === 'object';
  if (!isStream) expectAnswer();
  try {
    return await send(url, {
      method,
      headers,
      body: isStream ? watched(body) : body,
      signal: AbortSignal.any([signal, late.signal]),
    });
  } catch (cause) {
    signal.throwIfAborted();
    if (bodyFault instanceof Error) throw bodyFault;
    throw new NoAnswer(url, { cause });
  } finally {
    clearTimeout(timer);
  }
}
