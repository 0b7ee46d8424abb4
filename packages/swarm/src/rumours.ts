/**
 * The rumours of a member that we don't watch: that it does not answer. One that says so may err or lie, so its word
 * alone makes us knock at the member's door, and changes nothing. It takes a second one, or a door that
 * nobody opens, to make a suspect, and both to take it for gone. A newer record of it makes all that
 * was said void, so a member that lives clears itself whatever is said.
 *
 * Rejected: a signature with each suspicion, so that relays could be left out of the count. It would cost one for each
 * step of each death, and would still need a number of them.
 */
import type { PeerId } from '@shoal/protocol';
import { compareRecords, type RecordOrder } from './member-table.ts';

/** Members that must say so, each over its own connection. Two: so one that lies moves nobody. */
export const TELLERS_MIN = 2;
/** Tellers that are remembered of one member. Past it: enough have said so. */
const TELLERS_MAX = 8;
/**
 * Members of whom something is said.
 * Past it: the one of whom it was said first is forgotten, until somebody says it again.
 */
const RUMOURS_MAX = 1024;
/** A word from this long ago says nothing any more: twice the time that a suspect has to be heard of. */
const RUMOUR_TTL_MS = 120_000;

/** The outcome of what is known so far. */
export type Verdict = 'nothing' | 'suspect' | 'gone';

interface Rumour {
  readonly under: RecordOrder;
  readonly atMs: number;
  readonly tellers: Set<PeerId>;
  isRefused: boolean;
}

export class Rumours {
  readonly #rumours = new Map<PeerId, Rumour>();

  /** Somebody says it of a member whose newest record is this one. */
  tell(member: RecordOrder & { readonly peerId: PeerId }, from: PeerId, nowMs: number): Verdict {
    const rumour = this.#of(member, nowMs);
    if (rumour.tellers.size < TELLERS_MAX) rumour.tellers.add(from);
    return verdictOf(rumour);
  }

  /** Nobody listens at its address. */
  refuse(member: RecordOrder & { readonly peerId: PeerId }, nowMs: number): Verdict {
    const rumour = this.#of(member, nowMs);
    rumour.isRefused = true;
    return verdictOf(rumour);
  }

  #of({ peerId, ...under }: RecordOrder & { readonly peerId: PeerId }, nowMs: number): Rumour {
    const known = this.#rumours.get(peerId);
    const isOf = known !== undefined && compareRecords(under, known.under) === 0;
    if (isOf && nowMs - known.atMs <= RUMOUR_TTL_MS) return known;
    const { incarnation, seq } = under;
    const rumour = { under: { incarnation, seq }, atMs: nowMs, tellers: new Set<PeerId>() };
    this.#rumours.delete(peerId);
    const [first] = this.#rumours.keys();
    if (this.#rumours.size >= RUMOURS_MAX && first !== undefined) this.#rumours.delete(first);
    const added = { ...rumour, isRefused: false };
    this.#rumours.set(peerId, added);
    return added;
  }
}

function verdictOf({ tellers, isRefused }: Rumour): Verdict {
  const areEnough = tellers.size >= TELLERS_MIN;
  if (areEnough && isRefused) return 'gone';
  return areEnough || isRefused ? 'suspect' : 'nothing';
}
