/**
 * Group commit. A sync costs the same for one block as for many, so blocks that arrive while a batch
 * is being made durable wait together for the next one.
 *
 * It is also the store's one lock: a batch, or a task that asked to be alone, runs by itself and in
 * the order of arrival. Its reads of the index therefore stay true until it is done, which
 * makes a put, a failing upload and a drop of one block safe in any order.
 *
 * The lock is a value, so that the compiler asks for it: each batch and each task gets an `Exclusive`, and
 * every change of the store takes one. No other code can make one, and one that outlives its task fails when it
 * is used.
 */
import assert from 'node:assert';

class Lock {
  #isReleased = false;

  /** An assertion: a token is used within its task, and nowhere else. */
  assertHeld(): void {
    assert(!this.#isReleased, 'the store is changed by a task that is over');
  }

  static release(lock: Lock): void {
    lock.#isReleased = true;
  }
}

/** The right to change the store, until the batch or task that it was given to is over. */
export type Exclusive = Lock;

/** Runs a task after all that was asked for before it, and before all that comes later. */
export type Alone = <T>(task: (exclusive: Exclusive) => Promise<T> | T) => Promise<T>;

export interface CommitQueue<Item, Result> {
  /** Joins the next batch. */
  add(item: Item): Promise<Result>;
  /** Never to be awaited by a task that is alone already: it would wait for itself. */
  readonly alone: Alone;
  /** Resolves when nothing waits or runs. */
  idle(): Promise<void>;
  readonly isBusy: boolean;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}
type Task = () => Promise<void>;

/**
 * @param commit Makes a batch durable; answers for each item its result or its error, in order. When
 * it throws, the whole batch failed.
 */
export function createCommitQueue<Item, Result>(
  commit: (items: readonly Item[], exclusive: Exclusive) => Promise<readonly (Result | Error)[]>,
  limits: {
    readonly itemsMax: number;
    readonly sizeMaxBytes: number;
    readonly sizeOf: (i: Item) => number;
  },
): CommitQueue<Item, Result> {
  const queue: (Waiting<Item, Result> | Task)[] = [];
  let running: Promise<void> | undefined;

  const takeBatch = (): Waiting<Item, Result>[] => {
    const batch: Waiting<Item, Result>[] = [];
    for (let sizeBytes = 0; batch.length < limits.itemsMax;) {
      const [next] = queue;
      if (next === undefined || typeof next === 'function') break;
      sizeBytes += limits.sizeOf(next.item);
      if (batch.length > 0 && sizeBytes > limits.sizeMaxBytes) break;
      batch.push(next);
      queue.shift();
    }
    return batch;
  };
  const runBatch = async (batch: readonly Waiting<Item, Result>[]): Promise<void> => {
    try {
      const items = batch.map(({ item }) => item);
      const results = await locked((exclusive) => commit(items, exclusive));
      assert(results.length === batch.length, 'a commit answers for each item');
      for (const [index, { resolve, reject }] of batch.entries()) {
        const result = results[index];
        if (result instanceof Error || result === undefined) reject(result);
        else resolve(result);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  };
  const run = async (): Promise<void> => {
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      if (typeof next === 'function') {
        queue.shift();
        await next();
        continue;
      }
      await runBatch(takeBatch());
    }
    running = undefined;
  };
  const wake = (): void => {
    running ??= Promise.resolve().then(run); // after this turn: what comes in one read is one batch
  };

  return {
    add: (item) =>
      new Promise((resolve, reject) => {
        queue.push({ item, resolve, reject });
        wake();
      }),
    alone: (task) =>
      new Promise((resolve, reject) => {
        queue.push(async () => {
          try {
            resolve(await locked(task));
          } catch (error) {
            reject(error);
          }
        });
        wake();
      }),
    async idle() {
      while (running !== undefined) await running;
    },
    get isBusy() {
      return running !== undefined;
    },
  };
}

/** The caller sees to it that one task runs at a time. */
async function locked<T>(task: (exclusive: Exclusive) => Promise<T> | T): Promise<T> {
  const lock = new Lock();
  try {
    return await task(lock);
  } finally {
    Lock.release(lock);
  }
}
