import { env } from 'node:process';
import { fileURLToPath } from 'node:url';

/** The build starts builds. Sources start sources, so that nobody runs what they have changed since. */
const isBuilt = !import.meta.url.endsWith('.ts') || env['SHOAL_PROGRAMS'] === 'built';

/**
 * Path of the program of a package, such as `services/storage`. Holds from `src` and from `dist` of any
 * package.
 */
export function programOf(folder: string): string {
  const program = isBuilt ? 'dist/main.mjs' : 'src/main.ts';
  return fileURLToPath(new URL(`../../../${folder}/${program}`, import.meta.url));
}

/** Path of the command line's program, for those who start it as a process. */
export const CLI_MAIN = programOf('packages/cli');
