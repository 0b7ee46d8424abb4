/**
 * Watching what takes a peer its time. It is asked again and again; a peer whose services restart
 * meanwhile is forgiven a few silences, since its work goes on afterwards.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandFailure } from '../failure.ts';

const ASK_EVERY_MS = 1000;
/** Failures in a row: a restart takes a few seconds. Past it: ends with the error. */
const FAILURES_MAX = 15;

/**
 * Asks until the answer says that it is over, and gives that answer.
 * @throws CommandFailure when the peer stays away; the reason of `signal`.
 */
export async function follow<T>(
  ask: (options: { signal: AbortSignal }) => Promise<T>,
  {
    isOver,
    onAnswer,
    everyMs = ASK_EVERY_MS,
  }: {
    readonly isOver: (answer: T) => boolean;
    readonly onAnswer: (answer: T) => void;
    readonly everyMs?: number;
  },
  { signal }: { signal: AbortSignal },
): Promise<T> {
  for (let failures = 0; ;) {
    try {
      const answer = await ask({ signal });
      failures = 0;
      onAnswer(answer);
      if (isOver(answer)) return answer;
    } catch (error) {
      signal.throwIfAborted();
      failures += 1;
      if (!(error instanceof CommandFailure) || failures > FAILURES_MAX) throw error;
    }
    await sleep(everyMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
