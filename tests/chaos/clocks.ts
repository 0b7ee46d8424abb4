/** Peers whose clocks can be set wrong while they run. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTemporaryFolder, startSwarm } from '@shoal/testkit';
import type { Stage } from './stage.ts';

export interface ClockStage extends Stage {
  /** From now on this peer's wall clock is off by this much. */
  setClock(index: number, shiftMs: number): void;
}

export async function openClockStage(
  count: number,
  env: Readonly<Record<string, string>>,
): Promise<ClockStage> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await openTemporaryFolder());
  const fileOf = (index: number) => join(folder.path, `clock-${index}`);
  const setClock = (index: number, shiftMs: number): void => {
    writeFileSync(`${fileOf(index)}.new`, String(shiftMs));
    renameSync(`${fileOf(index)}.new`, fileOf(index)); // never half a number
  };
  for (let index = 0; index < count; index += 1) setClock(index, 0);
  const { peers } = opening.use(
    await startSwarm(count, {
      env: { ...env, NODE_OPTIONS: `--import=${import.meta.resolve('./shift-clock.ts')}` },
      optionsOf: (index) => ({ env: { CHAOS_CLOCK_FILE: fileOf(index) } }),
    }),
  );
  const open = opening.move();
  return { peers, setClock, [Symbol.asyncDispose]: () => open.disposeAsync() };
}
