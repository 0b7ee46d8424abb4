/**
 * The work that one member may have us do: so much of each kind in a second, and a burst of it. The price of a message is known
 * when it was read, so it is paid afterwards, into debt if need be; one that is in debt is put aside: its link is
 * not read until it has worked that off, so its bytes wait at its own side, and all others are served as before. What
 * it said in a broadcast that others relay is dropped, since those that relay it have done nothing: anti-entropy
 * brings what is worth having. No connection is cut: the budget is for peers that err too, and they go on.
 *
 * The rates are some times what an honest member at full load needs (decision 0036 has the figures).
 *
 * Rejected: refusing what is past the budget (the honest would ask again at once, and it costs more than waiting), and one
 * budget in CPU time (work of many at once is hard to separate in one process).
 */
import { createTokenBucket, type Log, RecentMap, Seldom, type TokenBucket } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { MEMBERS_MAX } from '@shoal/swarm';
import type { Metrics } from '../metrics.ts';
import type { MadePins, Question, Request } from './messages.ts';

/** Messages of one member in a second. Past it: it is put aside. */
const MESSAGES_PER_SECOND_MAX = 4000;
/** Bytes of one member, and of the answers to it, in a second. Past it: it is put aside. */
const BYTES_PER_SECOND_MAX = 16 * 1024 * 1024;
/** Files that one member asks of in a second: for holders, or for pins. Past it: it is put aside. */
const ROOTS_PER_SECOND_MAX = 8000;
/**
 * Records of members that one tells in a second; one that is news here counts as ten of them.
 * Past it: it is put aside.
 */
const RECORDS_PER_SECOND_MAX = 4000;
/** Suspicions that one member tells in a second, each a probe of ours. Past it: it is put aside. */
const SUSPICIONS_PER_SECOND_MAX = 1;
/** Pins that one member sends in a second, each with a signature to check and a write. Past it: it is put aside. */
const PINS_PER_SECOND_MAX = 3000;
/** Probes of others that one member asks for in a second. Past it: it is put aside. */
const PROBES_PER_SECOND_MAX = 10;
/** Signed answers to probes that one member asks for in a second: as a helper, it may for many. Past it: it is put aside. */
const PROOFS_PER_SECOND_MAX = 100;
/** Records that a member signs of itself in a second. Past it: it is put aside, and what others relay of it is passed over. */
const VERSIONS_PER_SECOND_MAX = 5;
/** Comparisons of all that is known of the members, with one of them, in a second. Past it: it is put aside. */
const EXCHANGES_PER_SECOND_MAX = 4;
/** Comparisons of pins with one member in a second: digests, and pages of stamps. Past it: it is put aside. */
const PAGES_PER_SECOND_MAX = 25;

/** Of each: how many in a second, and for how many seconds of it a member may save up. */
export const RATES = {
  messages: [MESSAGES_PER_SECOND_MAX, 5],
  bytes: [BYTES_PER_SECOND_MAX, 5],
  roots: [ROOTS_PER_SECOND_MAX, 5],
  records: [RECORDS_PER_SECOND_MAX, 10],
  suspicions: [SUSPICIONS_PER_SECOND_MAX, 256],
  pins: [PINS_PER_SECOND_MAX, 5],
  probes: [PROBES_PER_SECOND_MAX, 20],
  proofs: [PROOFS_PER_SECOND_MAX, 10],
  versions: [VERSIONS_PER_SECOND_MAX, 20],
  exchanges: [EXCHANGES_PER_SECOND_MAX, 15],
  pages: [PAGES_PER_SECOND_MAX, 40],
} as const;
export type Spending = keyof typeof RATES;

export class Budget {
  readonly #clock: () => number;
  readonly #metrics: Pick<Metrics, 'putAside'>;
  readonly #log: Pick<Log, 'warn'>;
  readonly #seldom: Seldom;
  readonly #buckets = new RecentMap<PeerId, Map<Spending, TokenBucket>>({ max: MEMBERS_MAX });

  constructor(deps: {
    /** Monotonic. */
    readonly clock: () => number;
    readonly metrics: Pick<Metrics, 'putAside'>;
    readonly log: Pick<Log, 'warn'>;
  }) {
    this.#clock = deps.clock;
    this.#metrics = deps.metrics;
    this.#log = deps.log;
    this.#seldom = new Seldom(deps.clock);
  }

  /** Takes this much from what a member may have. */
  spend(peerId: PeerId, kind: Spending, amount = 1): void {
    if (amount === 0) return;
    const buckets = this.#buckets.get(peerId) ?? new Map<Spending, TokenBucket>();
    if (buckets.size === 0) this.#buckets.set(peerId, buckets);
    let bucket = buckets.get(kind);
    if (bucket === undefined) {
      const [ratePerSecond, burstS] = RATES[kind];
      bucket = createTokenBucket({ ratePerSecond, burstMs: burstS * 1000, nowMs: this.#clock });
      buckets.set(kind, bucket);
    }
    const wasInDebt = bucket.delayMs() > 0;
    bucket.spend(amount);
    if (wasInDebt || bucket.delayMs() === 0) return;
    this.#metrics.putAside.inc({ kind });
    if (this.#seldom.isDue(`${peerId} ${kind}`))
      this.#log.warn({ member: peerId, kind }, 'a member asks for more than its share: it waits');
  }

  /** Takes the price of a request, and of all that it brings. */
  charge(peerId: PeerId, request: Request): void {
    for (const [kind, amount] of pricesOf(request)) this.spend(peerId, kind, amount);
  }

  /** How long to read nothing more of a member; 0 when it may go on. */
  waitMs(peerId: PeerId): number {
    const buckets = this.#buckets.peek(peerId);
    if (buckets === undefined) return 0;
    return Math.max(0, ...[...buckets.values()].map((bucket) => bucket.delayMs()));
  }
}

function pricesOf(request: Request): readonly (readonly [Spending, number])[] {
  switch (request.kind) {
    case 'ping': {
      const { records = [] } = request.news ?? {};
      return [
        ['proofs', request.nonce === undefined ? 0 : 1],
        ['records', records.length],
      ];
    }
    case 'probe':
      return [['probes', 1]];
    case 'members-digest':
      return [['exchanges', 1]];
    case 'exchange':
      return [
        ['exchanges', 1],
        ['records', request.records.length],
      ];
    case 'ask':
      return [['roots', rootsIn(request.ask.question)]];
    case 'answer':
      return [['roots', request.answer.haves.length]];
    case 'pins-get':
      return [['roots', request.roots.length]];
    case 'pin-digest':
    case 'pin-stamps':
      return [['pages', 1]];
    case 'pins-put':
      return [['pins', pinsIn(request.made)]];
    case 'pins-give':
      return [['pins', request.pins.length]];
    case 'roster':
      return [['exchanges', 1]];
    case 'roster-get':
      return [['records', request.ids.length]];
    case 'roster-put':
      return [['records', request.records.length]]; // each a signature to check
    default:
      return [];
  }
}

/** Files that a question is about. */
export const rootsIn = (question: Question): number =>
  question.kind === 'have' ? question.roots.length : 1;

/** Pins in batches. */
export const pinsIn = (made: MadePins): number =>
  made.reduce((sum, { payloads }) => sum + payloads.length, 0);
