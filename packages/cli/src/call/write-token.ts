/** The token that a person gives to a command. */
import { readFileSync } from 'node:fs';
import type { Context } from '../context.ts';
import { UsageError } from '../failure.ts';
import { readPath } from '../options.ts';

/** The lines of `--help` that every command which asks a peer has. */
export const TOKEN_USAGE = `  --token T          token that the peer wants (default: SHOAL_TOKEN; an owner needs none)
  --token-file F     file that holds it, instead`;

export interface TokenOptions {
  readonly token?: string;
  readonly 'token-file'?: string;
}

/**
 * The token for the peer that is asked: `--token`, `--token-file`, then SHOAL_TOKEN.
 * @throws UsageError when the file can't be read, or what is given can't go into a header.
 */
export function readToken(
  { token: given, 'token-file': file }: TokenOptions,
  context: Context,
): string | undefined {
  if (given !== undefined && file !== undefined)
    throw new UsageError('give --token or --token-file, not both');
  const [source, text] =
    given !== undefined
      ? ['--token', given]
      : file !== undefined
        ? [file, readFile(file, context)]
        : ['SHOAL_TOKEN', context.env['SHOAL_TOKEN'] || undefined];
  if (text === undefined || /^[!-~]+$/.test(text)) return text;
  throw new UsageError(`${source} must hold a token: printable characters without spaces`);
}

function readFile(path: string, context: Context): string {
  try {
    return readFileSync(readPath(path, context), 'utf8').trim();
  } catch (cause) {
    throw new UsageError(`--token-file: ${(cause as Error).message}`, { cause });
  }
}
