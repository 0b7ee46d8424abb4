/**
 * The holders of files: the one table of what peers said, each statement with its date. Lists, health,
 * metrics and therefore alerts read nothing else; announcements and answers write it.
 *
 * A statement is never dropped for its age, only for a later one or for room: readers decide how old is too
 * old, and a number with its date is worth more than none. When a peer goes, or comes
 * back, perhaps with less, what it said before is no longer current: it says what may be there, and
 * counts with its date until the peer is asked again.
 *
 * "Nothing" is a statement too. "I can't tell" is not one: it leaves the last one in place.
 *
 * Statements are claims. A proof of some of them is part of the same entry, with its own date.
 *
 * A peer counts its losses: while that number stands still, all that it said to hold it still holds, and is as young as the
 * question for the number.
 */
import { RecentMap } from '@shoal/chassis';
import type { Cid, HaveAnswer, HaveMap, PeerId } from '@shoal/protocol';

/** Roots remembered, about 1.5 KB each in a swarm of five. */
const ROOTS_MAX = 32_768;
/** Have-maps remembered, all together, in characters. */
const BITS_MAX_CHARS = 32 * 1024 * 1024;
/** Peers whose last turn and clock are remembered: more than a swarm has members. */
const PEERS_MAX = 4096;
/**
 * A statement that its peer read earlier than the one we have was delayed on its way, unless the difference
 * is larger than this: then the peer's clock began anew.
 */
const LATE_MAX_MS = 10_000;

/** A peer's last statement on a root. */
export interface Statement {
  /** Undefined for nothing. */
  readonly haveMap: HaveMap | undefined;
  /** On our monotonic clock; never later than when it was true. */
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

/** A peer's count of its losses. */
interface Losses {
  readonly losses: number;
  /** Since when, at the latest, it was this number. */
  readonly sinceMs: number;
  /** When it was last asked for. */
  readonly askedAtMs: number;
}

/** All peers' last statements on one root. */
interface Said {
  readonly entries: Map<PeerId, Entry>;
  /** Of all their have-maps. */
  readonly chars: number;
}

export interface NoteOptions {
  /** When the question was put that this answers. Undefined: derived from `readAtMs`, or now. */
  readonly atMs?: number;
  /** When the peer read it, on its own clock: orders and dates statements that arrive by different ways. */
  readonly readAtMs?: number | undefined;
}

export interface Holders {
  /** Notes what a peer says it holds of a root; undefined for nothing. */
  note(root: Cid, peerId: PeerId, haveMap: HaveMap | undefined, options?: NoteOptions): void;
  /** Notes whether a peer could prove blocks of a root that it claims; undefined clears a failure. */
  noteProof(root: Cid, peerId: PeerId, isProved: boolean | undefined): void;
  /** A peer's last statement on a root. */
  last(root: Cid, peerId: PeerId): Statement | undefined;
  /** Notes a peer's counter of losses, asked for at that time; undefined when it does not tell. */
  noteLosses(peerId: PeerId, losses: number | undefined, askedAtMs: number): void;
  /** Up to when what a peer holds is known to be all there. */
  renewedAtMs(peerId: PeerId): number | undefined;
  /** This peer went, or came back, perhaps with less: what it said is no longer current. */
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
  const roots = new RecentMap<Cid, Said>({
    max: BITS_MAX_CHARS,
    entriesMax: ROOTS_MAX,
    // The root noted last is kept, however large its have-maps are.
    weightOf: ({ chars }) => Math.min(chars, BITS_MAX_CHARS),
  });
  /** When a peer went or came back last. */
  const turns = new RecentMap<PeerId, number>({ max: PEERS_MAX });
  /** A lower bound on how far our clock is ahead of a peer's: it read its answer after our question. */
  const aheadMs = new RecentMap<PeerId, number>({ max: PEERS_MAX });
  const lossesOf = new RecentMap<PeerId, Losses>({ max: PEERS_MAX });
  /** The date of a statement: that of the last count of losses, if none came in since it was made. */
  const renewed = (peerId: PeerId, { haveMap, atMs }: Entry): number => {
    const losses = lossesOf.peek(peerId);
    const isWhole = haveMap !== undefined && losses !== undefined && losses.sinceMs <= atMs;
    return isWhole ? Math.max(atMs, losses.askedAtMs) : atMs;
  };
  const isCurrent = (peerId: PeerId, { atMs }: Entry) => atMs >= (turns.peek(peerId) ?? -Infinity);
  /** An announcement may be old on arrival, say at a peer that was suspended. */
  const dateOf = (peerId: PeerId, { atMs, readAtMs }: NoteOptions): number => {
    const nowMs = clock();
    if (readAtMs === undefined) return atMs ?? nowMs;
    const ahead = aheadMs.peek(peerId) ?? -Infinity;
    if (atMs === undefined) return ahead === -Infinity ? nowMs : Math.min(nowMs, readAtMs + ahead);
    if (atMs - readAtMs > ahead) aheadMs.set(peerId, atMs - readAtMs);
    return atMs;
  };
  return {
    clock,
    note(root, peerId, haveMap, options = {}) {
      const { readAtMs } = options;
      const atMs = dateOf(peerId, options);
      const { entries, chars } = roots.peek(root) ?? {
        entries: new Map<PeerId, Entry>(),
        chars: 0,
      };
      const old = entries.get(peerId);
      if (old !== undefined && isCurrent(peerId, old) && isLate(readAtMs, old.readAtMs)) return;
      const proof = haveMap === undefined ? undefined : old?.proof;
      const entry = { haveMap: inOurTime(haveMap, wallClock()), atMs, readAtMs, proof };
      entries.set(peerId, entry);
      roots.set(root, { entries, chars: chars + charsOf(entry) - charsOf(old) });
    },
    noteProof(root, peerId, isProved) {
      const said = roots.peek(root);
      const old = said?.entries.get(peerId);
      if (said === undefined || old?.haveMap === undefined) return;
      const proof = isProved === undefined ? undefined : { isProved, atMs: clock() };
      said.entries.set(peerId, { ...old, proof });
    },
    last(root, peerId) {
      const entry = roots.peek(root)?.entries.get(peerId);
      if (entry === undefined) return undefined;
      const { haveMap, proof } = entry;
      const atMs = renewed(peerId, entry);
      const proven = proof === undefined ? {} : { proof };
      return { haveMap, atMs, isCurrent: isCurrent(peerId, entry), ...proven };
    },
    noteLosses(peerId, losses, askedAtMs) {
      if (losses === undefined) return void lossesOf.delete(peerId);
      const known = lossesOf.peek(peerId);
      if (known !== undefined && known.askedAtMs > askedAtMs) return; // answers overtook each other
      const isSame = known?.losses === losses;
      // A loss came in before the answer did: only what is said from now on is about the time after it.
      const sinceMs = isSame ? known.sinceMs : clock();
      lossesOf.set(peerId, { losses, sinceMs, askedAtMs });
    },
    renewedAtMs: (peerId) => lossesOf.peek(peerId)?.askedAtMs,
    turn(peerId) {
      lossesOf.delete(peerId);
      turns.set(peerId, clock());
      aheadMs.delete(peerId); // another process has another clock
    },
    of(root) {
      const nowMs = clock();
      return [...(roots.peek(root)?.entries ?? [])].flatMap(([peerId, entry]) =>
        entry.haveMap === undefined || !isCurrent(peerId, entry)
          ? []
          : [
              {
                peerId,
                haveMap: entry.haveMap,
                ageMs: Math.max(0, Math.round(nowMs - renewed(peerId, entry))),
              },
            ],
      );
    },
  };
}

const charsOf = (entry: Entry | undefined): number => entry?.haveMap?.bits.length ?? 0;

function isLate(readAtMs: number | undefined, lastMs: number | undefined): boolean {
  if (readAtMs === undefined || lastMs === undefined) return false;
  return readAtMs < lastMs && lastMs - readAtMs <= LATE_MAX_MS;
}

/** The last re-hash on our wall clock: by its age if the holder says that, and never in the future. */
function inOurTime(haveMap: HaveMap | undefined, wallMs: number): HaveMap | undefined {
  if (haveMap?.checkedAtMs === undefined) return haveMap;
  const { checkedAtMs, checkedMsAgo, ...rest } = haveMap;
  const ours = checkedMsAgo === undefined ? checkedAtMs : wallMs - checkedMsAgo;
  return { ...rest, checkedAtMs: Math.min(wallMs, Math.max(0, Math.floor(ours))) };
}
