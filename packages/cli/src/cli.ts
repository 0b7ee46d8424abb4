/** Finds the command, runs it, and turns what went wrong into a sentence and an exit code. */
import PACKAGE from '../package.json' with { type: 'json' };
import { type Command, type Context } from './context.ts';
import { CommandFailure, EXIT_FAILURE, EXIT_USAGE, UsageError } from './failure.ts';
import { StopRequested } from './terminal/watch-stop.ts';

interface Entry {
  readonly summary: string;
  /** Loaded on demand: `shoal ls` needn't wait for what only `shoal swarm` uses. */
  readonly load: () => Promise<{ readonly run: Command; readonly usage: string }>;
}

const COMMANDS: Readonly<Record<string, Entry>> = {
  peer: {
    summary: 'run one peer',
    load: async () => {
      const { peer, USAGE } = await import('./commands/peers/peer.ts');
      return { run: peer, usage: USAGE };
    },
  },
  swarm: {
    summary: 'run a whole swarm on this machine',
    load: async () => {
      const { swarm, USAGE } = await import('./commands/peers/swarm.ts');
      return { run: swarm, usage: USAGE };
    },
  },
  token: {
    summary: 'print the token that writes need on a network',
    load: async () => {
      const { token, USAGE } = await import('./commands/peers/token.ts');
      return { run: token, usage: USAGE };
    },
  },
  add: {
    summary: 'upload files and folders',
    load: async () => {
      const { add, USAGE } = await import('./commands/files/add.ts');
      return { run: add, usage: USAGE };
    },
  },
  import: {
    summary: 'take in a CAR, and keep its roots',
    load: async () => {
      const { importCar, USAGE } = await import('./commands/files/import.ts');
      return { run: importCar, usage: USAGE };
    },
  },
  pin: {
    summary: 'keep what a CID names, also from gateways',
    load: async () => {
      const { pin, USAGE } = await import('./commands/files/pin.ts');
      return { run: pin, usage: USAGE };
    },
  },
  get: {
    summary: 'download a file or a directory by its hash',
    load: async () => {
      const { get, USAGE } = await import('./commands/files/get.ts');
      return { run: get, usage: USAGE };
    },
  },
  ls: {
    summary: 'list the files of the swarm',
    load: async () => {
      const { ls, USAGE } = await import('./commands/files/ls.ts');
      return { run: ls, usage: USAGE };
    },
  },
  stat: {
    summary: 'tell how safe a file is',
    load: async () => {
      const { stat, USAGE } = await import('./commands/files/stat.ts');
      return { run: stat, usage: USAGE };
    },
  },
  set: {
    summary: 'change the name, the copies or the end of a file',
    load: async () => {
      const { set, USAGE } = await import('./commands/files/set.ts');
      return { run: set, usage: USAGE };
    },
  },
  rm: {
    summary: 'delete files from the whole swarm',
    load: async () => {
      const { rm, USAGE } = await import('./commands/files/rm.ts');
      return { run: rm, usage: USAGE };
    },
  },
  undelete: {
    summary: 'bring deleted files back',
    load: async () => {
      const { undelete, USAGE } = await import('./commands/files/undelete.ts');
      return { run: undelete, usage: USAGE };
    },
  },
  peers: {
    summary: 'list the members of the swarm',
    load: async () => {
      const { peers, USAGE } = await import('./commands/peers/peers.ts');
      return { run: peers, usage: USAGE };
    },
  },
  drain: {
    summary: 'hand over what a peer holds, so that it may go',
    load: async () => {
      const { drain, USAGE } = await import('./commands/peers/drain.ts');
      return { run: drain, usage: USAGE };
    },
  },
  upkeep: {
    summary: 'tell how a peer looks after its blocks',
    load: async () => {
      const { upkeep, USAGE } = await import('./commands/peers/upkeep.ts');
      return { run: upkeep, usage: USAGE };
    },
  },
  scrub: {
    summary: 're-hash every block of a peer now',
    load: async () => {
      const { scrub, USAGE } = await import('./commands/peers/scrub.ts');
      return { run: scrub, usage: USAGE };
    },
  },
  sweep: {
    summary: 'free what no file reaches at a peer now',
    load: async () => {
      const { sweep, USAGE } = await import('./commands/peers/sweep.ts');
      return { run: sweep, usage: USAGE };
    },
  },
};

const HELP_WORDS = ['help', '--help', '-h'];
const VERSION_WORDS = ['version', '--version', '-V'];

/** Runs one command line; answers the exit code. */
export async function runCli(argv: readonly string[], context: Context): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined) {
    context.err(overview());
    return EXIT_USAGE;
  }
  if (VERSION_WORDS.includes(name)) {
    context.out(`shoal ${PACKAGE.version}\n`);
    return 0;
  }
  const isHelp = HELP_WORDS.includes(name);
  const [wanted] = isHelp ? args : [name];
  if (wanted === undefined || (isHelp && HELP_WORDS.includes(wanted))) {
    context.out(overview());
    return 0;
  }
  const entry = Object.hasOwn(COMMANDS, wanted) ? COMMANDS[wanted] : undefined;
  if (entry === undefined) {
    context.err(`shoal: there is no command "${wanted}"\n\n${overview()}`);
    return EXIT_USAGE;
  }
  if (isHelp) {
    context.out(`${(await entry.load()).usage}\n`);
    return 0;
  }
  const { run, usage } = await entry.load();
  // Behind "--" are names, whatever they look like.
  const options = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (options.includes('--help') || options.includes('-h')) {
    context.out(`${usage}\n`);
    return 0;
  }
  try {
    return await run(args, context);
  } catch (error) {
    if (error instanceof UsageError) {
      context.err(`shoal ${name}: ${error.message}\n\n${usage}\n`);
      return EXIT_USAGE;
    }
    if (error instanceof StopRequested) {
      context.err(`shoal ${name}: stopped\n`);
      return EXIT_FAILURE;
    }
    // ConfigError comes from chassis, which most commands have no reason to load.
    if (error instanceof CommandFailure || (error as Error).constructor.name === 'ConfigError') {
      context.err(`shoal: ${(error as Error).message}\n`);
      return EXIT_FAILURE;
    }
    if (isSystemError(error)) {
      context.err(`shoal: ${error.message}\n`); // says what could not be done, with which file
      return EXIT_FAILURE;
    }
    throw error;
  }
}

/** A file or an address that can't be used as asked: the person's to mend, not a fault of the program. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
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
