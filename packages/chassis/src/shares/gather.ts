/**
 * Group commit for callers: what is asked for at one moment goes out as one batch. A batch leaves at once when none
 * is under way, so that a lone caller waits for nobody; else it waits for one to end, or for half as long as batches
 * take of late, whichever is sooner: a busy machine gets larger batches, and a slow one delays no other for long.
 */
import assert from 'node:assert';

/** Of an exponential average: the last batch counts for this part of it. */
const SMOOTHING = 4;

export interface GatherLimits<Item> {
  readonly itemsMax: number;
  readonly sizeMaxBytes: number;
  readonly sizeOf: (item: Item) => number;
  /** Longest wait of an item for others while a batch is under way. */
  readonly waitMaxMs: number;
  /** Batches under way at once. */
  readonly batchesMax: number;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export class Gather<Item, Result> {
  readonly #send: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly #limits: GatherLimits<Item>;
  readonly #waiting: Waiting<Item, Result>[] = [];
  #underWay = 0;
  /** How long batches take, of late. */
  #tookMs = 0;
  #turn: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param send Answers for each item, in order; when it throws, every item of the batch failed. */
  constructor(
    send: (items: readonly Item[]) => Promise<readonly Result[]>,
    limits: GatherLimits<Item>,
  ) {
    this.#send = send;
    this.#limits = limits;
  }

  /** Joins the next batch. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#wake();
    });
  }

  #wake(): void {
    const { batchesMax, itemsMax, waitMaxMs } = this.#limits;
    if (this.#waiting.length === 0 || this.#underWay >= batchesMax) return;
    // After this turn: requests that were read together go together.
    if (this.#underWay === 0 || this.#waiting.length >= itemsMax)
      this.#turn ??= setImmediate(() => this.#leave());
    else
      this.#timer ??= setTimeout(
        () => this.#leave(),
        Math.min(waitMaxMs, this.#tookMs / 2),
      ).unref();
  }

  #leave(): void {
    clearImmediate(this.#turn);
    clearTimeout(this.#timer);
    this.#turn = undefined;
    this.#timer = undefined;
    const batch = this.#take();
    if (batch.length === 0) return;
    this.#underWay += 1;
    const leftAtMs = performance.now();
    void this.#carry(batch).finally(() => {
      this.#underWay -= 1;
      this.#tookMs += (performance.now() - leftAtMs - this.#tookMs) / SMOOTHING;
      if (this.#waiting.length > 0) this.#turn ??= setImmediate(() => this.#leave());
    });
    this.#wake();
  }

  #take(): Waiting<Item, Result>[] {
    const { itemsMax, sizeMaxBytes, sizeOf } = this.#limits;
    let sizeBytes = 0;
    const count = this.#waiting.slice(0, itemsMax).findIndex(({ item }, at) => {
      sizeBytes += sizeOf(item);
      return at > 0 && sizeBytes > sizeMaxBytes;
    });
    return this.#waiting.splice(0, count === -1 ? itemsMax : count);
  }

  async #carry(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#send(batch.map(({ item }) => item));
      assert(results.length === batch.length, 'a batch answers for each of its items');
      for (const [at, { resolve }] of batch.entries()) resolve(results[at] as Result); // as long
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
