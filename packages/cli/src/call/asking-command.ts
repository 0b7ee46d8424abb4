/** Commands that ask a peer: the options that all of them have, the connection, and Ctrl-C. */
import { type Command, type CommandDefinition, defineCommand, type Given } from '../command.ts';
import type { Options } from '../options.ts';
import { endAnyway, watchStop } from '../terminal/watch-stop.ts';
import { Client } from './client.ts';
import { readPeerUrl } from './peer-url.ts';
import { readToken } from './write-token.ts';

const COMMON = { peer: { type: 'string' }, json: { type: 'boolean', default: false } } as const;
/**
 * Time to clean up after a stop. Past it: the command ends at once. Somewhere below it waits for the system, such as for
 * a network disk that is gone.
 */
const STUCK_MS = 5000;
const FOR_WRITES = { 'token-file': { type: 'string' } } as const;

export interface Asking<O extends Options> extends Given<O & typeof COMMON> {
  readonly client: Client;
  /** Fires at Ctrl-C. */
  readonly stop: { readonly signal: AbortSignal };
  /** Writes the result to stdout: the peer's answer with --json, else the text. */
  readonly print: (reply: unknown, text: string) => void;
  /** The same for a command without a result: the line is a note, for a person who watches. */
  readonly note: (reply: unknown, line: string) => void;
}

/** Defines a command that asks a peer. One that `writes` takes --token-file too. */
export function askingCommand<const O extends Options>({
  options,
  writes = false,
  run,
  ...rest
}: CommandDefinition<O, Asking<O>> & { readonly writes?: boolean }): Command {
  const all = { ...options, ...COMMON, ...(writes ? FOR_WRITES : {}) };
  return defineCommand<O & typeof COMMON & Partial<typeof FOR_WRITES>>({
    ...rest,
    options: all,
    async run({ values, words, context }) {
      // TypeScript can't look into the values of options that are still a parameter.
      const common = values as { peer?: string; json: boolean; 'token-file'?: string };
      const token = writes ? readToken(common['token-file'], context) : undefined;
      await using client = new Client(readPeerUrl(common.peer, context), token, context.program);
      using stop = watchStop(endAnyway);
      // Only while the command runs: its process may be another's, and go on.
      using stuck = new DisposableStack();
      stop.signal.addEventListener('abort', () => {
        if (stuck.disposed) return;
        const timer = setTimeout(endAnyway, STUCK_MS).unref();
        stuck.defer(() => clearTimeout(timer));
      });
      const printJson = (reply: unknown) => context.out(`${JSON.stringify(reply)}\n`);
      return await run({
        values,
        words,
        context,
        client,
        stop,
        print: (reply, text) => (common.json ? printJson(reply) : context.out(text)),
        note(reply, line) {
          if (common.json) printJson(reply);
          else if (context.isWatched) context.err(`${line}\n`);
        },
      });
    },
  });
}
