/**
 * The form of a peer's data folder, as a number in its file `form`: a program that is older than the folder says so and
 * touches nothing, instead of reading half of it. docs/protocol.md has the list, and the rule for the next one.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from './config.ts';
import { replaceFile } from './durable-files.ts';

/** Several versions of a pin, where the swarm has a roster. Folders of form 1 have no file that says so; all are read as they are. */
export const DATA_FORM = 3;
const FILE = 'form';
const FULL_CODES = new Set(['ENOSPC', 'EDQUOT']);
const TEXT = /^([1-9]\d{0,8})\n?$/;

/**
 * Makes sure that this program understands a data folder, which is made if need be, and marks it as one of this form.
 * @throws ConfigError when a newer program has been there, or the mark can't be read.
 */
export function openDataFolder(dir: string): void {
  const form = readForm(dir);
  if (form > DATA_FORM)
    throw new ConfigError(
      `${dir} was last used by a newer Shoal (data of form ${form}; this one knows forms 1 to ${DATA_FORM}); start it with that version, or give this peer another folder`,
    );
  if (form < DATA_FORM) writeForm(dir);
}

function readForm(dir: string): number {
  const file = join(dir, FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return 1;
    throw new ConfigError(`${file} can't be read: ${String((cause as Error).message)}`, { cause });
  }
  const form = TEXT.exec(text)?.[1];
  if (form === undefined)
    throw new ConfigError(
      `${file} does not say which form this data folder has: a number belongs there, ${DATA_FORM} for this version`,
    );
  return Number(form);
}

function writeForm(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    replaceFile(join(dir, FILE), `${DATA_FORM}\n`);
  } catch (error) {
    // A peer whose disk is full still serves what it has; the next start marks it.
    if (!FULL_CODES.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
