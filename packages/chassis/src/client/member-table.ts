/**
 * A copy of discovery's member table, for the other services of the peer. The last copy stays in force
 * while discovery is away, so that transfers and uploads go on.
 *
 * It is kept current in one of two ways. `follow` holds a long poll open, for a service that chooses a peer
 * with every block and must not wait for another process. `fresh` asks when the copy is older than
 * a second, for one that needs it once an upload: a long poll would have it read every heartbeat for nothing.
 */
import assert from 'node:assert/strict';
import { discoveryRoutes, type MembersReply } from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../process/log.ts';
import { orAborted } from '../process/or-aborted.ts';
import type { Loops } from '../process/loops.ts';
import type { PeerClient } from './peer-client.ts';

/** The table changes by the second at most: small uploads share an answer. Past it: discovery is asked again. */
const AGE_MAX_MS = 1000;
/** Past it: the last copy is used. */
const ASK_TIMEOUT_MS = 2000;
/** How long discovery may hold a poll while the table is unchanged. */
const POLL_WAIT_MS = 10_000;
/** The time that a poll may take beyond that. */
const POLL_SLACK_MS = 5000;
/** Pause after a failed poll: discovery restarts within about a second. */
const RETRY_DELAY_MS = 200;

/** The members, and what discovery says of this peer's own clock and identity. */
export type TableCopy = MembersReply;

export class MemberTable implements AsyncDisposable {
  readonly #client: PeerClient;
  readonly #log: Log;
  readonly #stop = new AbortController();
  #copy: TableCopy | undefined;
  #askedAtMs = -Infinity;
  #asking: Promise<void> | undefined;
  #following: Promise<void> | undefined;

  constructor({ client, log }: { readonly client: PeerClient; readonly log: Log }) {
    this.#client = client;
    this.#log = log;
  }

  /** A copy at most a second old, or the last one while discovery is away; undefined before the first. */
  async fresh({ signal }: { signal: AbortSignal }): Promise<TableCopy | undefined> {
    if (performance.now() - this.#askedAtMs < AGE_MAX_MS) return this.#copy;
    this.#asking ??= this.#refresh();
    await orAborted(this.#asking, signal);
    return this.#copy;
  }

  /** Single-flight: uploads that begin together wait for one answer. */
  async #refresh(): Promise<void> {
    try {
      this.#copy = await this.#ask({}, { signal: this.#stop.signal, timeoutMs: ASK_TIMEOUT_MS });
      this.#askedAtMs = performance.now();
    } catch (err) {
      this.#log.debug({ err }, 'member table not refreshed');
    } finally {
      this.#asking = undefined;
    }
  }

  /** Calls back with the table as it is now and with every new one, until this is disposed. */
  follow(onTable: (table: TableCopy) => void, { loops }: { readonly loops: Loops }): void {
    assert(this.#following === undefined, 'a member table has one follower');
    this.#following = this.#poll(onTable, loops);
  }

  async #poll(onTable: (table: TableCopy) => void, loops: Loops): Promise<void> {
    const { signal } = this.#stop;
    const polls = loops.track('members', () => POLL_WAIT_MS);
    let version = -1;
    while (!signal.aborted)
      try {
        const query = { after: version, waitMs: POLL_WAIT_MS };
        const timeoutMs = POLL_WAIT_MS + POLL_SLACK_MS;
        const copy = await polls.run(() => this.#ask({ query }, { signal, timeoutMs }));
        // A restarted discovery counts anew: any other version is news.
        if (copy.version !== version) onTable(copy);
        version = copy.version;
      } catch (err) {
        if (signal.aborted) return;
        this.#log.debug({ err }, 'member table not refreshed');
        version = -1;
        await sleep(RETRY_DELAY_MS, undefined, { signal }).catch(() => undefined);
      }
  }

  #ask(
    args: { readonly query?: { after: number; waitMs: number } },
    options: { signal: AbortSignal; timeoutMs: number },
  ): Promise<TableCopy> {
    return this.#client.call(this.#client.own('discovery'), discoveryRoutes.members, args, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }
}
