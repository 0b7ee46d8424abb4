/** A list in batches of at most `max`, in its order; none of them is empty. */
export function* batchesOf<T>(items: readonly T[], max: number): Generator<T[]> {
  for (let from = 0; from < items.length; from += max) yield items.slice(from, from + max);
}
