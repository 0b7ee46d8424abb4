/**
 * A standing stream between two connected peers, with frames on it: what one side asks and tells, and the
 * other's answers. A stream for each question would be negotiated for longer than it takes to answer.
 * Frames that are written in one turn of the event loop go out together. The answering side may leave what comes unread for
 * a while (budget.ts): then the sender's window fills, and its frames wait at its own side.
 *
 * A frame: length of what follows (u32), kind (u8), number (u32: of the question, or of the topic), body.
 */
import type { Stream } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import { MESSAGE_SIZE_MAX_BYTES } from './engine.ts';

/** Bytes that wait for a peer that reads slowly, beyond which the link is cut. */
const UNSENT_MAX_BYTES = 4 * MESSAGE_SIZE_MAX_BYTES;
/** Questions of one peer that are answered at once. */
const QUESTIONS_MAX = 64;
/** A link may be silent for as long as its connection. */
const NEVER_MS = 2 ** 31 - 1;
const KINDS = ['question', 'answer', 'failure', 'news'] as const;
type Kind = (typeof KINDS)[number];
const LENGTH_BYTES = 4;
const HEAD_BYTES = 5;

interface Frame {
  readonly kind: Kind;
  readonly number: number;
  readonly body: Uint8Array;
}

/** The asking side. */
export interface Link {
  readonly isOpen: () => boolean;
  ask(body: Uint8Array, options: { signal: AbortSignal }): Promise<Uint8Array>;
  /** Nothing comes back. `topic` is a number that both sides know. */
  tell(topic: number, body: Uint8Array): void;
}

export function createLink(stream: Stream): Link {
  const pending = new Map<number, PromiseWithResolvers<Uint8Array>>();
  let last = 0;
  const send = carryFrames(stream, ({ kind, number, body }) => {
    const asked = pending.get(number);
    pending.delete(number);
    if (kind === 'answer') asked?.resolve(body);
    else if (kind === 'failure') asked?.reject(new Error('the question was not answered'));
    else throw new Error(`a ${kind} came where answers belong`);
  });
  stream.addEventListener('close', ({ error }) => {
    for (const asked of pending.values()) asked.reject(error ?? new Error('the link ended'));
    pending.clear();
  });
  return {
    isOpen: () => stream.status === 'open',
    async ask(body, { signal }) {
      signal.throwIfAborted();
      if (stream.status !== 'open') throw new Error('the link ended');
      const asked = Promise.withResolvers<Uint8Array>();
      last = (last + 1) % 2 ** 32;
      const number = last;
      const giveUp = () => asked.reject(signal.reason);
      pending.set(number, asked);
      signal.addEventListener('abort', giveUp, { once: true });
      try {
        send({ kind: 'question', number, body });
        return await asked.promise;
      } finally {
        pending.delete(number);
        signal.removeEventListener('abort', giveUp);
      }
    },
    tell: (topic, body) => send({ kind: 'news', number: topic, body }),
  };
}

/** The answering side, until the stream ends. */
export function serveLink(
  stream: Stream,
  on: {
    readonly question: (body: Uint8Array) => Promise<Uint8Array>;
    readonly news: (topic: number, body: Uint8Array) => void;
    /** How long to leave unread what comes next; asked after each frame. */
    readonly waitMs: () => number;
  },
): void {
  let answering = 0;
  const answer = async ({ number, body }: Frame): Promise<void> => {
    if (answering >= QUESTIONS_MAX) return send({ kind: 'failure', number, body: NOTHING });
    answering += 1;
    try {
      send({ kind: 'answer', number, body: await on.question(body) });
    } catch {
      send({ kind: 'failure', number, body: NOTHING }); // the reason stays here
    } finally {
      answering -= 1;
    }
  };
  const take = (frame: Frame): void => {
    if (frame.kind === 'question') void answer(frame);
    else if (frame.kind === 'news') on.news(frame.number, frame.body);
    else throw new Error(`a ${frame.kind} came where questions belong`);
  };
  const send = carryFrames(stream, take, () => on.waitMs());
}

const NOTHING = new Uint8Array(0);

/** Reads frames, and answers how to send one. Whatever breaks the rules ends the stream. */
function carryFrames(
  stream: Stream,
  take: (frame: Frame) => void,
  waitMs: () => number = () => 0,
): (frame: Frame) => void {
  stream.inactivityTimeout = NEVER_MS;
  spareWindowUpdates(stream);
  const received = new Uint8ArrayList();
  let isHeld = false;
  const takeAll = (): void => {
    try {
      for (const frame of framesOf(received)) {
        take(frame);
        const pauseMs = waitMs();
        if (pauseMs > 0) return hold(pauseMs);
      }
    } catch (error) {
      stream.abort(error as Error); // errors of our own and of libp2p
    }
  };
  const hold = (pauseMs: number): void => {
    isHeld = true;
    if (stream.status === 'open') stream.pause();
    setTimeout(() => {
      isHeld = false;
      if (stream.status !== 'open') return;
      takeAll();
      if (!isHeld) stream.resume();
    }, pauseMs).unref();
  };
  stream.addEventListener('message', ({ data }) => {
    received.append(data);
    if (!isHeld) takeAll();
  });

  let unsent: Uint8Array[] = [];
  let unsentBytes = 0;
  const flush = (): void => {
    const pieces = unsent;
    unsent = [];
    unsentBytes = 0;
    if (stream.status !== 'open') return;
    try {
      stream.send(new Uint8ArrayList(...pieces));
    } catch (error) {
      stream.abort(error as Error);
    }
  };
  return ({ kind, number, body }) => {
    if (stream.status !== 'open') return;
    const head = new DataView(new ArrayBuffer(LENGTH_BYTES + HEAD_BYTES));
    head.setUint32(0, HEAD_BYTES + body.byteLength);
    head.setUint8(LENGTH_BYTES, KINDS.indexOf(kind));
    head.setUint32(LENGTH_BYTES + 1, number);
    if (unsent.length === 0) setImmediate(flush);
    unsent.push(new Uint8Array(head.buffer), body);
    unsentBytes += head.byteLength + body.byteLength;
    if (unsentBytes + stream.writeBufferLength > UNSENT_MAX_BYTES)
      stream.abort(new Error('the peer does not read what it is sent'));
  };
}

/** The state of yamux for a stream; no part of its interface. */
interface Window {
  recvWindow?: number;
  recvWindowCapacity?: number;
  sendWindowUpdate?: () => void;
}

/**
 * js-yamux tells the sender of each frame that its bytes were taken, so each message costs two on the wire. Here it
 * does so when half of the window is used up, as the specification has it; the sender never waits for less.
 */
function spareWindowUpdates(stream: Stream): void {
  const window = stream as Stream & Window;
  const update = window.sendWindowUpdate;
  if (update === undefined || window.recvWindowCapacity === undefined) return;
  window.sendWindowUpdate = () => {
    const { recvWindow = 0, recvWindowCapacity = 0 } = window;
    if (recvWindowCapacity <= recvWindow / 2) update.call(stream);
  };
}

/** Takes whole frames off what was received. @throws Error for one that can't be one. */
export function* framesOf(received: Uint8ArrayList): Generator<Frame> {
  while (received.byteLength >= LENGTH_BYTES) {
    const length = received.getUint32(0);
    if (length < HEAD_BYTES || length > HEAD_BYTES + MESSAGE_SIZE_MAX_BYTES)
      throw new Error(`a frame of ${length} bytes`);
    if (received.byteLength < LENGTH_BYTES + length) return;
    const kind = KINDS[received.get(LENGTH_BYTES)];
    if (kind === undefined) throw new Error('a frame of no known kind');
    const number = received.getUint32(LENGTH_BYTES + 1);
    const body = received.subarray(LENGTH_BYTES + HEAD_BYTES, LENGTH_BYTES + length);
    received.consume(LENGTH_BYTES + length);
    yield { kind, number, body };
  }
}
