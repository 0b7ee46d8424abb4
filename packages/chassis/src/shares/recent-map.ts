/**
 * A bounded map: a cache that is LRU, with a time to live where one is given. A Map keeps its order of
 * insertion, so an entry that is used is deleted and set again, and the first is the one to evict.
 *
 * Rejected: lru-cache, which allocates for its `max` at once. Ten empty ones of 65,536 entries take 14 MB,
 * and a peer has more than ten, most of which stay nearly empty.
 */
import assert from 'node:assert/strict';

export interface RecentMapOptions<K, V> {
  /** Bound on the entries, or on the sum of their weights when `weightOf` is given. */
  readonly max: number;
  /** The weight of an entry, fixed when it is set. Default: 1. An entry above `max` is not kept. */
  readonly weightOf?: (value: V, key: K) => number;
  /** How long after it was set an entry is given; reading it doesn't prolong that. Default: no end. */
  readonly ttlMs?: number;
  /** Monotonic milliseconds. Default: `performance.now`. */
  readonly clock?: () => number;
  /** Called with each entry that the bound evicts, or that expired; not for `set`, `delete` or `clear`. */
  readonly onEvict?: (key: K, value: V) => void;
  /** Bound on the entries where `max` is one on their weights. Default: none. */
  readonly entriesMax?: number;
}

interface Entry<V> {
  readonly value: V;
  readonly weight: number;
  readonly expiresAtMs: number;
}

export class RecentMap<K, V> {
  readonly #entries = new Map<K, Entry<V>>();
  readonly #options: RecentMapOptions<K, V>;
  readonly #clock: () => number;
  #weight = 0;

  constructor(options: RecentMapOptions<K, V>) {
    this.#options = options;
    this.#clock = options.clock ?? (() => performance.now());
  }

  /** Entries held, those that expired and were not asked for since included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Sum of the weights of all entries. */
  get weight(): number {
    return this.#weight;
  }

  /** The value, and the entry becomes the most recent one. */
  get(key: K): V | undefined {
    const entry = this.#live(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** The value, without becoming more recent: for a map whose oldest entry goes first (FIFO). */
  peek(key: K): V | undefined {
    return this.#live(key)?.value;
  }

  /** As `peek`, where the value itself may be undefined. */
  has(key: K): boolean {
    return this.#live(key) !== undefined;
  }

  /** Adds or replaces an entry as the most recent one, and evicts the least recent above the bound. */
  set(key: K, value: V, { ttlMs = this.#options.ttlMs }: { readonly ttlMs?: number } = {}): void {
    const { max, entriesMax = Infinity, weightOf } = this.#options;
    const weight = weightOf?.(value, key) ?? 1;
    assert.ok(weight >= 0, `weighs ${weight}`); // or it would make room for more than the bound
    this.delete(key);
    const expiresAtMs = ttlMs === undefined ? Infinity : this.#clock() + ttlMs;
    this.#entries.set(key, { value, weight, expiresAtMs });
    this.#weight += weight;
    for (const [oldest, entry] of this.#entries) {
      if (this.#weight <= max && this.#entries.size <= entriesMax) break;
      this.#evict(oldest, entry);
    }
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#weight -= entry.weight;
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#weight = 0;
  }

  /** The entries that have not expired, the least recent first. */
  *entries(): Generator<[K, V]> {
    const nowMs = this.#clock();
    for (const [key, { value, expiresAtMs }] of this.#entries)
      if (expiresAtMs > nowMs) yield [key, value];
  }

  [Symbol.iterator](): Generator<[K, V]> {
    return this.entries();
  }

  #live(key: K): Entry<V> | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAtMs > this.#clock()) return entry;
    this.#evict(key, entry);
    return undefined;
  }

  #evict(key: K, { value }: Entry<V>): void {
    this.delete(key);
    this.#options.onEvict?.(key, value);
  }
}
