/** The roster of one peer: its records, and what they amount to. */
import { createHash } from 'node:crypto';
import { type PeerId, type RecordId, ROSTER_RECORDS_MAX, type SignedRecord } from '@shoal/protocol';
import { type CheckedRecord, readRoster, type RosterView } from '@shoal/swarm';
import { readRecord, recordIdOf } from './record.ts';

export interface Taken {
  /** Records that were new, and count. */
  readonly added: readonly SignedRecord[];
  readonly refused: readonly { readonly record: string; readonly reason: string }[];
}

interface Entry extends CheckedRecord {
  readonly signed: SignedRecord;
}

export class Roster {
  readonly #recordsMax: number;
  readonly #entries = new Map<RecordId, Entry>();
  readonly #listeners = new Set<(view: RosterView) => void>();
  #view: RosterView = readRoster([], undefined);
  #digest: string | undefined;
  #isCompared = true;

  constructor({ recordsMax = ROSTER_RECORDS_MAX }: { readonly recordsMax?: number } = {}) {
    this.#recordsMax = recordsMax;
  }

  get view(): RosterView {
    return this.#view;
  }

  /** Whether the swarm has a roster: it then decides who belongs, and the swarm key does not. */
  get isClosed(): boolean {
    return this.#view.swarmId !== undefined;
  }

  /** Whether this roster lets a peer in; undefined when there is none, and the swarm key decides. */
  hasMember(peerId: PeerId): boolean | undefined {
    return this.isClosed ? this.#view.members.has(peerId) : undefined;
  }

  /** Whether it was compared with a member's since this peer started: see compared-mark.ts. */
  get isCompared(): boolean {
    return this.#isCompared || !this.isClosed;
  }

  setCompared(isCompared: boolean): void {
    this.#isCompared = isCompared;
  }

  /** Calls back after each change, until the function that it gives is called. */
  onChange(listener: (view: RosterView) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** All records that count, in the order of their ids. */
  records(): SignedRecord[] {
    return [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { signed }]) => signed);
  }

  /** The same, as they were checked when they came. */
  checked(): Iterable<CheckedRecord> {
    return this.#entries.values();
  }

  ids(): RecordId[] {
    return [...this.#entries.keys()].sort();
  }

  get(id: RecordId): SignedRecord | undefined {
    return this.#entries.get(id)?.signed;
  }

  /** The same for two peers whose rosters are the same. */
  digest(): string {
    this.#digest ??= createHash('sha256').update(this.ids().join('\n')).digest('base64url');
    return this.#digest;
  }

  /**
   * Takes in what is sound and counts, of the swarm that this roster is of.
   * @param mayBegin Whether a genesis record among them may give a roster to a swarm that has none.
   */
  take(
    values: readonly unknown[],
    { mayBegin = false }: { readonly mayBegin?: boolean } = {},
  ): Taken {
    const refused: { record: string; reason: string }[] = [];
    const fresh: Entry[] = [];
    for (const value of values) {
      const signed = value as SignedRecord; // as readRecord finds it, or it is refused
      if (this.#isKnown(signed)) continue;
      const { checked, reason } = readRecord(value);
      if (checked === undefined) refused.push({ record: 'a record', reason });
      else if (this.#entries.size + fresh.length >= this.#recordsMax)
        refused.push({
          record: `${checked.record.kind} ${checked.id}`,
          reason: `the roster has ${this.#recordsMax} records`,
        });
      else
        fresh.push({
          ...checked,
          signed: { payload: signed.payload, signature: signed.signature },
        });
    }
    if (fresh.length === 0) return { added: [], refused };
    const first = mayBegin ? fresh.find(({ record }) => record.kind === 'genesis')?.id : undefined;
    const swarmId = this.#view.swarmId ?? first;
    const view = readRoster([...this.#entries.values(), ...fresh], swarmId);
    const added: Entry[] = [];
    for (const each of fresh) {
      const { id, record } = each;
      const reason = whyNot(each, view);
      if (reason === undefined) added.push(each);
      else refused.push({ record: `${record.kind} ${id}`, reason });
    }
    if (added.length === 0) return { added: [], refused };
    for (const each of added) this.#entries.set(each.id, each);
    for (const id of this.#entries.keys()) if (!view.inForce.has(id)) this.#entries.delete(id);
    this.#view = view;
    this.#digest = undefined;
    for (const listener of this.#listeners) listener(view);
    return { added: added.map(({ signed }) => signed), refused };
  }

  /** Whether this very text is here: its signature was checked then. */
  #isKnown(value: Partial<SignedRecord> | null): boolean {
    const payload = value?.payload;
    return typeof payload === 'string' && this.#entries.has(recordIdOf({ payload }));
  }
}

function whyNot({ id, record }: CheckedRecord, view: RosterView): string | undefined {
  if (view.swarmId === undefined)
    return 'this swarm has no owner: who knows its key belongs to it (see shoal own)';
  if (record.kind === 'genesis' ? id !== view.swarmId : record.swarm !== view.swarmId)
    return `it is of another swarm; this one is ${view.swarmId}`;
  if (!view.inForce.has(id)) return whyVoid(record, view);
  return undefined;
}

/** Why a record of this swarm counts for nothing. */
function whyVoid(record: CheckedRecord['record'], { owners, genesis }: RosterView): string {
  if (record.kind === 'join')
    return 'the invitation is not good here: it was used, withdrawn, or is of a peer that was removed';
  if (record.by !== genesis?.recovery && !owners.has(record.by))
    return `${record.by} is no owner of this swarm, so it has no right to that`;
  if (record.kind === 'remove-owner' && owners.has(record.key))
    return `${record.by} has no right to that: an owner removes those that it added, or that those added; the recovery key removes any`;
  return 'it was done before';
}
