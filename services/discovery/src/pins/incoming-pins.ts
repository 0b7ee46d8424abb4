/**
 * Pins that other peers made: each is judged by itself, and those that are news are stored in one transaction. One whose
 * signer may not change the pin is taken in too, as that peer's own (`swarm/pin-entries.ts`).
 */
import { batchesOf } from '@shoal/blocks';
import type { Cid, PeerId, Pin } from '@shoal/protocol';
import { comparePins, futureOf, type HasPin } from '@shoal/swarm';
import type { OwnClock } from '../members/own-clock.ts';
import type { Metrics } from '../metrics.ts';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, PINS_PER_BATCH_MAX, read, type SignedPin } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import type { MadeVersion, PinStore, PinUpdateWish } from '../state/pin-store.ts';
import { type PinVersion, versionsOf } from '../state/pin-tables.ts';
import type { ChangedPins } from './changed-pins.ts';
import type { Compared } from './compared.ts';
import type { Kept } from './kept.ts';

/** Longest wait of an upload for pins that others have for its root, while we may not know all pins. */
const RECALL_TIMEOUT_MS = 500;

/**
 * The outcome for a pin that came in. `foreign`: it may be sound, and this version can't read it.
 * `early`: it is dated too far ahead of our clock, and no member tells us whether our clock is right.
 */
export type Merged = 'news' | 'known' | 'refused' | 'foreign' | 'early';

interface IncomingPinsDeps {
  readonly store: Pick<PinStore, 'get'>;
  readonly wire: Wire;
  readonly compared: Pick<Compared, 'isCurrent' | 'startOver'>;
  readonly ownClock: OwnClock;
  readonly refusals: Refusals;
  readonly changed: Pick<ChangedPins, 'tell'>;
  readonly metrics: Metrics;
  readonly kept: Kept;
  /** The versions that count. */
  readonly standing: <V extends HasPin>(versions: readonly V[]) => readonly V[];
  /** Changes what is stored. @throws StorageFull */
  readonly update: (
    changes: readonly PinUpdateWish[],
    how: { readonly deletedSeenMs: (pin: Pin) => number },
  ) => Promise<unknown>;
  /** Sets the metrics of pins by kind. */
  readonly count: () => void;
}

export class IncomingPins {
  readonly #deps: IncomingPinsDeps;

  constructor(deps: IncomingPinsDeps) {
    this.#deps = deps;
  }

  /**
   * Takes in pins that another peer sent, those that are news in one transaction; one that is refused is named
   * in the log, and does not hold up the others.
   * @throws StorageFull
   */
  async merge(all: readonly SignedPin[], from: PeerId): Promise<Merged[]> {
    const judged = all.map((signed) => this.#judge(signed, from));
    const news = judged.flatMap((each) => (typeof each === 'string' ? [] : [each]));
    const isStored = await this.#store(news);
    return judged.map((each) => {
      if (typeof each === 'string') return each;
      const outcome = isStored.get(each) === true ? 'news' : 'known';
      this.#deps.metrics.pinMerges.inc({ outcome: outcome === 'news' ? 'merged' : 'known' });
      return outcome;
    });
  }

  /** Asks connected members for their pins of these roots, tombstones too; those that don't answer are skipped. */
  async recall(roots: readonly Cid[]): Promise<void> {
    const { wire } = this.#deps;
    const ask = async (peerId: PeerId): Promise<void> => {
      for (const some of batchesOf(roots, PINS_PER_BATCH_MAX))
        await this.take(peerId, some, { timeoutMs: RECALL_TIMEOUT_MS });
    };
    await Promise.allSettled(wire.engine().connected().map(ask));
  }

  /** Takes all that a peer has of these roots; returns what became of it. @param roots At most `PINS_PER_BATCH_MAX`. */
  async take(
    peerId: PeerId,
    roots: readonly Cid[],
    options: { readonly timeoutMs?: number } = {},
  ): Promise<Merged[]> {
    const became: Merged[] = [];
    for (let left = [...roots]; left.length > 0;) {
      const question = { kind: 'pins-get', roots: left } as const;
      const { pins, next } = await this.#deps.wire.request(peerId, question, options);
      became.push(...(await this.merge(pins, peerId)));
      const at = next === undefined ? -1 : left.indexOf(next);
      left = at > 0 ? left.slice(at) : []; // each answer brings one root at least
    }
    return became;
  }

  /** A pin of another peer that may be news here; or what else it is. */
  #judge(signed: SignedPin, from: PeerId): Exclude<Merged, 'news'> | PinVersion {
    const { store, kept, standing, ownClock, refusals, metrics } = this.#deps;
    const said = read('pin', signed);
    if (said.content === undefined) {
      metrics.pinMerges.inc({ outcome: 'malformed' });
      refusals.note({ what: 'pin', from, name: said.name, reason: said.reason });
      return said.isForeign ? 'foreign' : 'refused';
    }
    const pin = said.content;
    const versions = versionsOf(store.get(pin.root));
    if (
      kept.isKnown(pin, standing(versions)) ||
      versions.some((each) => comparePins(pin, each.pin) === 0)
    ) {
      metrics.pinMerges.inc({ outcome: 'known' });
      return 'known';
    }
    if (kept.isVoid(pin)) {
      this.#refuse(pin.root, 'origin: was removed from the swarm', from);
      return 'refused';
    }
    const future = futureOf(pin, Date.now());
    if (future !== undefined) {
      this.#refuse(pin.root, future, from);
      return ownClock.verdict() === 'right' ? 'refused' : 'early';
    }
    if (!isAuthentic('pin', pin, signed)) {
      this.#refuse(pin.root, 'signature: is not that of its origin', from);
      return 'refused';
    }
    const author = kept.notSpokenFor(pin);
    if (author !== undefined)
      refusals.note({
        what: 'pin',
        from,
        name: pin.root,
        reason: `origin: may not change the pins of ${author}; it counts as its own`,
      });
    return { pin, signed };
  }

  /** Stores pins of another peer, unless current ones win over them; returns for which it did. */
  async #store(news: readonly PinVersion[]): Promise<Map<PinVersion, boolean>> {
    const { kept, standing, compared, changed } = this.#deps;
    const isStored = new Map<PinVersion, boolean>();
    if (news.length === 0) return isStored;
    const isCurrent = compared.isCurrent();
    const changes = news.map((each) => ({
      root: each.pin.root,
      next: (versions: readonly MadeVersion[]) => {
        const before = standing(versions);
        const isNews = !kept.isKnown(each.pin, before);
        isStored.set(each, isNews);
        return isNews ? kept.of([...before, each]) : undefined;
      },
    }));
    const deletedSeenMs = (pin: Pin) => seenAtMs(pin, { isCurrent });
    await this.#deps.update(changes, { deletedSeenMs }).catch((error: unknown) => {
      compared.startOver(); // pins that another peer has are missing here
      throw error;
    });
    this.#deps.count();
    void changed.tell(); // it throws nothing
    return isStored;
  }

  #refuse(name: string | undefined, reason: string, from: PeerId): void {
    this.#deps.metrics.pinMerges.inc({ outcome: 'refused' });
    this.#deps.refusals.note({ what: 'pin', from, name, reason });
  }
}

/**
 * When a file was deleted, as far as is known here. The date is by another peer's clock: a file was
 * deleted before we heard of it, and just now if we knew all other pins when we did.
 */
function seenAtMs({ deletedAtMs }: Pin, { isCurrent }: { readonly isCurrent: boolean }): number {
  const nowMs = Date.now();
  return isCurrent ? nowMs : Math.min(deletedAtMs ?? Infinity, nowMs);
}
