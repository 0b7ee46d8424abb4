/**
 * Typed messages over the engine. Mechanisms register here what they answer and what they listen to
 * before the engine starts; a message that does not parse is dropped and counted, never fatal.
 */
import { Deadline, type Log } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type * as z from 'zod';
import { Budget } from './budget.ts';
import type { Engine, EngineEvents, Topic } from './engine.ts';
import {
  type Decoded,
  decode,
  encode,
  type Reply,
  REPLIES,
  Request,
  type RequestKind,
} from './messages.ts';
import type { Metrics } from '../metrics.ts';
import type { Refusals } from './refusals.ts';

/** Requests that are served at once, over all peers: more are refused, and asked again later. */
const REQUESTS_MAX = 512;
/** Requests of one peer that are served at once, over all its links. Past it: refused, and asked again later. */
const REQUESTS_PER_PEER_MAX = 64;
/** Longest wait for an answer when the caller sets none. */
const REQUEST_TIMEOUT_MS = 5000;

/** It answered, and not in our words: nothing else will come of this question. */
export class AnswerMalformed extends Error {}

type RequestOf<K extends RequestKind> = Extract<Request, { kind: K }>;
type Handler<K extends RequestKind> = (
  from: PeerId,
  request: RequestOf<K>,
) => Promise<Reply<K>> | Reply<K>;

/** Decides which peers are served, of those whose connection stands. */
export interface Gate {
  /** False until the roster was compared with members: up to then it alone is talked about. */
  isOpen(): boolean;
  /** Whether a peer still belongs to the swarm. */
  admits(peerId: PeerId): boolean;
  /** Calls back when it opens. */
  onOpen(listener: () => void): void;
}

type WireEvent = 'met' | 'connected' | 'disconnected' | 'heard';

export interface Wire {
  readonly events: EngineEvents;
  /** How much each peer may have us do. */
  readonly budget: Budget;
  attach(engine: Engine): void;
  /** The engine; only after `attach`. */
  engine(): Engine;
  isConnected(peerId: PeerId): boolean;
  handle<K extends RequestKind>(kind: K, handler: Handler<K>): void;
  /** Listens to a topic; `use` is called with what parsed. */
  listen<S extends z.ZodType>(
    topic: Topic,
    schema: S,
    use: (from: PeerId, message: z.output<S>) => void,
  ): void;
  /**
   * `met`: a connection stands. `connected`: so it does, and the gate is open. `heard` is called for each request that a
   * connected peer makes.
   */
  on(event: WireEvent, listener: (peerId: PeerId) => void): void;
  onDiscovered(listener: (peerId: PeerId, addresses: readonly string[]) => void): void;
  request<K extends RequestKind>(
    peerId: PeerId,
    request: RequestOf<K>,
    options?: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<Reply<K>>;
  /** Broadcasts; a failure is only logged, since a peer that missed it gets it another way. */
  broadcast(topic: Topic, message: unknown): void;
}

const OPEN: Gate = { isOpen: () => true, admits: () => true, onOpen: () => {} };

const isOfRoster = (kind: RequestKind) => kind.startsWith('roster');

export function createWire({
  metrics,
  refusals,
  log,
  gate = OPEN,
  clock = () => performance.now(),
}: {
  metrics: Metrics;
  refusals: Refusals;
  log: Log;
  gate?: Gate | undefined;
  /** Monotonic. */
  clock?: () => number;
}): Wire {
  let engine: Engine | undefined;
  let serving = 0;
  const servingOf = new Map<PeerId, number>();
  const budget = new Budget({ clock, metrics, log });
  const handlers = new Map<RequestKind, Handler<RequestKind>>();
  const topics = new Map<Topic, (from: PeerId, bytes: Uint8Array) => boolean>();
  const listeners: Record<WireEvent, Set<(peerId: PeerId) => void>> = {
    met: new Set(),
    connected: new Set(),
    disconnected: new Set(),
    heard: new Set(),
  };
  const emit = (event: WireEvent, peerId: PeerId): void => {
    for (const listener of listeners[event]) listener(peerId);
  };
  gate.onOpen(() => {
    for (const peerId of engine?.connected() ?? [])
      if (gate.admits(peerId)) emit('connected', peerId);
  });
  const discovered = new Set<(peerId: PeerId, addresses: readonly string[]) => void>();
  const attached = (): Engine => {
    if (engine === undefined) throw new Error('the network has not started');
    return engine;
  };
  const isConnected = (peerId: PeerId) => engine?.connected().includes(peerId) ?? false;
  const count = (kind: string, outcome: 'ok' | 'malformed' | 'refused' | 'failed') =>
    metrics.messages.inc({ kind, outcome });

  /** The message, if there is one; names what was refused. */
  const take = <S extends z.ZodType>(
    decoded: Decoded<S>,
    from: PeerId,
    name: string,
  ): z.output<S> | undefined => {
    for (const { what, reason } of decoded.refused) refusals.note({ what, from, name, reason });
    const { reason } = decoded;
    if (reason !== undefined) refusals.note({ what: 'message', from, name, reason });
    return decoded.message;
  };

  return {
    attach(started) {
      engine = started;
    },
    engine: attached,
    isConnected,
    budget,
    events: {
      waitMs: (from) => budget.waitMs(from),
      connected(peerId) {
        emit('met', peerId);
        if (gate.isOpen()) emit('connected', peerId);
      },
      disconnected(peerId) {
        emit('disconnected', peerId);
      },
      discovered(peerId, addresses) {
        for (const listener of discovered) listener(peerId, addresses);
      },
      broadcast(topic, from, bytes) {
        if (!gate.isOpen() || !gate.admits(from)) return true; // perhaps sound, and not for us
        // On its own link it waits; what others relay of it does not.
        if (budget.waitMs(from) > 0) {
          count(topic, 'refused');
          return undefined;
        }
        budget.spend(from, 'messages');
        budget.spend(from, 'bytes', bytes.byteLength);
        const isSound = topics.get(topic)?.(from, bytes) ?? false;
        count(topic, isSound ? 'ok' : 'malformed');
        return isSound;
      },
      async request(from, bytes) {
        budget.spend(from, 'messages');
        budget.spend(from, 'bytes', bytes.byteLength);
        const request = take(decode(Request, bytes), from, 'request');
        const handler = request === undefined ? undefined : handlers.get(request.kind);
        if (request === undefined || handler === undefined) {
          count('request', 'malformed');
          throw new Error('the request is malformed');
        }
        budget.charge(from, request);
        const ofPeer = servingOf.get(from) ?? 0;
        if (serving >= REQUESTS_MAX || ofPeer >= REQUESTS_PER_PEER_MAX) {
          count(request.kind, 'refused');
          throw new Error('too many requests are being served');
        }
        if (!gate.admits(from) || !(gate.isOpen() || isOfRoster(request.kind))) {
          count(request.kind, 'refused');
          throw new Error('the roster comes first');
        }
        emit('heard', from);
        serving += 1;
        servingOf.set(from, ofPeer + 1);
        try {
          const answer = encode(await handler(from, request));
          count(request.kind, 'ok');
          budget.spend(from, 'bytes', answer.byteLength);
          return answer;
        } catch (error) {
          count(request.kind, 'failed');
          throw error;
        } finally {
          serving -= 1;
          const left = (servingOf.get(from) ?? 1) - 1;
          if (left === 0) servingOf.delete(from);
          else servingOf.set(from, left);
        }
      },
    },
    handle(kind, handler) {
      // Looked up by the same kind again, so it is only ever given requests of that kind.
      handlers.set(kind, handler as unknown as Handler<RequestKind>);
    },
    listen(topic, schema, use) {
      topics.set(topic, (from, bytes) => {
        const message = take(decode(schema, bytes), from, topic);
        if (message === undefined) return false;
        use(from, message);
        return true;
      });
    },
    on: (event, listener) => void listeners[event].add(listener),
    onDiscovered: (listener) => void discovered.add(listener),
    async request(peerId, request, { timeoutMs = REQUEST_TIMEOUT_MS, signal } = {}) {
      if (!gate.isOpen() && !isOfRoster(request.kind))
        throw new Error('the roster was not compared with a member yet');
      using deadline = new Deadline(timeoutMs, signal);
      const bytes = await attached().request(peerId, encode(request), deadline);
      const reply = take(decode(REPLIES[request.kind], bytes), peerId, `answer to ${request.kind}`);
      if (reply === undefined)
        throw new AnswerMalformed(`the answer to ${request.kind} is malformed`);
      // The schema belongs to this very kind; TypeScript can't tie the two through the lookup.
      return reply as Reply<typeof request.kind>;
    },
    broadcast(topic, message) {
      if (!gate.isOpen()) return;
      attached()
        .broadcast(topic, encode(message))
        .catch((err: unknown) => log.debug({ err, topic }, 'broadcast failed'));
    },
  };
}
