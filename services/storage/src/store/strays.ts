/** Files that a crash left behind: their bytes were written, but no record names them. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FOLDERS } from '../disk/block-files.ts';
import type { OperationParts } from './state/store-parts.ts';

/** Removes such files folder by folder, between commits, while the store serves. */
export function startStraySweep({
  alone,
  files,
  table,
  log,
}: Pick<OperationParts, 'alone' | 'files' | 'table' | 'log'>): AsyncDisposable {
  let isStopped = false;
  const clean = async (): Promise<void> => {
    let strays = 0;
    for (let folder = 0; folder < FOLDERS && !isStopped; folder += 1) {
      await alone(async () => {
        for (const digest of await files.list(folder)) {
          if (table.held(digest)?.place === 'file') continue;
          await files.remove(digest);
          strays += 1;
        }
      });
      await nextTurn();
    }
    if (strays > 0) log.info({ blocks: strays }, 'unacknowledged blocks of a crash removed');
  };
  const done = clean().catch((err: unknown) => log.warn({ err }, 'stray blocks not removed'));
  return {
    async [Symbol.asyncDispose]() {
      isStopped = true;
      await done;
    },
  };
}
