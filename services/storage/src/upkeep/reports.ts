/** Reports of the last rounds of scrub and sweep, in a file that survives a restart. */
import { open, readFile, rename } from 'node:fs/promises';
import type { Log } from '@shoal/chassis';
import { ScrubReport, SweepReport } from '@shoal/protocol';
import * as z from 'zod';

const Saved = z.object({
  round: ScrubReport.optional(),
  lastWhole: ScrubReport.optional(),
  lastSweep: SweepReport.optional(),
});
type Saved = z.infer<typeof Saved>;

export interface Reports extends AsyncDisposable {
  readonly saved: Readonly<Saved>;
  /** Known at once, written soon. A full disk costs the file, not the report. */
  save(changes: Readonly<Saved>): void;
}

export async function openReports(file: string, log: Log): Promise<Reports> {
  let saved: Saved = await readSaved(file, log);
  let isChanged = false;
  let writing: Promise<void> | undefined;

  const write = async (): Promise<void> => {
    while (isChanged) {
      isChanged = false;
      try {
        await writeWhole(file, JSON.stringify(saved));
      } catch (err) {
        log.warn({ err }, 'reports not written');
      }
    }
    writing = undefined;
  };
  return {
    get saved() {
      return saved;
    },
    save(changes) {
      saved = { ...saved, ...changes };
      isChanged = true;
      writing ??= write();
    },
    async [Symbol.asyncDispose]() {
      await writing;
    },
  };
}

async function readSaved(file: string, log: Log): Promise<Saved> {
  try {
    return Saved.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') log.warn({ err }, 'reports not read');
    return {};
  }
}

/** Under another name first: a crash leaves the old file or the new one, never half of it. */
async function writeWhole(file: string, text: string): Promise<void> {
  const draft = `${file}.draft`;
  const handle = await open(draft, 'w');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
