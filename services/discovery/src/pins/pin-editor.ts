/**
 * Operations of users on an existing file: find it, change it, delete it, bring it back, purge it. The other
 * members are asked for files that are not known here; pins that they answer are merged like any others.
 */
import assert from 'node:assert';
import type { Log, TokenKey } from '@shoal/chassis';
import {
  type Cid,
  FileGone,
  type FileHash,
  FileOfAnother,
  type PeerId,
  type Pin,
  StorageFull,
} from '@shoal/protocol';
import {
  broughtBack,
  changedPin,
  isDeletedForNow,
  isLive,
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
import type { PinStore, Recoverable } from '../state/pin-store.ts';
import type { Known } from './kept.ts';
import type { Pins } from './pins.ts';

/** Longest search for a pin that is unknown here. */
const SEARCH_TIMEOUT_MS = 1500;

/** Authors that a refusal names. Past it: the others are left out. */
const AUTHORS_NAMED_MAX = 8;

interface SearchOptions {
  readonly signal: AbortSignal;
}

interface ChangeOptions extends SearchOptions {
  /** The token that the user brought, which may give a right that this peer has not. */
  readonly token?: TokenKey | undefined;
  /** The id of a token with which pins may be changed that were put with it, and no others. */
  readonly putWith?: string;
}

/** A deleted file, and until when it can be brought back, if it can. */
export type Removed = Pick<Recoverable, 'pin'> &
  Partial<Recoverable> & {
    /** Peers whose pins keep the file all the same. */
    readonly keptBy: readonly PeerId[];
  };

/** The pins of a root that are as asked for, and those of them that this peer may change. */
interface Chosen {
  readonly all: Known['entries'];
  readonly mine: Known['entries'];
  /** All that it may change, whether or not as asked for. */
  readonly changeable: Known['entries'];
}

export interface PinEditorDeps {
  readonly pins: Pins;
  readonly reader: PinReader;
  readonly store: Pick<PinStore, 'get' | 'recoverable'>;
  readonly ask: AskAll;
  readonly wire: Pick<Wire, 'engine'>;
  /** Whether anything may be written here. @throws IdentityInUse */
  readonly checkName: () => void;
  /** How long a deleted file can be brought back. */
  readonly undeleteMs: number;
  /** The name that people gave a peer. */
  readonly nameOf: (peerId: PeerId) => string | undefined;
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
    options: SearchOptions & { readonly ask: boolean; readonly orDeleted?: boolean },
  ): Promise<Pin> {
    return (await this.#search(hash, options)).pin;
  }

  /**
   * Changes the live pin of a file. Once resolved, the change is durable, and on its way to all members.
   * @throws FileNotFound, FileGone, FileOfAnother, StorageFull, ClockWrong
   */
  async change(hash: FileHash, edit: PinEdit, options: ChangeOptions): Promise<Pin> {
    const { pin } = await this.#makeOfLive(
      hash,
      ({ mine }, maker) => mine.map((entry) => changedPin(entry.pin, edit, maker)),
      options,
    );
    return pin;
  }

  /**
   * Deletes a file: the same, with a tombstone. `isForGood` purges it, also when it is deleted already.
   * @throws FileNotFound, FileGone, FileOfAnother, StorageFull, ClockWrong
   */
  async remove(
    hash: FileHash,
    { isForGood, ...options }: ChangeOptions & { readonly isForGood: boolean },
  ): Promise<Removed> {
    const { reader, store, checkName, undeleteMs } = this.#deps;
    checkName(); // before it is looked for: a peer that stands aside may not know it
    const next = isForGood || undeleteMs === 0 ? purgedPin : tombstoneOf;
    const isEnded = (pin: Pin, nowMs: number) =>
      isLive(pin, nowMs) || (isForGood && isDeletedForNow(pin));
    try {
      const { pin, others } = await this.#makeOfLive(
        hash,
        ({ changeable }, maker) =>
          changeable
            .filter((entry) => isEnded(entry.pin, maker.nowMs))
            .map((entry) => next(entry.pin, maker)),
        options,
      );
      const keptBy = others.map(({ author }) => author);
      assert(pin.deleted || keptBy.length > 0, 'what was removed is deleted, or kept by others');
      return { pin, keptBy, ...store.recoverable(pin.root) };
    } catch (error) {
      const isGone = isForGood && error instanceof FileGone;
      const deleted = isGone ? reader.findRecoverable(hash) : undefined;
      if (deleted === undefined) throw error;
      return { pin: await this.#purge(hash, deleted.pin.root, options), keptBy: [] };
    }
  }

  /**
   * Brings a deleted file back: the same, with a pin as it was. A file that lives stays as it is.
   * @throws FileNotFound, FileGone when it was purged, FileOfAnother, StorageFull, ClockWrong
   */
  async undelete(hash: FileHash, { signal, token, ...by }: ChangeOptions): Promise<Pin> {
    const { pins, reader, store, wire, checkName } = this.#deps;
    checkName();
    if (reader.all(hash).length === 0 && isCid(hash)) await pins.recall([hash]);
    signal.throwIfAborted();
    const root = reader.findAny(hash)?.root;
    if (root === undefined)
      throw reader.missing(hash, { peersAsked: wire.engine().connected().length });
    return pins.make(
      root,
      ({ entries, whole }, maker) => {
        if (whole !== undefined && isLive(whole, maker.nowMs)) return [];
        if (whole === undefined || store.recoverable(root) === undefined)
          throw reader.missing(hash, { peersAsked: 0 });
        const { mine } = this.#choose(hash, entries, isDeletedForNow, by);
        return mine.map((entry) => undeletedPin(entry.pin, maker));
      },
      { token },
    );
  }

  /**
   * Purges those of these files that are deleted; returns how many. Those of other authors are purged here alone.
   * @throws ClockWrong
   */
  async purgeForRoom(roots: readonly Cid[]): Promise<number> {
    const { pins, store, log } = this.#deps;
    let purged = 0;
    for (const root of roots) {
      if (store.recoverable(root) === undefined) continue;
      let isOfOthers = false;
      await pins.make(
        root,
        ({ entries }, maker) => {
          // A file that was brought back since it was chosen stays.
          if (store.recoverable(root) === undefined) return [];
          const deleted = entries.filter(({ pin }) => isDeletedForNow(pin));
          isOfOthers = !deleted.every(({ isMine }) => isMine);
          return isOfOthers ? [] : deleted.map(({ pin }) => purgedPin(pin, maker));
        },
        { isForRoom: true },
      );
      if (isOfOthers) await pins.purgeHere(root);
      if (store.get(root)?.pin.deleted !== true) continue;
      log.warn({ cid: root }, 'deleted file purged: this peer needs its room');
      purged += 1;
    }
    return purged;
  }

  /** Makes versions of the live pins of a file; returns what all amount to then, and which are not this peer's. */
  async #makeOfLive(
    hash: FileHash,
    next: (live: Chosen, maker: PinMaker) => readonly Pin[],
    { signal, token, ...by }: ChangeOptions,
  ): Promise<{ readonly pin: Pin; readonly others: Known['entries'] }> {
    const { pins, store } = this.#deps;
    const found = await this.#search(hash, { ask: true, signal });
    const { unstored } = found;
    let others: Known['entries'] = [];
    const pin = await pins.make(
      found.pin.root,
      ({ entries, whole = broughtBack(found.pin, Date.now()) }, maker) => {
        const alone = { author: whole.author ?? whole.origin, pin: whole, isMine: true };
        const known = entries.length > 0 ? entries : [{ ...alone, version: { pin: whole } }];
        if (!isLive(whole, maker.nowMs)) throw goneAs(hash, whole, store.recoverable(whole.root)); // since it was found
        const chosen = this.#choose(hash, known, (each) => isLive(each, maker.nowMs), by);
        others = chosen.all.filter((entry) => !chosen.changeable.includes(entry));
        return next(chosen, maker);
      },
      { unstored, token },
    );
    return { pin, others };
  }

  /** Purges what of a deleted file this peer may. @throws FileOfAnother */
  #purge(hash: FileHash, root: Cid, { token, ...by }: ChangeOptions): Promise<Pin> {
    return this.#deps.pins.make(
      root,
      ({ entries }, maker) => {
        if (!entries.some(({ pin }) => isDeletedForNow(pin))) return [];
        const { mine } = this.#choose(hash, entries, isDeletedForNow, by);
        return mine.map((entry) => purgedPin(entry.pin, maker));
      },
      { token },
    );
  }

  /** @throws FileOfAnother when this peer may change none of them. */
  #choose(
    hash: FileHash,
    entries: Known['entries'],
    isChosen: (pin: Pin) => boolean,
    { putWith }: Pick<ChangeOptions, 'putWith'>,
  ): Chosen {
    const all = entries.filter(({ pin }) => isChosen(pin));
    const changeable = entries.filter(
      ({ isMine, pin }) => isMine && (putWith === undefined || pin.token === putWith),
    );
    const mine = changeable.filter(({ pin }) => isChosen(pin));
    if (mine.length > 0) return { all, mine, changeable };
    const authors = all.slice(0, AUTHORS_NAMED_MAX).map(({ author }) => {
      const name = this.#deps.nameOf(author);
      return { peerId: author, ...(name === undefined ? {} : { name }) };
    });
    throw new FileOfAnother({ hash, authors });
  }

  async #search(
    hash: FileHash,
    {
      ask,
      orDeleted = false,
      signal,
    }: SearchOptions & { readonly ask: boolean; readonly orDeleted?: boolean },
  ): Promise<{ readonly pin: Pin; readonly unstored?: Pin }> {
    const { pins, reader } = this.#deps;
    const known = orDeleted ? reader.findAny(hash) : reader.find(hash);
    if (known !== undefined) return { pin: known };
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
      await pins.merge([pin], from).catch((error: unknown) => {
        // A full disk is no reason not to read a file; `merge` throws it only for news, after the check.
        if (!(error instanceof StorageFull)) throw error;
        const news = peek('pin', pin);
        if (news !== undefined && isOf(hash, news) && isLive(news, Date.now())) unstored.push(news);
      });
    }
    const found = reader.find(hash);
    if (found !== undefined) return { pin: found };
    const [latest] = unstored.toSorted((a, b) => b.clock - a.clock);
    if (latest !== undefined) return { pin: latest, unstored: latest };
    throw reader.missing(hash, { peersAsked: asked, peersSilent: asked - answers.size });
  }
}

const isOf = (hash: FileHash, { root, sha256 }: Pin) => hash === root || hash === sha256;
