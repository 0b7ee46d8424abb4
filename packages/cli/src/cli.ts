/** Finds the command, runs it, and turns what went wrong into a sentence and an exit code. */
import PACKAGE from '../package.json' with { type: 'json' };
import type { Command } from './command.ts';
import type { Context } from './context.ts';
import { CommandFailure, EXIT_FAILURE, EXIT_USAGE, UsageError } from './failure.ts';
import { asExplained, PROGRAM } from './terminal/program-name.ts';
import { StopRequested } from './terminal/watch-stop.ts';

interface Entry {
  readonly summary: string;
  /** Loaded on demand: `shoal ls` needn't wait for what only `shoal swarm` uses. */
  readonly load: () => Promise<Command>;
}

const COMMANDS: Readonly<Record<string, Entry>> = {
  peer: {
    summary: 'run one peer',
    load: async () => (await import('./commands/peers/peer.ts')).peer,
  },
  swarm: {
    summary: 'run a whole swarm on this machine',
    load: async () => (await import('./commands/peers/swarm.ts')).swarm,
  },
  token: {
    summary: 'print a token, or make, check and revoke one with fewer rights',
    load: async () => (await import('./commands/members/token.ts')).token,
  },
  key: {
    summary: 'replace the swarm key, without a stop',
    load: async () => (await import('./commands/peers/key.ts')).key,
  },
  add: {
    summary: 'upload files and folders',
    load: async () => (await import('./commands/files/add.ts')).add,
  },
  import: {
    summary: 'take in a CAR, and keep its roots',
    load: async () => (await import('./commands/files/import.ts')).importCar,
  },
  pin: {
    summary: 'keep what a CID names, also from gateways',
    load: async () => (await import('./commands/files/pin.ts')).pin,
  },
  get: {
    summary: 'download a file or a directory by its hash',
    load: async () => (await import('./commands/files/get.ts')).get,
  },
  ls: {
    summary: 'list the files of the swarm',
    load: async () => (await import('./commands/files/ls.ts')).ls,
  },
  stat: {
    summary: 'tell how safe a file is',
    load: async () => (await import('./commands/files/stat.ts')).stat,
  },
  set: {
    summary: 'change the name, the copies or the end of a file',
    load: async () => (await import('./commands/files/set.ts')).set,
  },
  rm: {
    summary: 'delete files from the whole swarm',
    load: async () => (await import('./commands/files/rm.ts')).rm,
  },
  undelete: {
    summary: 'bring deleted files back',
    load: async () => (await import('./commands/files/undelete.ts')).undelete,
  },
  peers: {
    summary: 'list the members of the swarm',
    load: async () => (await import('./commands/peers/peers.ts')).peers,
  },
  members: {
    summary: 'list who belongs to the swarm',
    load: async () => (await import('./commands/members/members.ts')).members,
  },
  invite: {
    summary: 'print a line with which another machine joins',
    load: async () => (await import('./commands/members/invite.ts')).invite,
  },
  join: {
    summary: 'join a swarm with such a line, and run a peer',
    load: async () => (await import('./commands/members/join.ts')).join,
  },
  remove: {
    summary: 'shut a member out for good',
    load: async () => (await import('./commands/members/remove.ts')).remove,
  },
  rename: {
    summary: 'give a member a name',
    load: async () => (await import('./commands/members/rename.ts')).rename,
  },
  owner: {
    summary: 'let others add and remove members',
    load: async () => (await import('./commands/members/owner.ts')).owner,
  },
  own: {
    summary: 'give a swarm an owner, and close it to who has its key alone',
    load: async () => (await import('./commands/members/own.ts')).own,
  },
  drain: {
    summary: 'hand over what a peer holds, so that it may go',
    load: async () => (await import('./commands/peers/drain.ts')).drain,
  },
  upkeep: {
    summary: 'tell how a peer looks after its blocks',
    load: async () => (await import('./commands/peers/upkeep.ts')).upkeep,
  },
  log: {
    summary: 'list who came, went, was refused or deleted files at a peer',
    load: async () => (await import('./commands/peers/log.ts')).log,
  },
  scrub: {
    summary: 're-hash every block of a peer now',
    load: async () => (await import('./commands/peers/scrub.ts')).scrub,
  },
  sweep: {
    summary: 'free what no file reaches at a peer now',
    load: async () => (await import('./commands/peers/sweep.ts')).sweep,
  },
};

const HELP_WORDS = ['help', '--help', '-h'];
const VERSION_WORDS = ['version', '--version', '-V'];

/** Runs one command line; answers the exit code. */
export async function runCli(argv: readonly string[], context: Context): Promise<number> {
  const [name, ...args] = argv;
  const typed = (text: string) => asExplained(text, context.program ?? PROGRAM);
  const sayVersion = () => {
    context.out(`shoal ${PACKAGE.version}\n`);
    return 0;
  };
  if (name === undefined) {
    context.err(typed(overview()));
    return EXIT_USAGE;
  }
  if (VERSION_WORDS.includes(name)) return sayVersion();
  const isHelp = HELP_WORDS.includes(name);
  const [wanted] = isHelp ? args : [name];
  if (wanted === undefined || (isHelp && HELP_WORDS.includes(wanted))) {
    context.out(typed(overview()));
    return 0;
  }
  const entry = Object.hasOwn(COMMANDS, wanted) ? COMMANDS[wanted] : undefined;
  if (entry === undefined) {
    const what = wanted.startsWith('-') ? 'option' : 'command';
    context.err(`shoal: there is no ${what} "${wanted}"\n\n${typed(overview())}`);
    return EXIT_USAGE;
  }
  if (isHelp) {
    context.out(`${typed((await entry.load()).usage)}\n`);
    return 0;
  }
  const { run, usage } = await entry.load();
  // All after "--" are names, even those that look like options.
  const options = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (options.includes('--help') || options.includes('-h')) {
    context.out(`${typed(usage)}\n`);
    return 0;
  }
  if (options.includes('--version') || options.includes('-V')) return sayVersion();
  try {
    return await run(args, context);
  } catch (error) {
    if (error instanceof UsageError) {
      context.err(`shoal ${name}: ${error.message}\n\n${typed(usage)}\n`);
      return EXIT_USAGE;
    }
    if (error instanceof StopRequested) {
      context.err(`shoal ${name}: stopped\n`);
      return EXIT_FAILURE;
    }
    if (!(await isForPerson(error))) throw error;
    context.err(`shoal: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  }
}

/** Whether the person at the terminal can put it right. */
async function isForPerson(error: unknown): Promise<boolean> {
  if (error instanceof CommandFailure || isSystemError(error)) return true;
  // Most commands have no reason to load what reads the settings of a peer.
  const { ConfigError } = await import('@shoal/chassis/config');
  return error instanceof ConfigError;
}

/** A file or an address that can't be used as asked; the message says what could not be done, with which. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

function overview(): string {
  const lines = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`,
  );
  return `Shoal, a peer-to-peer file store

usage: shoal <command> [options]

${lines.join('\n')}

"shoal help <command>" tells more, "shoal --version" which one this is.
`;
}
