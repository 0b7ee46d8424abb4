/** Commands that ask a peer: the options that all of them have, the connection, and Ctrl-C. */
import { type Command, type CommandDefinition, defineCommand, type Given } from '../command.ts';
import type { Options } from '../options.ts';
import { endAnyway, watchStop } from '../terminal/watch-stop.ts';
import { Client } from './client.ts';
import { readPeerUrl } from './peer-url.ts';
import { readToken, type TokenOptions } from './write-token.ts';

const COMMON = {
  peer: { type: 'string' },
  json: { type: 'boolean', default: false },
  token: { type: 'string' },
  'token-file': { type: 'string' },
} as const;
/**
 * Time to clean up after a stop. Past it: the command ends at once. Somewhere below it waits for the system, such as for
 * a network disk that is gone.
 */
const STUCK_MS = 5000;

export interface Asking<O extends Options> extends Given<O & typeof COMMON> {
  readonly client: Client;
  /** Fires at Ctrl-C. */
  readonly stop: { readonly signal: AbortSignal };
  /** Writes the result to stdout: the peer's answer with --json, else the text. */
  readonly print: (reply: unknown, text: string) => void;
  /** The same for a command without a result: the line is a note, for a person who watches. */
  readonly note: (reply: unknown, line: string) => void;
}

/** Defines a command that asks a peer. Without a token of its own it uses the key of an owner, where the peer wants one. */
export function askingCommand<const O extends Options>({
  options,
  run,
  ...rest
}: CommandDefinition<O, Asking<O>>): Command {
  const all = { ...options, ...COMMON };
  return defineCommand<O & typeof COMMON>({
    ...rest,
    options: all,
    async run({ values, words, context }) {
      // TypeScript can't look into the values of options that are still a parameter.
      const common = values as TokenOptions & { peer?: string; json: boolean };
      const peerUrl = readPeerUrl(common.peer, context);
      using stop = watchStop(endAnyway);
      // Only while the command runs: its process may be another's, and go on.
      using stuck = new DisposableStack();
      stop.signal.addEventListener('abort', () => {
        if (stuck.disposed) return;
        const timer = setTimeout(endAnyway, STUCK_MS).unref();
        stuck.defer(() => clearTimeout(timer));
      });
      const given = readToken(common, context);
      const token = given ?? (await context.ownerToken?.(peerUrl, { signal: stop.signal }));
      await using client = new Client(peerUrl, token, context.program);
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
