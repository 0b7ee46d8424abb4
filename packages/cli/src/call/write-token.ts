import { readFileSync } from 'node:fs';
import type { Context } from '../context.ts';
import { UsageError } from '../failure.ts';
import { readPath } from '../options.ts';

/** The line of `--help` that every command which writes has. */
export const TOKEN_USAGE =
  "  --token-file F     file with the peer's write token (default: SHOAL_TOKEN, when it has one)";

/**
 * The write token of the peer that is asked: `--token-file`, then SHOAL_TOKEN.
 * @throws UsageError when the file can't be read, or its content can't go into a header.
 */
export function readToken(option: string | undefined, context: Context): string | undefined {
  const text = option === undefined ? context.env['SHOAL_TOKEN'] : readFile(option, context);
  if (text === undefined || (text === '' && option === undefined)) return undefined;
  if (/^[!-~]+$/.test(text)) return text;
  const source = option === undefined ? 'SHOAL_TOKEN' : option;
  throw new UsageError(`${source} must hold a token: printable characters without spaces`);
}

function readFile(path: string, context: Context): string {
  try {
    return readFileSync(readPath(path, context), 'utf8').trim();
  } catch (cause) {
    throw new UsageError(`--token-file: ${(cause as Error).message}`, { cause });
  }
}
