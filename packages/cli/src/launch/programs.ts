import { env } from 'node:process';
import { fileURLToPath } from 'node:url';

/** The build starts builds. Sources start sources, so that nobody runs what they have changed since. */
const isBuilt = !import.meta.url.endsWith('.ts') || env['SHOAL_PROGRAMS'] === 'built';

/** From a build, `dist/main.mjs` of any package; from the sources, this file in its room. */
const ROOT = import.meta.url.endsWith('.ts') ? '../../../../' : '../../../';

/** Path of the program of a package, such as `services/storage`. */
export function programOf(folder: string): string {
  const program = isBuilt ? 'dist/main.mjs' : 'src/main.ts';
  return fileURLToPath(new URL(`${ROOT}${folder}/${program}`, import.meta.url));
}

/** Path of the command line's program, for those who start it as a process. */
export const CLI_MAIN = programOf('packages/cli');
