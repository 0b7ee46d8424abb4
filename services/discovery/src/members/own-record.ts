/** This peer's own record: its facts, signed, under a number that only grows. */
import assert from 'node:assert';
import { DATE_MAX_MS, type MemberRecord, type PeerId, type PeerRun } from '@shoal/protocol';
import type { Signed, Signer } from '../network/signed.ts';

/** The facts in a peer's own record, apart from those that this module adds. */
export type OwnFacts = Omit<
  MemberRecord,
  'v' | 'peerId' | 'incarnation' | 'seq' | 'atMs' | 'leaving' | 'run'
>;

export interface SignedRecord {
  readonly record: MemberRecord;
  readonly signed: Signed;
}

export interface OwnRecordDeps {
  readonly self: PeerId;
  readonly incarnation: number;
  /** Which run of this peer this is. */
  readonly run: () => PeerRun;
  readonly facts: () => OwnFacts;
  readonly signer: Pick<Signer, 'sign'>;
}

export class OwnRecord {
  readonly #deps: OwnRecordDeps;
  #incarnation: number;
  #seq = 0;
  #current: SignedRecord;

  constructor(deps: OwnRecordDeps) {
    this.#deps = deps;
    this.#incarnation = deps.incarnation;
    this.#current = this.#sign(this.draft());
  }

  /** As it would be signed at this moment. */
  draft(leaving = false): MemberRecord {
    const { self: peerId, run, facts } = this.#deps;
    const [incarnation, seq] = [this.#incarnation, this.#seq];
    const atMs = Math.min(Math.max(0, Date.now()), DATE_MAX_MS);
    return { v: 1, peerId, incarnation, seq, atMs, leaving, run: run(), ...facts() };
  }

  /** As it was last signed. */
  current(): SignedRecord {
    return this.#current;
  }

  /** Whether our facts are others than those that were last signed. */
  isOutdated(): boolean {
    const factsOf = (record: MemberRecord) => JSON.stringify({ ...record, seq: 0, atMs: 0 });
    return factsOf(this.draft()) !== factsOf(this.#current.record);
  }

  /** Signs it anew: members take this one in place of those before. */
  renew({ isLeaving = false }: { readonly isLeaving?: boolean } = {}): Signed {
    this.#seq += 1;
    const before = this.#current.record;
    this.#current = this.#sign(this.draft(isLeaving));
    const { incarnation, seq } = this.#current.record;
    assert(
      incarnation > before.incarnation || (incarnation === before.incarnation && seq > before.seq),
      'a record of ours is newer than those before it',
    );
    return this.#current.signed;
  }

  /** From the next record on under this incarnation, unless it is higher already. */
  raise(incarnation: number): void {
    this.#incarnation = Math.max(this.#incarnation, incarnation);
  }

  /** The record as it was last signed, with a nonce in it. */
  introduce(nonce: string): Signed {
    const run = { ...this.#deps.run(), nonce };
    return this.#sign({ ...this.#current.record, run }).signed;
  }

  #sign(record: MemberRecord): SignedRecord {
    return { record, signed: this.#deps.signer.sign('member', record) };
  }
}
