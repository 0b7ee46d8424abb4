/**
 * Operations of users on a file that is there: find it, change it, delete it, bring it back, purge it. Files that are
 * not known here are asked of the other members; what they answer is merged like any other pin.
 */
import assert from 'node:assert';
import type { Log } from '@shoal/chassis';
import { type Cid, FileGone, type FileHash, type Pin, StorageFull } from '@shoal/protocol';
import {
  broughtBack,
  changedPin,
  isLive,
  mergePins,
  type PinEdit,
  type PinMaker,
  purgedPin,
  tombstoneOf,
  undeletedPin,
} from '@shoal/swarm';
import type { AskAll } from '../network/ask.ts';
import { peek } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import { goneAs, isCid, type PinReader } from './pin-reader.ts';
import type { PinStore, Recoverable } from './pin-store.ts';
import type { Pins } from './pins.ts';

/** Longest search for a pin that is unknown here. */
const SEARCH_TIMEOUT_MS = 1500;

interface SearchOptions {
  readonly signal: AbortSignal;
}

/** A deleted file, and until when it can be brought back, if it can. */
export type Removed = Pick<Recoverable, 'pin'> & Partial<Recoverable>;

export interface PinEditorDeps {
  readonly pins: Pins;
  readonly reader: PinReader;
  readonly store: Pick<PinStore, 'recoverable'>;
  readonly ask: AskAll;
  readonly wire: Pick<Wire, 'engine'>;
  /** Whether anything may be written here. @throws IdentityInUse */
  readonly checkName: () => void;
  /** How long a deleted file can be brought back. */
  readonly undeleteMs: number;
  readonly log: Log;
}

export class PinEditor {
  readonly #deps: PinEditorDeps;

  constructor(deps: PinEditorDeps) {
    this.#deps = deps;
  }

  /**
   * The live pin of a file; asks the other members when it is not known here. `orDeleted` takes that of
   * a deleted file that can be brought back, too.
   * @throws FileNotFound, FileGone
   */
  async search(
    hash: FileHash,
    {
      ask,
      orDeleted = false,
      signal,
    }: SearchOptions & { readonly ask: boolean; readonly orDeleted?: boolean },
  ): Promise<Pin> {
    const { pins, reader } = this.#deps;
    const known = orDeleted ? reader.findAny(hash) : reader.find(hash);
    if (known !== undefined) return known;
    if (!ask) throw reader.missing(hash, { peersAsked: 0 });
    const { asked, answers } = await this.#deps.ask(
      { kind: 'pin', hash },
      {
        timeoutMs: SEARCH_TIMEOUT_MS,
        isEnough: (given) => [...given.values()].some(({ pin }) => pin !== undefined),
        signal,
      },
    );
    const unstored: Pin[] = [];
    for (const [from, { pin }] of answers) {
      if (pin === undefined) continue;
      await pins.merge(pin, from).catch((error: unknown) => {
        // A full disk is no reason not to read a file; `merge` throws it only for news, after the check.
        if (!(error instanceof StorageFull)) throw error;
        const news = peek('pin', pin);
        if (news !== undefined && isOf(hash, news) && isLive(news, Date.now())) unstored.push(news);
      });
    }
    const found = reader.find(hash) ?? unstored.toSorted((a, b) => b.clock - a.clock)[0];
    if (found !== undefined) return found;
    throw reader.missing(hash, { peersAsked: asked, peersSilent: asked - answers.size });
  }

  /**
   * Changes the live pin of a file; the change is durable, and on its way to all members.
   * @throws FileNotFound, FileGone, StorageFull, ClockWrong
   */
  change(hash: FileHash, edit: PinEdit, options: SearchOptions): Promise<Pin> {
    return this.#makeOfLive(hash, (live, maker) => changedPin(live, edit, maker), options);
  }

  /**
   * Deletes a file: the same, with a tombstone. `isForGood` purges it, also when it is deleted already.
   * @throws FileNotFound, FileGone, StorageFull, ClockWrong
   */
  async remove(
    hash: FileHash,
    { isForGood, signal }: SearchOptions & { readonly isForGood: boolean },
  ): Promise<Removed> {
    const { pins, reader, store, checkName, undeleteMs } = this.#deps;
    checkName(); // before it is looked for: a peer that stands aside may not know it
    const isPurge = isForGood || undeleteMs === 0;
    try {
      const pin = await this.#makeOfLive(hash, isPurge ? purgedPin : tombstoneOf, { signal });
      assert(pin.deleted, 'what was removed is deleted');
      return { pin, ...store.recoverable(pin.root) };
    } catch (error) {
      const isGone = isForGood && error instanceof FileGone;
      const deleted = isGone ? reader.findRecoverable(hash) : undefined;
      if (deleted === undefined) throw error;
      const purge = (old: Pin | undefined, maker: PinMaker) => purgedPin(old ?? deleted.pin, maker);
      return { pin: await pins.make(deleted.pin.root, purge) };
    }
  }

  /**
   * Brings a deleted file back: the same, with a pin as it was. A file that lives stays as it is.
   * @throws FileNotFound, FileGone when it was purged, StorageFull, ClockWrong
   */
  async undelete(hash: FileHash, { signal }: SearchOptions): Promise<Pin> {
    const { pins, reader, store, wire, checkName } = this.#deps;
    checkName();
    if (reader.all(hash).length === 0 && isCid(hash)) await pins.recall(hash);
    signal.throwIfAborted();
    const root = reader.findAny(hash)?.root;
    if (root === undefined)
      throw reader.missing(hash, { peersAsked: wire.engine().connected().length });
    return pins.make(root, (old, maker) => {
      if (old !== undefined && isLive(old, maker.nowMs)) return old;
      if (old === undefined || store.recoverable(root) === undefined)
        throw reader.missing(hash, { peersAsked: 0 });
      return undeletedPin(old, maker);
    });
  }

  /**
   * Purges those of these files that are deleted; answers how many that were.
   * @throws ClockWrong
   */
  async purgeForRoom(roots: readonly Cid[]): Promise<number> {
    const { pins, store, log } = this.#deps;
    let purged = 0;
    for (const root of roots) {
      if (store.recoverable(root) === undefined) continue;
      const pin = await pins.make(
        root,
        // A file that was brought back since it was chosen stays.
        (old, maker) => {
          assert(old !== undefined, 'a pin never goes');
          return store.recoverable(root) === undefined ? old : purgedPin(old, maker);
        },
        { isForRoom: true },
      );
      if (!pin.deleted) continue;
      log.warn({ cid: root }, 'deleted file purged: this peer needs its room');
      purged += 1;
    }
    return purged;
  }

  async #makeOfLive(
    hash: FileHash,
    next: (live: Pin, maker: PinMaker) => Pin,
    { signal }: SearchOptions,
  ): Promise<Pin> {
    const { pins, store } = this.#deps;
    const found = await this.search(hash, { ask: true, signal });
    return pins.make(found.root, (stored, maker) => {
      const known = pins.standing(found) ?? broughtBack(found, maker.nowMs);
      const pin = stored === undefined ? known : mergePins(stored, known);
      if (isLive(pin, maker.nowMs)) return next(pin, maker);
      throw goneAs(hash, pin, store.recoverable(pin.root)); // since it was found
    });
  }
}

const isOf = (hash: FileHash, { root, sha256 }: Pin) => hash === root || hash === sha256;
