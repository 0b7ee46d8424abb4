/**
 * One question to every member, answered directly.
 *
 * The question is broadcast; peers that hold nothing say so too, hence "nobody has it" is known as soon
 * as all have answered and no time-out need pass. Members that the broadcast can't reach yet (just
 * connected) are asked directly at once, and those that stay silent are asked directly a little later.
 */
import { randomUUID } from 'node:crypto';
import { type Log, RecentMap } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { MemberTable } from '@shoal/swarm';
import { rootsIn } from './budget.ts';
import { type Answer, Ask, type Question } from './messages.ts';
import type { Metrics } from '../metrics.ts';
import type { Signed } from './signed.ts';
import { AnswerMalformed, type Wire } from './wire.ts';

/** A broadcast takes some tens of milliseconds: after this it is asked again, directly. */
const NUDGE_AFTER_MS = 250;
/** Questions of ours under way at once. */
const ASKS_MAX = 256;
/** Broadcast questions that we work on at once; more are dropped, and asked again directly. */
const ANSWERS_MAX = 64;
const CALL_TIMEOUT_MS = 2000;
/**
 * An asker that could not be called back is not called again for this long. It signs its addresses itself, and they may be
 * anybody's, so its questions must not make all members call there.
 * Past it: it is called again.
 */
const CALL_AGAIN_MS = 10_000;
/** Askers that were called lately. Past it: the first of them may be called again. */
const CALLED_MAX = 1024;

export interface Answered {
  /** Members that were expected to answer. */
  readonly asked: number;
  readonly answers: ReadonlyMap<PeerId, Answer>;
}

export interface AskOptions {
  readonly timeoutMs: number;
  /** Whether the answers so far are enough; without it all are waited for. */
  readonly isEnough?: (answers: ReadonlyMap<PeerId, Answer>) => boolean;
  readonly signal: AbortSignal;
}

export type AskAll = (question: Question, options: AskOptions) => Promise<Answered>;

export function createAsk(deps: {
  readonly self: PeerId;
  readonly wire: Wire;
  readonly table: MemberTable<Signed>;
  readonly answer: (question: Question) => Promise<Answer>;
  readonly metrics: Metrics;
  readonly log: Log;
}): AskAll {
  const { self, wire, table, answer, metrics, log } = deps;
  const pending = new Map<string, (from: PeerId, answer: Answer) => void>();
  const called = new RecentMap<PeerId, true>({ max: CALLED_MAX, ttlMs: CALL_AGAIN_MS });
  let answering = 0;

  wire.handle('ask', (_, { ask }) => answer(ask.question));
  wire.handle('answer', (from, { rid, answer: given }) => {
    pending.get(rid)?.(from, given);
    return {};
  });
  wire.listen('asks', Ask, (from, ask) => {
    wire.budget.spend(from, 'roots', rootsIn(ask.question));
    if (from === self || answering >= ANSWERS_MAX) return;
    answering += 1;
    reply(from, ask)
      .catch((err: unknown) => log.debug({ err, to: from }, 'answer not delivered'))
      .finally(() => (answering -= 1));
  });
  const reply = async (to: PeerId, { rid, question }: Ask): Promise<void> => {
    if (!wire.isConnected(to) && called.has(to)) return;
    const given = await answer(question);
    if (!wire.isConnected(to)) {
      called.set(to, true);
      // Only the address that the asker itself signed is called, never one out of a question.
      const addresses = table.get(to)?.record.libp2p ?? [];
      const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
      await wire.engine().dial(addresses, { peerId: to, signal });
      called.delete(to);
    }
    await wire.request(to, { kind: 'answer', rid, answer: given });
  };

  return async (question, { timeoutMs, isEnough, signal }) => {
    signal.throwIfAborted();
    const expected = table.all().filter(({ state }) => state === 'alive');
    const waiting = new Set(expected.map(({ record }) => record.peerId));
    const answers = new Map<PeerId, Answer>();
    if (waiting.size === 0 || pending.size >= ASKS_MAX) return { asked: 0, answers };
    const endTimer = metrics.asks.startTimer({ kind: question.kind });
    const ask: Ask = { v: 1, rid: randomUUID(), question };
    const done = Promise.withResolvers<void>();
    const stop = new AbortController();

    const take = (from: PeerId, given: Answer): void => {
      if (answers.has(from)) return;
      answers.set(from, given);
      waiting.delete(from);
      if (waiting.size === 0 || isEnough?.(answers) === true) done.resolve();
    };
    /** Nobody waits for it any more; that is no answer all the same. */
    const giveUp = (peerId: PeerId): void => {
      waiting.delete(peerId);
      if (waiting.size === 0) done.resolve();
    };
    const askDirectly = (peerIds: readonly PeerId[]): void => {
      for (const peerId of peerIds)
        wire
          .request(peerId, { kind: 'ask', ask }, { timeoutMs, signal: stop.signal })
          .then((given) => take(peerId, given))
          .catch((err: unknown) => {
            log.debug({ err, from: peerId }, 'no answer');
            if (err instanceof AnswerMalformed) giveUp(peerId);
          });
    };
    const connected = () => wire.engine().connected();
    // Where all are connected, a question and its answer are all that it takes.
    const isDirect = wire.engine().reachesAll();
    const nudge = isDirect
      ? undefined
      : setTimeout(
          () => askDirectly(connected().filter((peerId) => waiting.has(peerId))),
          NUDGE_AFTER_MS,
        );
    const deadline = setTimeout(done.resolve, timeoutMs);
    const onAbort = (): void => done.resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    pending.set(ask.rid, take);
    try {
      const listeners = new Set(isDirect ? [] : wire.engine().listeners('asks'));
      if (!isDirect) wire.broadcast('asks', ask);
      askDirectly(connected().filter((id) => waiting.has(id) && !listeners.has(id)));
      await done.promise;
    } finally {
      pending.delete(ask.rid);
      clearTimeout(nudge);
      clearTimeout(deadline);
      signal.removeEventListener('abort', onAbort);
      stop.abort(new Error('answered'));
      endTimer();
    }
    signal.throwIfAborted();
    return { asked: expected.length, answers };
  };
}
