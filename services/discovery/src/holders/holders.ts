/**
 * The holders: the one table of what peers said, each statement with its date. Lists, health,
 * metrics and so alerts read it, and nothing else; announcements and answers write it.
 *
 * A statement is never thrown away for its age, only for a later one or for room: how old is too old is
 * its reader's to say, and a number with its date is worth more than none. When a peer goes, or comes
 * back perhaps with less, what it said before is not current any more: it tells what may be there, and
 * counts with its date until the peer was asked again.
 *
 * "Nothing" is a statement too. "I can't tell" is none: it leaves the last one.
 *
 * Statements of a peer are claims. A proof of some of them is a part of the same entry, with a date of its own.
 */
import type { Cid, HaveAnswer, HaveMap, PeerId } from '@shoal/protocol';

/** Roots remembered. */
const ROOTS_MAX = 8192;
/** Have-maps remembered, all together, in characters. */
const BITS_MAX_CHARS = 32 * 1024 * 1024;
/** Peers of which more is remembered than statements: more than a swarm has members. */
const PEERS_MAX = 4096;
/**
 * A statement that its peer read earlier than the one we have came late, by a detour. By more than
 * this it was not late: the peer's clock began anew.
 */
const LATE_MAX_MS = 10_000;

/** A peer's statement on a root. */
export interface Statement {
  /** Undefined for nothing. */
  readonly haveMap: HaveMap | undefined;
  /** When, on our monotonic clock: not after it was true. */
  readonly atMs: number;
  /** Whether the peer has been there ever since. */
  readonly isCurrent: boolean;
  /** Whether it could prove what it said of this root when it was asked, and when that was. */
  readonly proof?: Proof | undefined;
}

export interface Proof {
  readonly isProved: boolean;
  readonly atMs: number;
}

interface Entry {
  readonly haveMap: HaveMap | undefined;
  readonly atMs: number;
  /** When the peer read it from its disk, on its own clock. */
  readonly readAtMs: number | undefined;
  readonly proof: Proof | undefined;
}

export interface NoteOptions {
  /** When the question was put that this answers. Default: by the peer's clock as its answers showed it, or now. */
  readonly atMs?: number;
  /** When the peer read it, on a clock of its own: orders and dates what comes by different ways. */
  readonly readAtMs?: number | undefined;
}

export interface Holders {
  /** Remembers what a peer said that it holds of a root; undefined is nothing. */
  note(root: Cid, peerId: PeerId, haveMap: HaveMap | undefined, options?: NoteOptions): void;
  /** Whether a peer could prove blocks of a root that it said it holds; undefined takes back what it failed. */
  noteProof(root: Cid, peerId: PeerId, isProved: boolean | undefined): void;
  /** A peer's last statement on a root. */
  last(root: Cid, peerId: PeerId): Statement | undefined;
  /** This peer went, or came back, perhaps with less: what it said is not current any more. */
  turn(peerId: PeerId): void;
  /** All current statements of a root that name some block. */
  of(root: Cid): HaveAnswer[];
  clock(): number;
}

export function createHolders({
  clock,
  wallClock = Date.now,
}: {
  readonly clock: () => number;
  readonly wallClock?: () => number;
}): Holders {
  const roots = new Map<Cid, Map<PeerId, Entry>>();
  const turns = new Map<PeerId, number>();
  /** How far our clock is ahead of a peer's, at least: what it answered, it read after the question. */
  const aheadMs = new Map<PeerId, number>();
  let chars = 0;
  const sizeOf = (entry: Entry | undefined) => entry?.haveMap?.bits.length ?? 0;
  const forgetOldest = (): void => {
    const oldest = roots.entries().next();
    if (oldest.done === true) return;
    const [root, entries] = oldest.value;
    for (const entry of entries.values()) chars -= sizeOf(entry);
    roots.delete(root);
  };
  const isCurrent = (peerId: PeerId, { atMs }: Entry) => atMs >= (turns.get(peerId) ?? -Infinity);
  /** An announcement may have been under way for long, to a peer that stood still, say. */
  const dateOf = (peerId: PeerId, { atMs, readAtMs }: NoteOptions): number => {
    const nowMs = clock();
    if (readAtMs === undefined) return atMs ?? nowMs;
    const ahead = aheadMs.get(peerId) ?? -Infinity;
    if (atMs === undefined) return ahead === -Infinity ? nowMs : Math.min(nowMs, readAtMs + ahead);
    if (atMs - readAtMs > ahead) putLast(aheadMs, peerId, atMs - readAtMs);
    return atMs;
  };
  return {
    clock,
    note(root, peerId, haveMap, options = {}) {
      const { readAtMs } = options;
      const atMs = dateOf(peerId, options);
      const entries = roots.get(root) ?? new Map<PeerId, Entry>();
      const old = entries.get(peerId);
      if (old !== undefined && isCurrent(peerId, old) && isLate(readAtMs, old.readAtMs)) return;
      const proof = haveMap === undefined ? undefined : old?.proof;
      const entry = { haveMap: inOurTime(haveMap, wallClock()), atMs, readAtMs, proof };
      chars += sizeOf(entry) - sizeOf(old);
      entries.set(peerId, entry);
      roots.delete(root); // put back at the end: told last, forgotten last
      roots.set(root, entries);
      while (roots.size > ROOTS_MAX || (chars > BITS_MAX_CHARS && roots.size > 1)) forgetOldest();
    },
    noteProof(root, peerId, isProved) {
      const entries = roots.get(root);
      const old = entries?.get(peerId);
      if (entries === undefined || old?.haveMap === undefined) return;
      const proof = isProved === undefined ? undefined : { isProved, atMs: clock() };
      entries.set(peerId, { ...old, proof });
    },
    last(root, peerId) {
      const entry = roots.get(root)?.get(peerId);
      if (entry === undefined) return undefined;
      const { haveMap, atMs, proof } = entry;
      const proven = proof === undefined ? {} : { proof };
      return { haveMap, atMs, isCurrent: isCurrent(peerId, entry), ...proven };
    },
    turn(peerId) {
      putLast(turns, peerId, clock());
      aheadMs.delete(peerId); // another process has another clock
    },
    of(root) {
      const nowMs = clock();
      return [...(roots.get(root) ?? [])].flatMap(([peerId, entry]) =>
        entry.haveMap === undefined || !isCurrent(peerId, entry)
          ? []
          : [
              {
                peerId,
                haveMap: entry.haveMap,
                ageMs: Math.max(0, Math.round(nowMs - entry.atMs)),
              },
            ],
      );
    },
  };
}

/** Sets it as the latest; the oldest makes room. */
function putLast(map: Map<PeerId, number>, peerId: PeerId, value: number): void {
  map.delete(peerId);
  map.set(peerId, value);
  const [oldest] = map.keys();
  if (map.size > PEERS_MAX && oldest !== undefined) map.delete(oldest);
}

function isLate(readAtMs: number | undefined, lastMs: number | undefined): boolean {
  if (readAtMs === undefined || lastMs === undefined) return false;
  return readAtMs < lastMs && lastMs - readAtMs <= LATE_MAX_MS;
}

/** The last re-hash by our wall clock: by its age when the holder told that, and never in the future. */
function inOurTime(haveMap: HaveMap | undefined, wallMs: number): HaveMap | undefined {
  if (haveMap?.checkedAtMs === undefined) return haveMap;
  const { checkedAtMs, checkedMsAgo, ...rest } = haveMap;
  const ours = checkedMsAgo === undefined ? checkedAtMs : wallMs - checkedMsAgo;
  return { ...rest, checkedAtMs: Math.min(wallMs, Math.max(0, Math.floor(ours))) };
}
