/** Files that a crash left behind: their bytes were written, but no record came to know them. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Log } from '@shoal/chassis';
import type { BlockFiles } from '../disk/block-files.ts';
import type { BlockTable } from '../index/block-table.ts';

/** Folders of `BlockFiles`. */
const FOLDERS = 256;

/** Removes such files folder by folder, between commits, while the store serves. */
export function startStraySweep(deps: {
  readonly queue: { alone<T>(task: () => Promise<T>): Promise<T> };
  readonly files: BlockFiles;
  readonly table: BlockTable;
  readonly log: Log;
}): AsyncDisposable {
  const { queue, files, table, log } = deps;
  let isStopped = false;
  const clean = async (): Promise<void> => {
    let strays = 0;
    for (let folder = 0; folder < FOLDERS && !isStopped; folder += 1) {
      await queue.alone(async () => {
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
