/**
 * Group commit. A sync costs the same for one block as for many, so blocks that arrive while a batch
 * is being made durable wait together for the next one.
 *
 * It is also the store's one lock: a batch, or a task that asked to be alone, runs by itself and in
 * the order of arrival. What it reads of the index therefore stays true until it is done, which
 * makes a put, a failing upload and a drop of one block safe in any order.
 */

export interface CommitQueue<Item, Result> {
  /** Joins the next batch. */
  add(item: Item): Promise<Result>;
  /** Runs a task after all that was asked for before it, and before all that comes later. */
  alone<T>(task: () => Promise<T> | T): Promise<T>;
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
  commit: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
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
      const results = await commit(batch.map(({ item }) => item));
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
            resolve(await task());
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
