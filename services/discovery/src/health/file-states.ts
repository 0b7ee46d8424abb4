/** Where files are, read off the table of what members said: at one moment, with the date of the answers. */
import type { FileEntry, Member, PeerId, Pin } from '@shoal/protocol';
import type { Holders } from '../holders/holders.ts';
import type { WallTimeOf } from '../wall-time.ts';
import type { PinAges } from '../pins/pin-ages.ts';
import { ANSWER_AGE_MAX_MS, type Standing, standingOf } from './standing.ts';

/** Answers that a list may rest on without asking again: of files that lack something… */
const FRESH_MOVING_MS = 2000;
/** …and of safe ones, half of what they are good for, since others are asked before them. */
const FRESH_SAFE_MS = ANSWER_AGE_MAX_MS / 2;

export interface FileStatesDeps {
  readonly holders: Pick<Holders, 'last' | 'clock'>;
  readonly ages: PinAges;
  /** Whether a member that is not down can be asked at this moment, as far as is known. */
  readonly isReachable: (member: Member) => boolean;
  /** Whether this peer has not heard from the others since its start. */
  readonly isJoining: () => boolean;
  /** Gateway of the twin for which this peer stands aside; undefined while it doesn't. */
  readonly asideFor: () => string | undefined;
  /** When a member that is down counts as out, on the table's clock. */
  readonly outAtMs: (peerId: PeerId) => number | undefined;
  readonly wallTimeOf: WallTimeOf;
  /** How long the first copies of a file may be under way. */
  readonly newForMs: number;
}

export class FileStates {
  readonly #deps: FileStatesDeps;

  constructor(deps: FileStatesDeps) {
    this.#deps = deps;
  }

  /** From what was said since then, when that is given. */
  of(pin: Pin, members: readonly Member[], sinceMs?: number): Standing {
    const { holders, ages, isReachable, isJoining, asideFor, newForMs } = this.#deps;
    const nowMs = holders.clock();
    return standingOf(pin, {
      holders,
      members,
      isReachable,
      isJoining: isJoining(),
      asideFor: asideFor(),
      isYoung: (each) => ages.isYoung(each, newForMs),
      knownForMs: (each) => ages.knownForMs(each),
      nowMs,
      repairFromMs: ({ peerId }) => this.#deps.wallTimeOf(this.#deps.outAtMs(peerId) ?? nowMs),
      ...(sinceMs === undefined ? {} : { ageMaxMs: nowMs - sinceMs }),
    });
  }

  entryOf(pin: Pin, { state, causes, copies, atMs }: Standing): FileEntry {
    const { root: cid, kind, name, sizeBytes, sha256, blocks, replicas, expiresAtMs } = pin;
    const createdAtMs = this.#deps.ages.createdAtMs(pin);
    const fixed = { cid, kind, name, sizeBytes, sha256, blocks, replicas, createdAtMs };
    const dated = atMs === undefined ? {} : { verifiedAtMs: this.wallTimeOf(atMs) };
    return { ...fixed, expiresAtMs, state, causes, copies, ...dated };
  }

  /** Where a file stands, if that is known well enough for a list; undefined when somebody must be asked before. */
  settled(pin: Pin, members: readonly Member[]): Standing | undefined {
    const standing = this.of(pin, members);
    const { state, atMs = -Infinity } = standing;
    const ageMs = this.#deps.holders.clock() - atMs;
    return state === 'safe' && ageMs <= FRESH_SAFE_MS ? standing : undefined;
  }

  /** Whether a member that could answer must be asked of this file. */
  isStale(pin: Pin, members: readonly Member[]): boolean {
    const { holders } = this.#deps;
    const nowMs = holders.clock();
    return members.some(({ peerId, state, isSelf }) => {
      if (isSelf || state !== 'alive') return false;
      const last = holders.last(pin.root, peerId);
      return last?.isCurrent !== true || nowMs - last.atMs > FRESH_MOVING_MS;
    });
  }

  /** Of a time on the table's clock that is past. */
  wallTimeOf(atMs: number): number {
    return Math.min(Date.now(), this.#deps.wallTimeOf(atMs));
  }
}
