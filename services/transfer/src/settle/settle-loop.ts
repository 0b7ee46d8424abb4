/**
 * When files are settled: when a pin arrives (a queued job), when a member comes in or goes out,
 * after a start, and now and then anyway. The passes start from the pins on disk, so nothing depends
 * on a job that Redis may have lost. A file that was settled with the same pin and the same members
 * is passed over until it is due for a fresh look.
 */
import { createLimit, type Log, type Loops, type PeerClient } from '@shoal/chassis';
import type { Cid, Pin } from '@shoal/protocol';
import { isDraining, type MemberView } from '../peers/member-view.ts';
import type { PinCache } from '../peers/pin-cache.ts';
import { pinsToSettle } from '../peers/pins.ts';
import type { Metrics } from '../metrics.ts';
import { lookAtSmall } from './look-at-small.ts';
import { PassTimer } from './pass-timer.ts';
import { Retries } from './retries.ts';
import type { Settled } from './settle.ts';
import { settlePass } from './settle-pass.ts';
import { SettledFiles } from './settled-files.ts';

/** Longest wait before a file that could not be settled is looked at again. */
const RETRY_DELAY_MAX_MS = 60_000;
/** The same while draining: a person waits for the end of it. */
const RETRY_DELAY_DRAINING_MAX_MS = 5000;
/** A file that was put or changed less long ago may still be spreading… */
const NEW_FOR_MS = 10 * 60_000;
/** …so that it gets a second look after this long: offers may have come in behind the first. */
const SECOND_LOOK_MS = 20_000;
/** A new small file that lacks its block here, or has one too many: its upload may be about to mend that. */
const SMALL_LOOK_MS = 2000;
/** Files settled at once, from the queue and from passes. */
const SETTLES_MAX = 4;

export interface SettleLoopDeps {
  readonly client: PeerClient;
  readonly cache: PinCache;
  readonly view: MemberView;
  readonly metrics: Metrics;
  readonly loops: Loops;
  readonly log: Log;
  readonly settle: (root: Cid, options: { signal: AbortSignal }) => Promise<Settled>;
  /** Called with each file of which something was copied or dropped. */
  readonly onRepair: (root: Cid, settled: Settled) => void;
  readonly intervalMs: number;
  readonly resettleMs: number;
  readonly delayMs: number;
}

export function startSettleLoop(deps: SettleLoopDeps): SettleLoop {
  const loop = new SettleLoop(deps);
  loop.begin();
  return loop;
}

export class SettleLoop implements AsyncDisposable {
  readonly #deps: SettleLoopDeps;
  readonly #stop = new AbortController();
  readonly #turns = createLimit(SETTLES_MAX);
  readonly #settled: SettledFiles;
  readonly #retries = new Retries((root) => void this.#settleQuietly(root));
  readonly #timer: PassTimer;
  readonly #running = new Map<Cid, Promise<Settled>>();
  /** Files that changed while they were being settled: what came of that may be out of date. */
  readonly #stale = new Set<Cid>();

  constructor(deps: SettleLoopDeps) {
    this.#deps = deps;
    this.#settled = new SettledFiles(deps);
    const passes = deps.loops.track('settle-pass', () => deps.intervalMs);
    const pass = () => passes.run((beat) => this.#pass(beat));
    this.#timer = new PassTimer({ ...deps, pass });
  }

  /** Starts the passes. */
  begin(): void {
    this.#watchMembers();
    this.#timer.passSoon();
  }

  /**
   * Settles these files now, the small ones together; used by the queue's worker. One that fails is looked at again
   * by itself.
   * @throws Problem when a service of this peer does not answer.
   */
  async settleAll(roots: readonly Cid[]): Promise<void> {
    const { signal } = this.#stop;
    for (const root of roots) this.#noteStale(root);
    const pins = await pinsToSettle(roots, this.#deps, { signal });
    const gone = roots.filter((root) => !pins.some((pin) => pin.root === root));
    const rest = await this.#lookAtSmall(pins);
    await Promise.all(
      [...gone, ...rest.map(({ root }) => root)].map((root) => this.#settleQuietly(root)),
    );
  }

  /** Something about these files changed: what is remembered of them is dropped, and they are looked at soon. */
  lookAgain(roots: readonly Cid[]): void {
    for (const root of roots) {
      this.#noteStale(root);
      this.#retries.forget(root); // its back-off begins anew
      this.#retryLater(root);
    }
  }

  /** Whether a file was found in order, for this very pin and the members of now. */
  isSettled(pin: Pin): boolean {
    return this.#settled.has(pin, this.#deps.view.placedSet());
  }

  /**
   * Whether a file is being settled at this moment, or was not found in order since this process
   * started or members changed: our storage may then not confirm blocks that it has.
   */
  isInDoubt(pin: Pin): boolean {
    if (this.#running.has(pin.root)) return true;
    return !this.isSettled(pin) && this.#settled.hasAll();
  }

  /** Files in danger first; see settle-pass.ts. */
  async #pass(beat: () => void): Promise<void> {
    const { client, view, log } = this.#deps;
    if (!view.isKnown()) return;
    const isDue = (pin: Pin) => !this.isSettled(pin) && !this.#retries.has(pin.root);
    const settlePin = ({ root }: Pin) => this.#settleQuietly(root).finally(beat);
    const lookAtSmallOnes = (pins: readonly Pin[]) => this.#lookAtSmall(pins);
    const deps = { client, view, log, isDue, lookAtSmall: lookAtSmallOnes, settlePin };
    await settlePass(deps, { signal: this.#stop.signal });
  }

  /** Notes which small files are in order; gives the files to settle one by one. */
  async #lookAtSmall(pins: readonly Pin[]): Promise<Pin[]> {
    const { view, metrics } = this.#deps;
    const members = view.placedSet();
    // One that is being settled is stale now, and looked at again after that.
    const idle = pins.filter(({ root }) => !this.#running.has(root));
    const looked = await lookAtSmall(idle, this.#deps, { signal: this.#stop.signal });
    for (const pin of looked.inOrder) {
      this.#retries.forget(pin.root);
      this.#settled.note(pin, members);
      metrics.filesSettled.inc({ outcome: 'settled' });
    }
    const [fresh, old] = [
      looked.misplaced.filter(isNew),
      looked.misplaced.filter((pin) => !isNew(pin)),
    ];
    for (const { root } of fresh) this.#retries.lookIn(root, SMALL_LOOK_MS);
    return [...looked.rest, ...old];
  }

  async #settleQuietly(root: Cid): Promise<void> {
    try {
      await this.#settleOnce(root);
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#deps.log.debug({ err, root }, 'not settled');
    }
  }

  /** Single-flight: one run a file at a time, shared by all that ask for it meanwhile. */
  #settleOnce(root: Cid): Promise<Settled> {
    const current = this.#running.get(root);
    if (current !== undefined) return current;
    const run = this.#turns(() => this.#settle(root)).finally(() => {
      this.#running.delete(root);
      this.#stale.delete(root);
    });
    this.#running.set(root, run);
    return run;
  }

  async #settle(root: Cid): Promise<Settled> {
    const { view, metrics, settle, onRepair } = this.#deps;
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const members = view.placedSet();
    try {
      const settled = await settle(root, { signal });
      metrics.filesSettled.inc({ outcome: settled.isSettled ? 'settled' : 'unsettled' });
      if (settled.copiedBlocks + settled.droppedBlocks > 0) onRepair(root, settled);
      if (settled.isSettled && !this.#stale.has(root))
        this.#noteSettled(root, settled.pin, members);
      else this.#retryLater(root);
      return settled;
    } catch (err) {
      if (!signal.aborted) {
        metrics.filesSettled.inc({ outcome: 'failed' });
        this.#retryLater(root);
      }
      throw err;
    }
  }

  #noteSettled(root: Cid, pin: Pin | undefined, members: string): void {
    this.#retries.forget(root);
    if (pin === undefined) {
      this.#settled.forget(root);
      return;
    }
    const isFirst = this.#settled.note(pin, members);
    if (isFirst && isNew(pin)) this.#retries.lookIn(root, SECOND_LOOK_MS);
  }

  #noteStale(root: Cid): void {
    if (this.#running.has(root)) this.#stale.add(root);
  }

  #retryLater(root: Cid): void {
    this.#settled.forget(root);
    const isUrgent = isDraining(this.#deps.view);
    const delayMaxMs = isUrgent ? RETRY_DELAY_DRAINING_MAX_MS : RETRY_DELAY_MAX_MS;
    this.#retries.backOff(root, { delayMaxMs });
  }

  #watchMembers(): void {
    const { view } = this.#deps;
    const idsOf = () => new Set(view.asked().map(({ peerId }) => peerId));
    let placedSet = view.placedSet();
    let askedBefore = idsOf();
    const onChange = () => {
      const asked = idsOf();
      const isAnyBack = [...asked].some((peerId) => !askedBefore.has(peerId));
      const isMoved = view.placedSet() !== placedSet;
      askedBefore = asked;
      placedSet = view.placedSet();
      // A reboot copies nothing: files that are settled stay so, the pass looks at the others.
      if (!isMoved && !(isAnyBack && this.#retries.size > 0)) return;
      // The cause of delays may be gone: the next pass takes those files, in its order.
      for (const root of this.#retries.forgetAll()) this.#settled.forget(root);
      this.#timer.passSoon();
    };
    view.onChange(onChange, { signal: this.#stop.signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'));
    this.#retries[Symbol.dispose]();
    await Promise.allSettled([this.#timer[Symbol.asyncDispose](), ...this.#running.values()]);
  }
}

/** Whether a file was put or changed a moment ago, by the clock of who did. */
const isNew = ({ clock }: Pin): boolean => Math.abs(Date.now() - clock) < NEW_FOR_MS;
