/** How the command line is called where it runs, so that the lines which it prints can be typed as they are. */
import { accessSync, constants, readFileSync, realpathSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { shellWord } from './shell-word.ts';

/** Its name where it is installed, and in all that is written about it. */
export const PROGRAM = 'shoal';
/** Names of the project whose script it is, and of a command of ours behind its name. */
const IN_USAGE = /(^|["(]|usage: )shoal (?=[a-z<-])/gm;

const BY_NPM = 'npm run -s shoal --';
const BY_PNPM = 'pnpm shoal';

/** The words that call it again: `shoal`, the script of this project, or node and its path. */
export function programName({
  env,
  node,
  script,
  cwd,
}: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly node: string;
  readonly script: string;
  readonly cwd: string;
}): string {
  // Folders of the project are in the PATH of its scripts alone, so that one says nothing of the person's own.
  const isOwnScript =
    env['npm_lifecycle_event'] !== undefined && env['npm_package_name'] === PROGRAM;
  if (isOwnScript)
    return env['npm_config_user_agent']?.startsWith('pnpm/') === true ? BY_PNPM : BY_NPM;
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  if (basename(script) === PROGRAM || folders.some((folder) => isProgram(join(folder, PROGRAM))))
    return PROGRAM;
  const has = (name: string) => folders.some((folder) => isProgram(join(folder, name)));
  const project = projectOf(script);
  if (project !== undefined && project === nearestPackage(cwd)) {
    if (has('pnpm')) return BY_PNPM;
    if (has('npm')) return BY_NPM;
  }
  const first = folders.map((folder) => join(folder, 'node')).find((path) => isProgram(path));
  const isSame = first !== undefined && realpathSync(first) === node;
  return `${isSame ? 'node' : shellWord(node)} ${shellWord(script)}`;
}

/** A text about the command line, with the lines in it as they are typed here. */
export const asTyped = (usage: string, program: string): string =>
  usage.replace(IN_USAGE, (_, before: string) => `${before}${program} `);

/** The same of a text that explains, in which two paths before each option would only be in the way. */
export const asExplained = (usage: string, program: string): string =>
  program.includes('/') ? usage : asTyped(usage, program);

/** The folder of this project that a script is in. */
function projectOf(script: string): string | undefined {
  for (let at = nearestPackage(dirname(script)); at !== undefined;) {
    if (nameOf(at) === PROGRAM) return at;
    at = dirname(at) === at ? undefined : nearestPackage(dirname(at));
  }
  return undefined;
}

/** The folder whose scripts npm would run there. */
function nearestPackage(folder: string): string | undefined {
  if (nameOf(folder) !== undefined) return folder;
  return dirname(folder) === folder ? undefined : nearestPackage(dirname(folder));
}

function nameOf(folder: string): string | undefined {
  try {
    const about: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return String((about as { name?: unknown } | null)?.name); // of whatever it is
  } catch {
    return undefined;
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
