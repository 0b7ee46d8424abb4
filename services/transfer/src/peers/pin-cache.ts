/**
 * A cache of live pins, so that a file that was put or read a while ago is read without asking discovery. Discovery says which
 * pins changed (`forget`) before it answers the change, so no reader gets a pin that was changed or deleted at this
 * peer before.
 */
import { RecentMap } from '@shoal/chassis';
import type { Cid, Pin } from '@shoal/protocol';
import { isLive } from '@shoal/swarm';

/** Pins cached, about 1 KB each. Past it: the one that was used least recently is asked for again. */
const PINS_MAX = 16_384;
/** A pin is cached for this long. Past it: it is asked for again, should a change ever have been missed. */
const PIN_TTL_MS = 10 * 60_000;
/** Changes remembered for answers that are under way. Past it: such answers are not cached. */
const CHANGES_MAX = 4096;

export class PinCache {
  readonly #pins = new RecentMap<Cid, Pin>({ max: PINS_MAX, ttlMs: PIN_TTL_MS });
  readonly #changedAt = new RecentMap<Cid, number>({
    max: CHANGES_MAX,
    onEvict: (_, turn) => (this.#forgottenUpTo = Math.max(this.#forgottenUpTo, turn)),
  });
  /** Counts what discovery told us. */
  #turn = 0;
  /** Changes up to this turn are not known by root. */
  #forgottenUpTo = 0;

  /** Where we are before a question is asked; its answer is noted with it. */
  get turn(): number {
    return this.#turn;
  }

  /** Remembers what discovery answered to a question that was asked in `turn`, but for what changed since. */
  note(pins: readonly (Pin | null)[], turn: number): void {
    const nowMs = Date.now();
    for (const pin of pins) {
      if (pin === null || !isLive(pin, nowMs)) continue;
      const changedAt = this.#changedAt.peek(pin.root) ?? this.#forgottenUpTo;
      if (changedAt <= turn) this.#pins.set(pin.root, pin);
    }
  }

  /** The live pin of a root; undefined when it is not remembered. */
  find(root: string): Pin | undefined {
    const pin = this.#pins.get(root as Cid); // no sha-256 is a key of it
    return pin !== undefined && isLive(pin, Date.now()) ? pin : undefined;
  }

  /** The pins of these roots changed; with `isAll` any may have. */
  forget(roots: readonly Cid[], { isAll }: { readonly isAll: boolean }): void {
    this.#turn += 1;
    if (isAll) {
      this.#pins.clear();
      this.#forgottenUpTo = this.#turn;
    }
    for (const root of roots) {
      this.#pins.delete(root);
      this.#changedAt.set(root, this.#turn);
    }
  }
}
