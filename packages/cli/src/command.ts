/** Commands as data: how each is written, which options it takes, what it does. */
import type { Context } from './context.ts';
import { type Options, readOptions, refusePositionals, type Values } from './options.ts';

/** A command, as `cli.ts` runs it. */
export interface Command {
  /** Printed by `--help`. */
  readonly usage: string;
  /** Takes the words after the command's name, answers an exit code. */
  readonly run: (args: readonly string[], context: Context) => Promise<number>;
}

/** The arguments of a command. */
export interface Given<O extends Options> {
  readonly values: Values<O>;
  /** The words that are no option; empty for a command that takes none. */
  readonly words: readonly string[];
  readonly context: Context;
}

export interface CommandDefinition<O extends Options, G> {
  readonly usage: string;
  readonly options: O;
  readonly takesWords?: boolean;
  readonly run: (given: G) => Promise<number>;
}

/** A command that reads its options before it runs. Its `run` throws UsageError for those that don't fit. */
export function defineCommand<const O extends Options>({
  usage,
  options,
  takesWords = false,
  run,
}: CommandDefinition<O, Given<O>>): Command {
  return {
    usage,
    async run(args, context) {
      const { values, positionals: words } = readOptions(args, options);
      if (!takesWords) refusePositionals(words);
      return run({ values, words, context });
    },
  };
}
