/**
 * Reads all pins anew when the roster changed who may change which: a member was removed, or may change those of others
 * from now on, or the swarm has a roster since. Others may have versions that earlier rules had this peer drop, so all
 * are compared with again.
 */
import type { Log, Turn } from '@shoal/chassis';
import type { PinStore } from '../state/pin-store.ts';
import type { StoredPin } from '../state/pin-tables.ts';
import type { ChangedPins } from './changed-pins.ts';
import type { Compared } from './compared.ts';
import type { Pins } from './pins.ts';

/** Pins in one transaction. Past it: another one, so that uploads don't wait. */
const PINS_PER_PAGE_MAX = 256;

export interface RereadDeps {
  readonly store: PinStore;
  readonly pins: Pick<Pins, 'kept' | 'update' | 'count'>;
  readonly compared: Pick<Compared, 'startOver'>;
  readonly changed: Pick<ChangedPins, 'tell'>;
  readonly log: Log;
}

export class Reread {
  readonly #deps: RereadDeps;
  /** How far it came by which rules, if it broke off. */
  #reached: { readonly by: string; readonly root: string } | undefined;

  constructor(deps: RereadDeps) {
    this.#deps = deps;
  }

  /**
   * Does it, if it is due.
   * @throws StorageFull
   */
  async run({ beat }: Pick<Turn, 'beat'>): Promise<void> {
    const { store, pins, compared, changed, log } = this.#deps;
    const by = pins.kept.readBy();
    if (by === undefined || by === store.readBy()) return;
    let root = this.#reached?.by === by ? this.#reached.root : '';
    for (let page = this.#pageAfter(root); page.length > 0; page = this.#pageAfter(root)) {
      await this.#read(page);
      root = page.at(-1)?.pin.root ?? root;
      this.#reached = { by, root };
      beat();
      if (by !== pins.kept.readBy()) return; // the next turn begins again
    }
    await store.setReadBy(by);
    this.#reached = undefined;
    pins.count();
    compared.startOver();
    await changed.tell();
    log.info({}, 'pins read by a new roster');
  }

  async #read(page: readonly StoredPin[]): Promise<void> {
    const { pins } = this.#deps;
    const nowMs = Date.now();
    const others = page.filter((stored) => !pins.kept.isReadAsNow(stored, nowMs));
    if (others.length === 0) return;
    await pins.update(
      others.map(({ pin: { root } }) => ({ root, next: (versions) => pins.kept.of(versions) })),
      { deletedSeenMs: () => nowMs },
    );
  }

  #pageAfter(root: string): StoredPin[] {
    const page: StoredPin[] = [];
    for (const stored of this.#deps.store.after(root)) {
      page.push(stored);
      if (page.length === PINS_PER_PAGE_MAX) break;
    }
    return page;
  }
}
