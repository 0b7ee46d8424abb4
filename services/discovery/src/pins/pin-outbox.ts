/**
 * Pins that were made here, on their way to all members: broadcast, and while not all hear that, pushed to those that are
 * connected. The first of a burst goes at once, the others some at a time.
 */
import type { Metrics } from '../metrics.ts';
import { BATCHES_PER_MESSAGE_MAX } from '../network/messages.ts';
import { PINS_PER_BATCH_MAX, type SignedBatch } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';

/** After a message what is made gathers for this long, so that a burst is a few messages, and a transaction each at all others. */
const GATHER_MS = 100;

export class PinOutbox {
  readonly #wire: Wire;
  readonly #metrics: Metrics;
  #unsent: SignedBatch[] = [];
  #gathering = false;

  constructor({ wire, metrics }: { readonly wire: Wire; readonly metrics: Metrics }) {
    this.#wire = wire;
    this.#metrics = metrics;
  }

  add(batches: readonly SignedBatch[]): void {
    this.#unsent.push(...batches);
    if (this.#gathering) return;
    this.flush();
    this.#gathering = true;
    setTimeout(() => {
      this.#gathering = false;
      if (this.#unsent.length > 0) this.add([]);
    }, GATHER_MS).unref();
  }

  /** Sends at once what gathers to be sent. */
  flush(): void {
    const engine = this.#wire.engine();
    const isHeardByAll = engine.reachesAll();
    for (const made of messagesOf(this.#unsent)) {
      this.#wire.broadcast('pins', made); // a member that misses it gets it by anti-entropy
      if (isHeardByAll) continue;
      for (const peerId of engine.connected())
        this.#wire.request(peerId, { kind: 'pins-put', made }).catch(() => {
          this.#metrics.messages.inc({ kind: 'pins-put', outcome: 'failed' });
        });
    }
    this.#unsent = [];
  }
}

/** Batches by message: as many as one takes, and no more pins than it has room for. */
function* messagesOf(batches: readonly SignedBatch[]): Generator<SignedBatch[]> {
  let message: SignedBatch[] = [];
  let pins = 0;
  for (const batch of batches) {
    const isFull =
      message.length === BATCHES_PER_MESSAGE_MAX ||
      pins + batch.payloads.length > PINS_PER_BATCH_MAX;
    if (isFull && message.length > 0) {
      yield message;
      [message, pins] = [[], 0];
    }
    message.push(batch);
    pins += batch.payloads.length;
  }
  if (message.length > 0) yield message;
}
