/**
 * Changes among the members that must reach everybody, as riders on probes and their answers: each goes out
 * a number of times that grows with the logarithm of the swarm, the least told first, so that it reaches all
 * with high probability at a cost that doesn't depend on their number (SWIM, §4.1).
 */
import { compareRecords } from '@shoal/swarm';
import type { MemberRecord, PeerId } from '@shoal/protocol';
import { type MemberNews, NEWS_PER_MESSAGE_MAX, type Suspicion } from '../network/messages.ts';
import type { Signed } from '../network/signed.ts';

/** Messages that a change rides on, for each doubling of the swarm. */
const TELLS_PER_DOUBLING = 3;
/**
 * Members of which there is news.
 * Past it: the most told goes; who lacks it hears it when tables are compared.
 */
const NEWS_MAX = 512;

/** The newest record of a member, or that it doesn't answer under it. */
type Item = { readonly order: Pick<MemberRecord, 'incarnation' | 'seq'> } & (
  | { readonly kind: 'record'; readonly signed: Signed; readonly heardAtMs: number }
  | { readonly kind: 'suspicion' }
);

export class News {
  readonly #clock: () => number;
  readonly #size: () => number;
  readonly #items = new Map<PeerId, { readonly item: Item; told: number }>();

  /** @param deps `size` is the number of members. */
  constructor(deps: { readonly clock: () => number; readonly size: () => number }) {
    this.#clock = deps.clock;
    this.#size = deps.size;
  }

  addRecord({ peerId, incarnation, seq }: MemberRecord, signed: Signed): void {
    const heardAtMs = this.#clock();
    this.#add(peerId, { kind: 'record', order: { incarnation, seq }, signed, heardAtMs });
  }

  /** Nothing when the same suspicion, or newer word of the member, is being told already. */
  addSuspicion({ peerId, incarnation, seq }: Suspicion): void {
    this.#add(peerId, { kind: 'suspicion', order: { incarnation, seq } });
  }

  /** Riders for the next message; undefined when there are none. */
  take(): MemberNews | undefined {
    if (this.#items.size === 0) return undefined;
    const tellsMax = Math.ceil(TELLS_PER_DOUBLING * Math.log2(this.#size() + 2));
    const entries = [...this.#items].toSorted(([, a], [, b]) => a.told - b.told);
    const news: { records: MemberNews['records']; suspicions: Suspicion[] } = {
      records: [],
      suspicions: [],
    };
    for (const [peerId, entry] of entries.slice(0, NEWS_PER_MESSAGE_MAX)) {
      const { item } = entry;
      if (item.kind === 'suspicion') news.suspicions.push({ peerId, ...item.order });
      else {
        const ageMs = Math.max(0, this.#clock() - item.heardAtMs);
        news.records.push({ signed: item.signed, ageMs });
      }
      entry.told += 1;
      if (entry.told >= tellsMax) this.#items.delete(peerId);
    }
    return news;
  }

  #add(peerId: PeerId, item: Item): void {
    const known = this.#items.get(peerId)?.item;
    if (known !== undefined) {
      const order = compareRecords(item.order, known.order);
      // A suspicion tells more than the record that it is about, and less than any newer one.
      const isMore =
        order > 0 || (order === 0 && known.kind === 'record' && item.kind !== 'record');
      if (!isMore) return;
    }
    this.#items.set(peerId, { item, told: 0 });
    if (this.#items.size <= NEWS_MAX) return;
    const [most] = [...this.#items].toSorted(([, a], [, b]) => b.told - a.told);
    if (most !== undefined) this.#items.delete(most[0]);
  }
}
