/**
 * Presence: this peer's own record, signed when its facts change and broadcast. Signed anew now and then, so that one that
 * nobody signs any more is recognised by its age; when others take us for gone, so that they see that they err; and
 * once more with our good-bye.
 */
import assert from 'node:assert';
import type { Loops } from '@shoal/chassis';
import type { Member, MemberRecord, PeerId } from '@shoal/protocol';
import type { AgedRecord } from '../network/messages.ts';
import type { Signed } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import type { Changes } from './changes.ts';
import type { News } from './news.ts';
import { OwnRecord, type OwnRecordDeps, type SignedRecord } from './own-record.ts';

/** A record is signed again when it is this old. */
export const RESIGN_MS = 10 * 60_000;
/** Wait between two refutations, doubled each time: each goes to all members, and one that lies can ask for them without end. */
const REFUTE_MIN_MS = 1000;
/**
 * Longest wait between two refutations, less than a suspect has to be heard of.
 * Past it: the next word that we are gone is refuted.
 */
const REFUTE_MAX_MS = 30_000;
/** After a longer wait than this it rides on probes alone: a broadcast costs all members some messages each. */
const REFUTE_BROADCAST_MS = 4 * REFUTE_MIN_MS;
/** After this time without one the wait is short again. */
const REFUTE_CALM_MS = 4 * REFUTE_MAX_MS;
/** Longest wait for the others to take our good-bye. Past it: they find out. */
const LEAVE_TIMEOUT_MS = 500;

export interface PresenceDeps extends OwnRecordDeps {
  readonly wire: Wire;
  /** Monotonic. */
  readonly clock: () => number;
  readonly changes: Pick<Changes, 'noteOwn' | 'close'>;
  readonly news: Pick<News, 'addRecord'>;
  /** Time between two records of which figures alone are new. */
  readonly figuresMs: () => number;
}

export class Presence {
  readonly #deps: PresenceDeps;
  readonly #record: OwnRecord;
  #signedAtMs: number;
  #refuted = { atMs: -Infinity, pauseMs: REFUTE_MIN_MS };
  /** Nothing is said any more after the good-bye. */
  #phase: 'new' | 'started' | 'leaving' = 'new';

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    this.#record = new OwnRecord(deps);
    this.#signedAtMs = deps.clock();
  }

  /** This peer among the members, by its facts of now. */
  member(): Member {
    return { ...this.#record.draft(), state: 'alive', isSelf: true, seenMsAgo: 0 };
  }

  /** Our record, as it was last signed. */
  own(): SignedRecord {
    return this.#record.current();
  }

  /** The same with a nonce in it, which shows that we live. */
  introduce(nonce: string): Signed {
    return this.#record.introduce(nonce);
  }

  /** Goes on under a higher incarnation. */
  reincarnate(incarnation: number): void {
    this.#record.raise(incarnation);
    this.announce();
  }

  /** Our facts changed in a way that others should know now. */
  announce(): void {
    this.#deps.changes.noteOwn();
    this.#broadcast();
  }

  /** Our figures may have changed: others should know, though not at once. */
  announceFigures(): void {
    const { clock, figuresMs } = this.#deps;
    if (clock() - this.#signedAtMs >= figuresMs() && this.#record.isOutdated()) this.#broadcast();
  }

  /** Others take us for gone, or suspect it: a newer record shows that they err. */
  refute(): void {
    const { clock, news } = this.#deps;
    const nowMs = clock();
    const { atMs, pauseMs } = this.#refuted;
    if (nowMs - atMs < pauseMs || this.#phase === 'leaving') return;
    const isCalm = nowMs - atMs > REFUTE_CALM_MS;
    const nextMs = isCalm ? REFUTE_MIN_MS : Math.min(REFUTE_MAX_MS, pauseMs * 2);
    this.#refuted = { atMs: nowMs, pauseMs: nextMs };
    if (pauseMs <= REFUTE_BROADCAST_MS) this.#broadcast();
    else {
      this.#signedAtMs = nowMs;
      this.#record.renew();
    }
    const { record, signed } = this.own();
    news.addRecord(record, signed);
  }

  /** Says that this peer is here, and goes on saying so until disposed. */
  start(loops: Loops, onFailure: (err: unknown) => void): Disposable {
    assert(this.#phase === 'new', 'presence starts once');
    this.#phase = 'started';
    this.#broadcast();
    return loops.start({
      name: 'presence',
      // A tenth of jitter keeps peers that started together from speaking together.
      everyMs: () => RESIGN_MS * (0.9 + Math.random() / 10),
      run: () => this.#broadcast(),
      onFailure,
    });
  }

  /** Says good-bye, so that nobody has to find out. */
  async leave(): Promise<void> {
    const { wire, run, changes } = this.#deps;
    this.#phase = 'leaving';
    changes.close();
    // The name is another process's: its members must not take it for gone.
    if (run().isAside) return;
    const signed = this.#record.renew({ isLeaving: true });
    wire.broadcast('members', signed);
    const records: AgedRecord[] = [{ signed, ageMs: 0 }];
    const tell = (peerId: PeerId) =>
      wire.request(peerId, { kind: 'exchange', records }, { timeoutMs: LEAVE_TIMEOUT_MS });
    await Promise.allSettled(wire.engine().connected().map(tell));
  }

  #broadcast(): void {
    if (this.#phase === 'leaving') return;
    this.#signedAtMs = this.#deps.clock();
    this.#deps.wire.broadcast('members', this.#record.renew());
  }
}

/** Whether a record under our name is of this very process. */
export const isOwnRun = (record: MemberRecord, { run }: Pick<PresenceDeps, 'run'>): boolean =>
  record.run?.id === run().id;
