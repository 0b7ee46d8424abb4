/**
 * Who holds what, from announcements and answers: a cache with the age of each entry, never a truth.
 * "Nothing" is remembered too, so that it need not be asked again at once. Least recently told roots
 * are forgotten first.
 */
import type { Cid, HaveAnswer, HaveMap, PeerId } from '@shoal/protocol';

/** Roots remembered. */
const ROOTS_MAX = 8192;
/** Have-maps remembered, all together, in characters. */
const BITS_MAX_CHARS = 32 * 1024 * 1024;

interface Entry {
  readonly haveMap: HaveMap | undefined;
  readonly atMs: number;
}

export interface Holders {
  /** Remembers what a peer holds of a root; undefined is nothing. */
  note(root: Cid, peerId: PeerId, haveMap: HaveMap | undefined): void;
  /** What is remembered of a peer and a root: undefined when it is not known or too old. */
  recall(root: Cid, peerId: PeerId, ageMaxMs: number): Entry | undefined;
  /** Forgets what this peer said: it went, or came back, perhaps with less. */
  forget(peerId: PeerId): void;
  /** All entries of a root that hold something. */
  of(root: Cid): HaveAnswer[];
}

export function createHolders({ clock }: { clock: () => number }): Holders {
  const roots = new Map<Cid, Map<PeerId, Entry>>();
  let chars = 0;
  const sizeOf = (entry: Entry | undefined) => entry?.haveMap?.bits.length ?? 0;
  const forgetOldest = (): void => {
    const oldest = roots.entries().next();
    if (oldest.done === true) return;
    const [root, entries] = oldest.value;
    for (const entry of entries.values()) chars -= sizeOf(entry);
    roots.delete(root);
  };
  return {
    note(root, peerId, haveMap) {
      const entries = roots.get(root) ?? new Map<PeerId, Entry>();
      const entry = { haveMap, atMs: clock() };
      chars += sizeOf(entry) - sizeOf(entries.get(peerId));
      entries.set(peerId, entry);
      roots.delete(root); // put back at the end: told last, forgotten last
      roots.set(root, entries);
      while (roots.size > ROOTS_MAX || (chars > BITS_MAX_CHARS && roots.size > 1)) forgetOldest();
    },
    recall(root, peerId, ageMaxMs) {
      const entry = roots.get(root)?.get(peerId);
      return entry !== undefined && clock() - entry.atMs <= ageMaxMs ? entry : undefined;
    },
    forget(peerId) {
      for (const entries of roots.values()) {
        chars -= sizeOf(entries.get(peerId));
        entries.delete(peerId);
      }
    },
    of(root) {
      const nowMs = clock();
      return [...(roots.get(root) ?? [])].flatMap(([peerId, { haveMap, atMs }]) =>
        haveMap === undefined
          ? []
          : [{ peerId, haveMap, ageMs: Math.max(0, Math.round(nowMs - atMs)) }],
      );
    },
  };
}
