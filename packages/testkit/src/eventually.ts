import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;
/** On a machine that runs other tests as well: a condition that holds ends the wait at once. */
const TIMEOUT_MS = 30_000;

/**
 * Asks until `check` gives something other than false or undefined, and answers that; an error
 * thrown by it counts as "not yet", and is reported when the deadline passes.
 */
export async function eventually<T>(
  what: string | (() => string),
  check: () => Promise<T | false | undefined> | T | false | undefined,
  { timeoutMs = TIMEOUT_MS }: { readonly timeoutMs?: number } = {},
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await check();
      if (answer !== false && answer !== undefined) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadlineMs)
      throw new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`, {
        cause,
      });
    await sleep(POLL_MS);
  }
}
