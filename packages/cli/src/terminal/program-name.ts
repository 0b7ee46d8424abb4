/** How the command line is called where it runs, so that the lines which it prints can be typed as they are. */
import { accessSync, constants } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { shellWord } from './shell-word.ts';

/** Its name where it is installed, and in all that is written about it. */
export const PROGRAM = 'shoal';
/** Names of the project whose script it is, and of a command of ours behind its name. */
const IN_USAGE = /(^|["(]|usage: )shoal (?=[a-z<-])/gm;

/** The words that call it again: `shoal`, the script of this project, or node and its path. */
export function programName({
  env,
  node,
  script,
}: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly node: string;
  readonly script: string;
}): string {
  // Folders of the project are in the PATH of its scripts alone, so that one says nothing of the person's own.
  const isOwnScript =
    env['npm_lifecycle_event'] !== undefined && env['npm_package_name'] === PROGRAM;
  if (isOwnScript) return 'npm run -s shoal --';
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  if (basename(script) === PROGRAM || folders.some((folder) => isProgram(join(folder, PROGRAM))))
    return PROGRAM;
  return `${shellWord(node)} ${shellWord(script)}`;
}

/** A text about the command line, with the lines in it as they are typed here. */
export const asTyped = (usage: string, program: string): string =>
  usage.replace(IN_USAGE, (_, before: string) => `${before}${program} `);

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
