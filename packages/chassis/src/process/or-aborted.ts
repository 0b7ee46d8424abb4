/**
 * The result of a promise, or a rejection as soon as the signal fires: for work that others share or that
 * can't be aborted, so that the caller leaves and the work goes on. It rejects with the signal's reason,
 * or with `failure` where that is given. A later rejection of the promise is handled, and no listener is
 * left on the signal.
 */
export async function orAborted<T>(
  promise: PromiseLike<T>,
  signal: AbortSignal,
  failure?: Error,
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(failure ?? (signal.reason as Error)); // an Error in all our code
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    // The signal comes first: with both settled, leaving wins.
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
