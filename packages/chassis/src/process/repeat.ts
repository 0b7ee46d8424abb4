/** Runs a task at a pace, never twice at once; a failure is reported and doesn't end it. */
export function repeat(
  task: () => void | Promise<void>,
  delayMs: () => number,
  onFailure: (error: unknown) => void,
): Disposable {
  let isOver = false;
  let timer: NodeJS.Timeout;
  const schedule = (): void => {
    if (!isOver) timer = setTimeout(run, delayMs());
  };
  const run = (): void => {
    // Promise.try turns a synchronous throw into a rejection too.
    void Promise.try(task).catch(onFailure).finally(schedule);
  };
  schedule();
  return {
    [Symbol.dispose]() {
      isOver = true;
      clearTimeout(timer);
    },
  };
}
