/**
 * Pins of many writers made one set: the last writer wins, so merging is commutative, associative and
 * idempotent, and peers that met in any order agree.
 *
 * "Last" is by (epoch, deleted, purged, clock, origin). An upload begins an epoch, and changes and the deletion
 * belong to the epoch of the pin that they were made of. So a deletion beats every change of the same
 * upload, even one made later on the far side of a partition or by a clock that is a day ahead: what
 * was deleted does not come back by itself. Another upload begins a higher epoch and wins over it.
 * With the clock alone, the peer whose clock is ahead would decide.
 *
 * A tombstone with a date is of a file that can be brought back, one without is of a file that is purged,
 * and beats it: a file that one user had purged must not stay because another deleted it too. Bringing
 * a file back begins a higher epoch, as an upload does.
 *
 * Two peers find out where their sets differ by digests of 256 buckets. A digest is the XOR of a hash
 * of each pin, so it is kept up to date by toggling one pin. The hash is not cryptographic: members
 * trust each other this far, and a collision is undone by the next change in its bucket.
 */
import { type Cid, daysAhead, type PeerId, type Pin, type PinDraft } from '@shoal/protocol';

/** Buckets that the pin set is compared by. */
export const PIN_BUCKETS = 256;

/** The fields that order the pins of one root, without their content. */
export type PinStamp = Pick<
  Pin,
  'root' | 'epoch' | 'deleted' | 'deletedAtMs' | 'clock' | 'origin'
> & {
  /** Whose pin it says to be, if not its origin's; only where several versions of the root are kept. */
  readonly author?: PeerId | undefined;
};

/** The fields of a live pin that may be changed; absent ones stay. */
export interface PinEdit {
  readonly name?: string | undefined;
  readonly replicas?: number | undefined;
  /** Null for never. */
  readonly expiresAtMs?: number | null | undefined;
}

/** The peer that makes a pin, and its wall clock. */
export interface PinMaker {
  readonly nowMs: number;
  readonly origin: PeerId;
}

/** The part of a pin that orders it. */
export function stampOf(pin: PinStamp): PinStamp {
  const { root, epoch, deleted, deletedAtMs, clock, origin } = pin;
  const date = deletedAtMs === undefined ? {} : { deletedAtMs };
  return { root, epoch, deleted, ...date, clock, origin };
}

/** The same for one of several versions of its root. */
export function stampAmong(pin: Pin): PinStamp {
  const { author = pin.origin, origin } = pin;
  return author === origin ? stampOf(pin) : { ...stampOf(pin), author };
}

/** Above 0 when `a` wins over `b`; 0 only for the same pin. */
export function comparePins(a: Pin, b: Pin): number {
  return compareStamps(a, b) || compareText(contentOf(a), contentOf(b));
}

/** Above 0 when `a` is later than `b`. */
export function compareStamps(a: PinStamp, b: PinStamp): number {
  return (
    a.epoch - b.epoch || endOf(a) - endOf(b) || a.clock - b.clock || compareText(a.origin, b.origin)
  );
}

/**
 * A date of a pin that can't be yet, in words; undefined when it has none. A pin from too far
 * ahead would win over everything that is done to its file until then.
 */
export function futureOf(
  {
    epoch,
    clock,
    createdAtMs = 0,
    deletedAtMs = 0,
  }: Pick<Pin, 'epoch' | 'clock' | 'deletedAtMs'> & Partial<Pick<Pin, 'createdAtMs'>>,
  nowMs: number,
): string | undefined {
  for (const [field, atMs] of Object.entries({ epoch, clock, createdAtMs, deletedAtMs })) {
    const days = daysAhead(atMs, nowMs);
    if (days !== undefined) return `${field}: is ${days} days ahead of this peer's clock`;
  }
  return undefined;
}

/** The same pin as if it had been made now, when it says that it is made later. */
export function broughtBack(pin: Pin, nowMs: number): Pin {
  const { epoch, clock, createdAtMs, deletedAtMs } = pin;
  const date = deletedAtMs === undefined ? {} : { deletedAtMs: Math.min(deletedAtMs, nowMs) };
  return {
    ...pin,
    ...date,
    epoch: Math.min(epoch, nowMs),
    clock: Math.min(clock, nowMs),
    createdAtMs: Math.min(createdAtMs, nowMs),
  };
}

/** The pin that stays of two for one root. */
export function mergePins(a: Pin, b: Pin): Pin {
  return comparePins(a, b) >= 0 ? a : b;
}

/** Whether a pin says that its file was deleted, and that its bytes are kept for a while. */
export function isDeletedForNow({ deleted, deletedAtMs }: PinStamp): boolean {
  return deleted && deletedAtMs !== undefined;
}

/** Whether a pin is a promise still: neither deleted nor expired. */
export function isLive(pin: Pin, nowMs: number): boolean {
  return !pin.deleted && (pin.expiresAtMs === undefined || pin.expiresAtMs > nowMs);
}

/**
 * The pin that an upload makes, given the present one. While that one lives, the new one promises
 * no fewer copies and no earlier end.
 */
export function nextPin(draft: PinDraft, old: Pin | undefined, { nowMs, origin }: PinMaker): Pin {
  const live = old !== undefined && isLive(old, nowMs) ? old : undefined;
  const { expiresAtMs: draftEndMs, token, ...wish } = draft;
  return {
    ...wish,
    ...endingAt(live === undefined ? draftEndMs : later(draftEndMs, live.expiresAtMs)),
    ...putBy(live ?? { origin, token }),
    v: 2,
    replicas: Math.max(draft.replicas, live?.replicas ?? 0),
    createdAtMs: live?.createdAtMs ?? nowMs,
    epoch: old === undefined ? nowMs : Math.max(nowMs, old.epoch + 1),
    deleted: false,
    clock: clockAfter(old, nowMs),
    origin,
  };
}

/** The pin that a change makes of a live one: also fewer copies, also an earlier end. */
export function changedPin(old: Pin, edit: PinEdit, { nowMs, origin }: PinMaker): Pin {
  const { expiresAtMs: oldEndMs, right: _, ...rest } = old;
  const endMs = edit.expiresAtMs === undefined ? oldEndMs : (edit.expiresAtMs ?? undefined);
  return {
    ...rest,
    ...endingAt(endMs),
    ...putBy(old),
    v: 2,
    name: edit.name ?? old.name,
    replicas: edit.replicas ?? old.replicas,
    clock: clockAfter(old, nowMs),
    origin,
  };
}

/** The tombstone of a pin whose file can be brought back for a while: it ends the pin's epoch. */
export function tombstoneOf(old: Pin, maker: PinMaker): Pin {
  return { ...purgedPin(old, maker), deletedAtMs: maker.nowMs };
}

/** The tombstone of a pin whose file can't be brought back: it ends the pin's epoch. */
export function purgedPin(old: Pin, { nowMs, origin }: PinMaker): Pin {
  const { deletedAtMs: _, right: __, ...rest } = old;
  return { ...rest, ...putBy(old), v: 2, deleted: true, clock: clockAfter(old, nowMs), origin };
}

/** The pin of a deleted file that is brought back, as it was: another epoch, as an upload makes one. */
export function undeletedPin(old: Pin, { nowMs, origin }: PinMaker): Pin {
  const { deletedAtMs: _, right: __, ...rest } = old;
  const epoch = Math.max(nowMs, old.epoch + 1);
  return {
    ...rest,
    ...putBy(old),
    v: 2,
    epoch,
    deleted: false,
    clock: clockAfter(old, nowMs),
    origin,
  };
}

/** In whose name a file was put, and with which token: the same in all versions of it. */
function putBy({ author, origin, token }: Pick<Pin, 'author' | 'origin' | 'token'>) {
  return { author: author ?? origin, ...(token === undefined ? {} : { token }) };
}

/** The bucket of a root, 0 to 255. */
export function pinBucket(root: Cid): number {
  return hash32(root, 0) % PIN_BUCKETS;
}

export interface PinDigest {
  /** Puts a pin in, or takes it out again. */
  toggle(stamp: PinStamp): void;
  /** One digest a bucket: 16 hex digits each. */
  buckets(): string[];
  /** The digest of the whole set. */
  total(): string;
}

export function createPinDigest(): PinDigest {
  const high = new Uint32Array(PIN_BUCKETS);
  const low = new Uint32Array(PIN_BUCKETS);
  const xor = (words: Uint32Array) => words.reduce((sum, word) => sum ^ word, 0) >>> 0;
  return {
    toggle({ root, epoch, deleted, clock, origin, author }) {
      const bucket = pinBucket(root);
      const ofAuthor = author === undefined ? '' : `/${author}`;
      const text = `${root}/${epoch}/${deleted}/${clock}/${origin}${ofAuthor}`;
      high[bucket] = (high[bucket] ?? 0) ^ hash32(text, 1);
      low[bucket] = (low[bucket] ?? 0) ^ hash32(text, 2);
    },
    buckets: () => Array.from(high, (word, index) => hex(word) + hex(low[index] ?? 0)),
    total: () => hex(xor(high)) + hex(xor(low)),
  };
}

/** How far a pin has ended its epoch. */
const endOf = (stamp: PinStamp): number => (stamp.deleted ? (isDeletedForNow(stamp) ? 1 : 2) : 0);

/** The highest clock seen for a root plus one, never behind the wall clock. */
const clockAfter = (old: Pin | undefined, nowMs: number) =>
  old === undefined ? nowMs : Math.max(nowMs, old.clock + 1);

/** Without an end is later than any. */
const later = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? undefined : Math.max(a, b);

/** An absent end is an absent field, so that a pin has one form. */
const endingAt = (expiresAtMs: number | undefined) =>
  expiresAtMs === undefined ? {} : { expiresAtMs };

const hex = (word: number) => word.toString(16).padStart(8, '0');

const compareText = (a: string, b: string) => (a === b ? 0 : a < b ? -1 : 1);

/** All fields in one order, so that two pins with one stamp compare alike everywhere. */
function contentOf(pin: Pin): string {
  return JSON.stringify(Object.entries(pin).toSorted(([a], [b]) => compareText(a, b)));
}

/** FNV-1a over UTF-16 units, then the finaliser of MurmurHash3 (both public domain). */
function hash32(text: string, seed: number): number {
  let hash = (0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
  for (let index = 0; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
