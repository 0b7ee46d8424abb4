/**
 * Tells transfer, which caches pins, of each that changed before the change is answered. A call that fails is repeated until
 * one succeeds; a transfer that was killed has an empty cache.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, CIDS_PER_BATCH_MAX, transferRoutes } from '@shoal/protocol';

/** Longest wait of a change for transfer. Past it: the change is answered, and transfer is called again. */
const TELL_TIMEOUT_MS = 1000;
const RETRY_MS = 1000;

export class ChangedPins implements Disposable {
  readonly #client: PeerClient;
  readonly #log: Log;
  readonly #stop = new AbortController();
  #untold = new Set<Cid>();
  /** At first: its cache may be from before this process started. */
  #isAll = true;
  #retry: NodeJS.Timeout | undefined;

  constructor({ client, log }: { readonly client: PeerClient; readonly log: Log }) {
    this.#client = client;
    this.#log = log;
  }

  /** This pin replaced another one. */
  note(root: Cid): void {
    if (this.#untold.size < CIDS_PER_BATCH_MAX) this.#untold.add(root);
    else this.#isAll = true;
  }

  /** Resolves when transfer knows what was noted so far, or does not answer. */
  async tell(): Promise<void> {
    const [untold, isAll] = [this.#untold, this.#isAll];
    if (untold.size === 0 && !isAll) return;
    this.#untold = new Set();
    this.#isAll = false;
    const { signal } = this.#stop;
    const args = { body: { roots: [...untold], isAll } };
    const options = { timeoutMs: TELL_TIMEOUT_MS, signal };
    try {
      await this.#client.call(
        this.#client.own('transfer'),
        transferRoutes.forgetPins,
        args,
        options,
      );
    } catch (err) {
      if (signal.aborted) return;
      this.#log.debug({ err }, 'transfer does not know yet which pins changed');
      for (const root of untold) this.note(root);
      this.#isAll ||= isAll;
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        void this.tell();
      }, RETRY_MS).unref();
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#retry);
    this.#stop.abort(new Error('stopping'));
  }
}
