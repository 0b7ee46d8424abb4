/**
 * News of a peer's services for a person although they run: a twin, a clock that is days wrong. Services
 * can only write it into their logs, where nobody looks while all seems well. So the launcher, whose terminal a
 * person sees, asks for it now and then, and says each thing once.
 */
import * as z from 'zod';
import { ask } from './ask.ts';

/** Time between two questions: people don't act within seconds, and each wakes two processes. */
const NOTICES_POLL_MS = 10_000;
/** One question. Past it: the next one comes. */
const NOTICES_TIMEOUT_MS = 2000;

/** The answer of `/readyz`, of which earlier versions know less. */
const Readiness = z.object({
  reason: z.string().optional(),
  /** Waiting does not help: a person must act. */
  needsPerson: z.boolean().default(false),
  notices: z.array(z.string()).default([]),
});

/** The reason why a service will not be ready before somebody acts, if its answer says one. */
export function blockerIn(text: string): string | undefined {
  const { needsPerson, reason } = read(text);
  return needsPerson ? reason : undefined;
}

/** Says what a service wants a person to know, each thing when it begins and when it is over, until disposed. */
export function watchNotices(
  origin: string,
  say: (line: string) => void,
  {
    known: said = [],
    everyMs = NOTICES_POLL_MS,
  }: {
    /** Those that were said already. */
    readonly known?: readonly string[];
    readonly everyMs?: number;
  } = {},
): Disposable {
  const stop = new AbortController();
  let known = said;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(NOTICES_TIMEOUT_MS)]);
    // One that is being started again says the same as before.
    const text = await ask(`${origin}/readyz`, { signal }).then(
      (answer) => answer.text,
      () => undefined,
    );
    if (stop.signal.aborted) return;
    if (text !== undefined) {
      const { notices } = read(text);
      for (const notice of notices) if (!known.includes(notice)) say(notice);
      for (const notice of known) if (!notices.includes(notice)) say(`over: ${startOf(notice)}`);
      known = notices;
    }
    plan();
  };
  const plan = (): void => {
    timer = setTimeout(() => void look(), everyMs).unref();
  };
  plan();
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      stop.abort();
    },
  };
}

/** Its subject, without the advice. */
const startOf = (notice: string): string => notice.split(': ', 1).join();

function read(text: string): z.infer<typeof Readiness> {
  try {
    return Readiness.parse(JSON.parse(text));
  } catch {
    return { needsPerson: false, notices: [] }; // not ours, or cut off
  }
}
