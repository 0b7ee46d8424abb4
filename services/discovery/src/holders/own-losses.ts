/**
 * How many blocks of ours stopped counting as copies, as storage counts them: it is asked, and answers when that changes.
 * While it does not answer nothing is known, and nothing is said.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Log, Loops, PeerClient } from '@shoal/chassis';
import { storageRoutes } from '@shoal/protocol';

/** Longest wait of storage for a change: after this it says that it lives. */
const WAIT_MS = 10_000;
/** Longest wait for storage's answer beyond that. Past it: nothing is known until it answers again. */
const LATE_MAX_MS = 2000;
const RETRY_MS = 1000;

export class OwnLosses {
  #count: number | undefined;

  /** The counter; undefined when storage does not tell. */
  get count(): number | undefined {
    return this.#count;
  }

  /** Follows storage until disposed. */
  follow({
    client,
    loops,
    log,
  }: {
    readonly client: PeerClient;
    readonly loops: Loops;
    readonly log: Log;
  }): Disposable {
    const stop = new AbortController();
    const { signal } = stop;
    const loop = loops.track('own-losses', () => WAIT_MS);
    const ask = async (): Promise<number> => {
      const args = { query: { known: this.#count ?? -1, waitMs: WAIT_MS } };
      const options = { signal, timeoutMs: WAIT_MS + LATE_MAX_MS };
      const target = client.own('storage');
      return (await client.call(target, storageRoutes.losses, args, options)).losses;
    };
    const run = async (): Promise<void> => {
      while (!signal.aborted)
        try {
          this.#count = await loop.run(ask);
        } catch (err) {
          this.#count = undefined;
          if (!signal.aborted) log.debug({ err }, 'storage does not tell its losses');
          await wait(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined); // stopped: the loop's end
        }
    };
    void run();
    return { [Symbol.dispose]: () => stop.abort(new Error('stopping')) };
  }
}
