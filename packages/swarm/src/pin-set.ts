/**
 * Pins of many writers made one set: the last writer wins by (clock, origin), so merging is
 * commutative, associative and idempotent, and peers that met in any order agree.
 *
 * Two peers find out where their sets differ by digests of 256 buckets. A digest is the XOR of a hash
 * of each pin, so it is kept up to date by toggling one pin. The hash is not cryptographic: members
 * trust each other this far, and a collision is undone by the next change in its bucket.
 */
import type { Cid, PeerId, Pin, PinDraft } from '@shoal/protocol';

/** Buckets that the pin set is compared by. */
export const PIN_BUCKETS = 256;

/** What orders the pins of one root, without their content. */
export type PinStamp = Pick<Pin, 'root' | 'clock' | 'origin'>;

/** Above 0 when `a` wins over `b`; 0 only for the same pin. */
export function comparePins(a: Pin, b: Pin): number {
  return compareStamps(a, b) || compareText(contentOf(a), contentOf(b));
}

/** Above 0 when `a` is later than `b`. */
export function compareStamps(a: PinStamp, b: PinStamp): number {
  return a.clock - b.clock || compareText(a.origin, b.origin);
}

/** The pin that stays of two for one root. */
export function mergePins(a: Pin, b: Pin): Pin {
  return comparePins(a, b) >= 0 ? a : b;
}

/** Whether a pin is a promise still: neither deleted nor expired. */
export function isLive(pin: Pin, nowMs: number): boolean {
  return !pin.deleted && (pin.expiresAtMs === undefined || pin.expiresAtMs > nowMs);
}

/** The pin that a wish makes, given the one that stands: never fewer copies than promised before. */
export function nextPin(
  draft: PinDraft,
  old: Pin | undefined,
  { nowMs, origin }: { nowMs: number; origin: PeerId },
): Pin {
  const live = old !== undefined && isLive(old, nowMs) ? old : undefined;
  return {
    ...draft,
    v: 1,
    replicas: Math.max(draft.replicas, live?.replicas ?? 0),
    createdAtMs: live?.createdAtMs ?? nowMs,
    deleted: false,
    clock: Math.max((old?.clock ?? -1) + 1, nowMs),
    origin,
  };
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
    toggle({ root, clock, origin }) {
      const bucket = pinBucket(root);
      const text = `${root}/${clock}/${origin}`;
      high[bucket] = (high[bucket] ?? 0) ^ hash32(text, 1);
      low[bucket] = (low[bucket] ?? 0) ^ hash32(text, 2);
    },
    buckets: () => Array.from(high, (word, index) => hex(word) + hex(low[index] ?? 0)),
    total: () => hex(xor(high)) + hex(xor(low)),
  };
}

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
