/**
 * This peer's roster: on disk, where its other services read it, and whether it was compared with members' since this
 * process started. One may have been removed while this peer was away: until the roster was compared nobody is taken
 * for a member, here or by the other services.
 */
import {
  clearComparedMark,
  type Log,
  type Roster,
  readRosterFile,
  saveRoster,
  setComparedMark,
} from '@shoal/chassis';
import { type PeerId, PeerRemoved, type SignedRecord } from '@shoal/protocol';
import type { Gate } from '../network/wire.ts';

/**
 * Wait for a second member to compare with: the first that comes may be the one that was removed, and keeps quiet
 * about it.
 * Past it: the word of one is enough, for a swarm of which no other is up.
 */
const SECOND_WORD_MS = 3000;
/** Without a member for so long after the start it says so. Past it: it goes on looking. */
const ALONE_AFTER_MS = 15_000;
/** Between two tries to write it, on a full disk. */
const SAVE_RETRY_MS = 1000;

export interface RosterKeeperDeps {
  readonly self: PeerId;
  readonly peerDataDir: string;
  /** Monotonic. */
  readonly clock?: () => number;
  readonly metrics: { readonly rosterRecords: { set(count: number): void } };
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export class RosterKeeper implements Disposable, Gate {
  readonly roster: Roster;
  readonly #deps: RosterKeeperDeps;
  readonly #compared = new Set<PeerId>();
  readonly #openings = new Set<() => void>();
  readonly #startedAtMs: number;
  #second: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;

  /** @throws ConfigError when the file is no roster. */
  constructor(deps: RosterKeeperDeps) {
    this.#deps = deps;
    this.#startedAtMs = (deps.clock ?? (() => performance.now()))();
    this.roster = readRosterFile(deps.peerDataDir);
    deps.metrics.rosterRecords.set(this.roster.ids().length);
    clearComparedMark(deps.peerDataDir);
    this.roster.setCompared(false);
    if (this.#others() === 0) this.#open();
  }

  /** Takes in what is sound and counts; others see it once it is on disk. */
  take(values: readonly SignedRecord[], options?: { readonly mayBegin?: boolean }) {
    const wasClosed = this.roster.isClosed;
    const taken = this.roster.take(values, options);
    for (const { record, reason } of taken.refused)
      this.#deps.log.warn({ record, reason }, 'a record of the roster was refused');
    if (taken.added.length === 0) return taken;
    this.#save();
    if (this.roster.view.removed.has(this.#deps.self)) this.#deps.log.warn(this.notice());
    // A roster that begins here is as new as can be.
    if (!wasClosed || this.#others() === 0) this.#open();
    this.#deps.metrics.rosterRecords.set(this.roster.ids().length);
    return taken;
  }

  /** It is the same as that member's now. */
  noteCompared(peerId: PeerId): void {
    if (this.roster.isCompared || this.roster.hasMember(peerId) !== true) return;
    this.#compared.add(peerId);
    if (this.#compared.size >= Math.min(2, this.#others())) return this.#open();
    this.#second ??= setTimeout(() => this.#open(), SECOND_WORD_MS).unref();
  }

  /** Whether members may be served. */
  isOpen(): boolean {
    return this.roster.isCompared;
  }

  admits(peerId: PeerId): boolean {
    return this.roster.hasMember(peerId) !== false;
  }

  /** Calls back once members may be served; at once when they may. */
  onOpen(listener: () => void): void {
    if (this.roster.isCompared) listener();
    else this.#openings.add(listener);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#second);
    clearTimeout(this.#retry);
    clearComparedMark(this.#deps.peerDataDir);
  }

  /** That this peer was shut out, or is alone, for a person; undefined while all is well. */
  notice(): string | undefined {
    const { self, clock = () => performance.now() } = this.#deps;
    const removal = this.roster.view.removed.get(self);
    if (removal !== undefined) return new PeerRemoved({ reason: removal.reason }).message;
    if (this.roster.isCompared || clock() - this.#startedAtMs < ALONE_AFTER_MS) return undefined;
    return 'no other member was met since the start, so this peer takes none for one: it may be alone, or was removed';
  }

  #others(): number {
    const { members } = this.roster.view;
    return members.size - (members.has(this.#deps.self) ? 1 : 0);
  }

  #open(): void {
    clearTimeout(this.#second);
    if (this.roster.isClosed) {
      setComparedMark(this.#deps.peerDataDir);
      this.#deps.log.info({ members: [...this.#compared] }, 'the roster is up to date');
    }
    this.roster.setCompared(true);
    for (const listener of this.#openings) listener();
    this.#openings.clear();
  }

  #save(): void {
    clearTimeout(this.#retry);
    try {
      saveRoster(this.#deps.peerDataDir, this.roster);
    } catch (err) {
      this.#deps.log.warn({ err }, 'the roster can’t be written; it is tried again');
      this.#retry = setTimeout(() => this.#save(), SAVE_RETRY_MS).unref();
    }
  }
}
