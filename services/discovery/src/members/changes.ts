/**
 * Changes among the members, and callers that wait for them (long poll). The version counts the table's
 * changes and our own; services of this peer hold a call open until it differs from the one that they know.
 */
import assert from 'node:assert';
import type { Log } from '@shoal/chassis';
import { type MemberState, type PeerId, ServiceUnavailable } from '@shoal/protocol';
import type { MemberTable } from '@shoal/swarm';
import { countMembers, type Metrics } from '../metrics.ts';

/** Callers that wait for a change at once; a few services wait, one call each. */
const WAITERS_MAX = 256;

export type OnChange = (peerId: PeerId, state: MemberState) => void;

export class Changes {
  readonly #table: Pick<MemberTable<unknown>, 'all' | 'get' | 'version'>;
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #waiters = new Set<() => void>();
  readonly #listeners = new Set<OnChange>();
  #knownVersion: number;
  #ownChanges = 0;
  #isClosed = false;

  constructor({
    table,
    metrics,
    log,
  }: {
    readonly table: Pick<MemberTable<unknown>, 'all' | 'get' | 'version'>;
    readonly metrics: Metrics;
    readonly log: Log;
  }) {
    this.#table = table;
    this.#metrics = metrics;
    this.#log = log;
    this.#knownVersion = table.version();
  }

  version(): number {
    return this.#table.version() + this.#ownChanges;
  }

  onChange(listener: OnChange): void {
    this.#listeners.add(listener);
  }

  /** The state of this member changed in the table, or it is out of it. */
  tell(peerId: PeerId, state = this.#table.get(peerId)?.state): void {
    if (state === undefined) return;
    this.#metrics.transitions.inc({ state });
    this.#log.info({ member: peerId, state }, 'member changed');
    for (const listener of this.#listeners) listener(peerId, state);
  }

  /** Something that the table doesn't hold changed: our own facts, or what we think of a member. */
  noteOwn(): void {
    this.#ownChanges += 1;
    this.wake();
  }

  /** Answers the callers that wait, if the version changed. */
  wake(): void {
    const version = this.version();
    assert(version >= this.#knownVersion, 'the version of the member table only grows');
    if (version === this.#knownVersion) return;
    this.#knownVersion = version;
    this.count();
    for (const waiter of this.#waiters) waiter();
  }

  /** Sets the metrics of members by state. */
  count(): void {
    countMembers(this.#metrics, ['alive', ...this.#table.all().map(({ state }) => state)]);
  }

  /** @throws ServiceUnavailable when this service is stopping */
  async wait(after: number, waitMs: number, signal: AbortSignal): Promise<void> {
    this.#refuseClosed();
    if (this.version() !== after || waitMs === 0 || this.#waiters.size >= WAITERS_MAX) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    this.#waiters.add(resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    this.#waiters.delete(resolve);
    clearTimeout(timer);
    this.#refuseClosed();
  }

  /** Answers all callers that wait; further ones are refused. */
  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#waiters) waiter();
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new ServiceUnavailable({ service: 'discovery' });
  }
}
