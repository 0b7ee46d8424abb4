/**
 * Members tell each other the records of the roster: each new one to all at once, and all of them when two meet, by
 * comparing digests. Records are signed, so it does not matter who tells them.
 */
import type { PeerId, RecordId, SignedRecord } from '@shoal/protocol';
import { ROSTER_RECORDS_PER_MESSAGE_MAX } from '@shoal/protocol';
import { Roster, type Log, type Taken } from '@shoal/chassis';
import type { Wire } from '../network/wire.ts';
import type { RosterKeeper } from './roster-keeper.ts';

/** Text in one message, far below the largest. Past it: the rest comes in the next one. */
const MESSAGE_MAX_CHARS = 1024 * 1024;
/** Longest wait for the last answer of one that was removed. Past it: the connection ends. */
const FAREWELL_TIMEOUT_MS = 500;

export interface RosterSyncDeps {
  readonly self: PeerId;
  readonly keeper: RosterKeeper;
  readonly wire: Wire;
  readonly log: Pick<Log, 'debug' | 'warn'>;
}

export class RosterSync {
  readonly #deps: RosterSyncDeps;
  readonly #roster: Roster;

  constructor(deps: RosterSyncDeps) {
    this.#deps = deps;
    this.#roster = deps.keeper.roster;
    const { wire } = deps;
    wire.handle('roster', (from, { digest }) => {
      if (digest !== this.#roster.digest()) return { ids: this.#roster.ids() };
      deps.keeper.noteCompared(from);
      return {};
    });
    wire.handle('roster-get', (_, { ids }) => ({ records: this.#inOneMessage(ids) }));
    wire.handle('roster-put', (from, { records }) => {
      this.take(records, from);
      return {};
    });
    wire.on('met', (peerId) => {
      this.compare(peerId).catch((err: unknown) =>
        deps.log.debug({ err, member: peerId }, 'the roster was not compared'),
      );
    });
  }

  /** Takes in records, and tells the others what is new. @param from Who told; nobody for those of a user. */
  take(records: readonly SignedRecord[], from?: PeerId): Taken {
    const mayBegin = from === undefined || this.#mayBeginWith(records);
    const taken = this.#deps.keeper.take(records, { mayBegin });
    if (taken.added.length > 0) {
      this.#spread(taken.added, from);
      this.#partFromOthers(taken.added);
    }
    return taken;
  }

  /** A peer that is no member any more hears why, and is out. */
  #partFromOthers(records: readonly SignedRecord[]): void {
    const { self, wire } = this.#deps;
    if (this.#roster.view.removed.has(self)) return wire.engine().setAlone(true);
    for (const peerId of wire.engine().connected()) {
      if (this.#roster.hasMember(peerId) !== false) continue;
      const farewell = { kind: 'roster-put', records: this.#fitting(records) } as const;
      wire
        .request(peerId, farewell, { timeoutMs: FAREWELL_TIMEOUT_MS })
        .catch((err: unknown) =>
          this.#deps.log.debug({ err, member: peerId }, 'it was removed, and did not hear why'),
        )
        .then(() => wire.engine().hangUp(peerId))
        .catch((err: unknown) => this.#deps.log.warn({ err, member: peerId }, 'not hung up'));
    }
  }

  /** Makes both rosters the same. Nothing is asked in a swarm that has none, as far as this peer knows. */
  async compare(peerId: PeerId): Promise<void> {
    const { wire, keeper } = this.#deps;
    if (!this.#roster.isClosed) return;
    const { ids } = await wire.request(peerId, { kind: 'roster', digest: this.#roster.digest() });
    if (ids !== undefined) {
      const known = new Set(ids);
      for (const some of chunksOf(ids.filter((id) => this.#roster.get(id) === undefined)))
        await this.#fetch(peerId, some);
      let waiting = this.#roster.ids().filter((id) => !known.has(id));
      while (waiting.length > 0) {
        const records = this.#inOneMessage(waiting);
        waiting = waiting.slice(Math.max(1, records.length));
        await wire.request(peerId, { kind: 'roster-put', records });
      }
    }
    keeper.noteCompared(peerId);
  }

  async #fetch(peerId: PeerId, ids: readonly RecordId[]): Promise<void> {
    for (let waiting = ids; waiting.length > 0;) {
      const { records } = await this.#deps.wire.request(peerId, {
        kind: 'roster-get',
        ids: [...waiting],
      });
      if (records.length === 0) return; // it has forgotten them
      this.take(records, peerId);
      waiting = waiting.slice(records.length);
    }
  }

  #spread(records: readonly SignedRecord[], from: PeerId | undefined): void {
    const { wire, log } = this.#deps;
    for (const peerId of wire.engine().connected()) {
      if (peerId === from || this.#roster.hasMember(peerId) === false) continue;
      for (const some of chunksOf(records))
        wire
          .request(peerId, { kind: 'roster-put', records: [...some] })
          .catch((err: unknown) => log.debug({ err, member: peerId }, 'the roster was not told'));
    }
  }

  /** As many of the records as go into a message; those that are not here are left out. */
  #inOneMessage(ids: readonly RecordId[]): SignedRecord[] {
    const known = ids.map((id) => this.#roster.get(id));
    return this.#fitting(known.filter((signed) => signed !== undefined));
  }

  #fitting(all: readonly SignedRecord[]): SignedRecord[] {
    const records: SignedRecord[] = [];
    let chars = 0;
    for (const signed of all) {
      chars += signed.payload.length;
      if (records.length >= ROSTER_RECORDS_PER_MESSAGE_MAX || chars > MESSAGE_MAX_CHARS) break;
      records.push(signed);
    }
    return records;
  }

  /** Another member closes the swarm: only with this peer in it, or its key would shut us out. */
  #mayBeginWith(records: readonly SignedRecord[]): boolean {
    if (this.#roster.isClosed) return false;
    const begun = new Roster();
    begun.take(records, { mayBegin: true });
    return begun.hasMember(this.#deps.self) === true;
  }
}

function* chunksOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += ROSTER_RECORDS_PER_MESSAGE_MAX)
    yield all.slice(at, at + ROSTER_RECORDS_PER_MESSAGE_MAX);
}
