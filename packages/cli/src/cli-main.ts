import { fileURLToPath } from 'node:url';

/** Path of the command line's program, for those who start it as a process. */
export const CLI_MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
