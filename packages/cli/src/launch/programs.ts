import { env } from 'node:process';
import { fileURLToPath } from 'node:url';

const isSource = import.meta.url.endsWith('.ts');
/** The build starts builds. Sources start sources, so that nobody runs what they have changed since. */
export const isBuilt = !isSource || env['SHOAL_PROGRAMS'] === 'built';
/** This file is in `src/launch`; a build that has it inside is in `dist` of its package. */
const ROOT = isSource ? '../../../..' : '../../..';

/**
 * Path of the program of a package, such as `services/storage`. Holds from this source and from `dist` of
 * any package.
 */
export function programOf(folder: string): string {
  const program = isBuilt ? 'dist/main.cjs' : 'src/main.ts';
  return fileURLToPath(new URL(`${ROOT}/${folder}/${program}`, import.meta.url));
}

/** Path of the command line's program, for those who start it as a process. */
export const CLI_MAIN = programOf('packages/cli');
