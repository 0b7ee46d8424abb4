#!/usr/bin/env node
/** Entry of the command line: the only file here that reads the process's own state. */
import type { Context } from './context.ts';
import { printable, printableAfterErase } from './terminal/printable.ts';
import { programName } from './terminal/program-name.ts';

const NODE_MAJOR_MIN = 24;

const major = Number(process.versions.node.split('.')[0]);
if (major < NODE_MAJOR_MIN) {
  process.stderr.write(
    `shoal needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}; "npm run setup" brings one along on Linux, then use "npm run -s shoal --"\n`,
  );
  process.exit(1);
}

// A reader that has enough (`| head`) ends us quietly, as it ends every other program; not a peer, whose
// files others count on.
let endsWithReaders = true;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (endsWithReaders) process.exit(error.code === 'EPIPE' ? 0 : 1);
});
// Output beside the result that can't be written is lost, and nothing else.
process.stderr.on('error', () => {});
const context: Context = {
  env: process.env,
  cwd: process.env['INIT_CWD'] ?? process.cwd(),
  program: programName({
    env: process.env,
    node: process.execPath,
    script: process.argv[1] ?? '',
    cwd: process.env['INIT_CWD'] ?? process.cwd(),
  }),
  out: (text) => void process.stdout.write(printable(text)),
  err: (text) => void process.stderr.write(printableAfterErase(text)),
  isWatched: process.stderr.isTTY,
  columns: () => process.stderr.columns,
  resultColumns: () => (process.stdout.isTTY ? process.stdout.columns : undefined),
  ownerToken: async (peerUrl, stop) => {
    const { makeOwnerToken } = await import('./call/owner-token.ts');
    return makeOwnerToken(peerUrl, context, stop);
  },
  outliveReaders: () => {
    endsWithReaders = false;
  },
};
// A build can't wait here, and an older Node must get as far as the check above.
void import('./cli.ts').then(async ({ runCli }) => {
  process.exitCode = await runCli(process.argv.slice(2), context);
});
