/** Ctrl-C, SIGTERM and a closed terminal, as an abort signal; a second one is in a hurry. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * A terminal sends Ctrl-C to every process of the group, and some of them (npm) pass it on: signals
 * that come closer together than this are one.
 */
const HURRY_AFTER_MS = 500;

const PARENT_CHECK_MS = 1000;

/**
 * Listens until disposed. `onHurry` is called at the second signal. With `followsParent` the end of
 * the process that started this one is a signal too: npm and its shell die without passing one on.
 */
export function watchStop(
  onHurry: () => void,
  { followsParent = false }: { readonly followsParent?: boolean } = {},
): { readonly signal: AbortSignal } & Disposable {
  const stop = new AbortController();
  let askedAtMs: number | undefined;
  const onSignal = (name: string): void => {
    askedAtMs ??= performance.now();
    if (!stop.signal.aborted) stop.abort(new StopRequested(name));
    else if (performance.now() - askedAtMs > HURRY_AFTER_MS) onHurry();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  const parentId = process.ppid;
  const checkParent = (): void => {
    if (process.ppid !== parentId && !stop.signal.aborted)
      stop.abort(new StopRequested('parent gone'));
  };
  const parentCheck = followsParent ? setInterval(checkParent, PARENT_CHECK_MS).unref() : undefined;
  return {
    signal: stop.signal,
    [Symbol.dispose]() {
      clearInterval(parentCheck);
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}

/** Ends this process whatever it waits for: `process.exit` waits for threads that read and write files. */
export function endAnyway(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** A stop was requested: not a failure. */
export class StopRequested extends Error {}

/** Resolves when the signal fires. */
export async function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  // Signal handlers alone don't keep a process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  clearInterval(alive);
}
