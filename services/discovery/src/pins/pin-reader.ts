/** Pins as they are looked up and listed here, from the store alone; no other peer is asked. */
import assert from 'node:assert';
import {
  type Cid,
  FileGone,
  type FileHash,
  FileNotFound,
  type Pin,
  type Problem,
} from '@shoal/protocol';
import { isLive } from '@shoal/swarm';
import type { SignedPin } from '../network/signed.ts';
import type { PageAsked, PinStore, Recoverable } from '../state/pin-store.ts';
import type { StoredPin } from '../state/pin-tables.ts';

export interface PinReader {
  /** All pins of a file, tombstones too, the latest first. */
  all(hash: FileHash): StoredPin[];
  /** The live pin of a file. */
  find(hash: FileHash): Pin | undefined;
  /** The same as it was signed. */
  findSigned(hash: FileHash): SignedPin | undefined;
  /** The deleted file that can be brought back. */
  findRecoverable(hash: FileHash): Recoverable | undefined;
  /** The live pin of a file, or that of a deleted one that can be brought back. */
  findAny(hash: FileHash): Pin | undefined;
  /** Why there is no live pin, after asking that many others: the file is unknown, or gone. */
  missing(
    hash: FileHash,
    asked: { readonly peersAsked: number; readonly peersSilent?: number },
  ): Problem;
  /**
   * Live pins in the order of their roots, those that ended at most `endedForMs` ago, and with
   * `orDeleted` those of deleted files that can be brought back.
   */
  page(
    after: string,
    limit: number,
    options?: { readonly endedForMs?: number; readonly orDeleted?: boolean },
  ): { pins: Pin[]; next?: string };
  newest(page: PageAsked): { total: number; pins: Pin[]; next: string | undefined };
  /** Deleted files that can be brought back, the last one deleted first. */
  recoverable(page: PageAsked): { total: number; files: Recoverable[]; next: string | undefined };
  /** Roots of those, the one that is purged next first. */
  purgeable(limit: number): Cid[];
}

export function createPinReader(store: PinStore): PinReader {
  const all = (hash: FileHash): StoredPin[] => {
    const roots: Cid[] = isCid(hash) ? [hash] : store.rootsBySha256(hash);
    return roots
      .map((root) => store.get(root))
      .filter((stored) => stored !== undefined)
      .toSorted((a, b) => b.pin.clock - a.pin.clock);
  };
  const findStored = (hash: FileHash): StoredPin | undefined => {
    const nowMs = Date.now();
    return all(hash).find(({ pin }) => isLive(pin, nowMs));
  };
  const findRecoverable = (hash: FileHash): Recoverable | undefined =>
    all(hash)
      .map(({ pin }) => store.recoverable(pin.root))
      .find((found) => found !== undefined);
  return {
    all,
    find: (hash) => findStored(hash)?.pin,
    findSigned: (hash) => findStored(hash)?.signed,
    findRecoverable,
    findAny: (hash) => findStored(hash)?.pin ?? findRecoverable(hash)?.pin,
    missing(hash, { peersAsked, peersSilent = 0 }) {
      const found = findRecoverable(hash);
      const latest = found?.pin ?? all(hash)[0]?.pin;
      return latest === undefined
        ? new FileNotFound({ hash, peersAsked, ...(peersSilent === 0 ? {} : { peersSilent }) })
        : goneAs(hash, latest, found);
    },
    page(after, limit, { endedForMs = 0, orDeleted = false } = {}) {
      assert(limit > 0, 'a page has room for a pin'); // or the next one would begin where it began
      const pins: Pin[] = [];
      const nowMs = Date.now();
      for (const { pin, deletedSeenMs } of store.after(after)) {
        const isRecoverable = orDeleted && deletedSeenMs !== undefined;
        if (!isRecoverable && !isLive(pin, nowMs - endedForMs)) continue;
        if (pins.length === limit) return { pins, next: pins.at(-1)?.root ?? '' };
        pins.push(pin);
      }
      return { pins };
    },
    newest(page) {
      const nowMs = Date.now();
      const { roots, next } = store.newestRoots(page);
      const pins = roots
        .map((root) => store.get(root)?.pin)
        .filter((pin) => pin !== undefined)
        .filter((pin) => isLive(pin, nowMs)); // its end may have come since the last turn
      return { total: store.counts().live, pins, next };
    },
    recoverable(page) {
      const { roots, next } = store.recoverableRoots(page);
      const files = roots
        .map((root) => store.recoverable(root))
        .filter((found) => found !== undefined);
      return { total: store.counts().recoverable, files, next };
    },
    purgeable: (limit) => store.purgeableRoots(limit),
  };
}

/** The problem for a file that has no live pin any more; `found` if it can be brought back. */
export function goneAs(hash: FileHash, { deleted }: Pin, found: Recoverable | undefined): Problem {
  const until = found && { purgeAt: new Date(found.purgeAtMs).toISOString() };
  return new FileGone({ hash, why: deleted ? 'deleted' : 'expired', ...until });
}

export function isCid(hash: FileHash): hash is Cid {
  return hash.startsWith('b') && hash.length === 59;
}
