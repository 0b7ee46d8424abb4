/** Reading of command-line options: node:util does the splitting, this does the checking. */
import { resolve } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { FileHash } from '@shoal/protocol';
import type { Context } from './context.ts';
import { UsageError } from './failure.ts';

export type Options = NonNullable<ParseArgsConfig['options']>;
/** The types of options. */
export type Values<O extends Options> = ReturnType<typeof readOptions<O>>['values'];

/**
 * Splits arguments into options and the rest.
 * @throws UsageError for an option that is unknown or lacks its value.
 */
export function readOptions<const O extends Options>(args: readonly string[], options: O) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(explained(error as Error), { cause: error });
  }
}

/** Node's sentence; of an option that is unknown a shorter one, that of the whole command line. */
function explained({ message, ...error }: Error): string {
  const isUnknown = 'code' in error && error.code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION';
  const option = isUnknown ? /'(-[^']*)'/.exec(message)?.[1] : undefined;
  return option === undefined ? message : `there is no option "${option}"`;
}

/**
 * A whole number given as text.
 * @throws UsageError outside of `min` and `max`.
 */
export function readNumber(
  text: string,
  { name, min, max }: { readonly name: string; readonly min: number; readonly max: number },
): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new UsageError(`${name} must be a whole number from ${min} to ${max}, not "${text}"`);
  return value;
}

/**
 * The hashes that a command is about: at least one, each a CID or a sha-256.
 * @throws UsageError
 */
export function readHashes(words: readonly string[]): FileHash[] {
  if (words.length === 0) throw new UsageError('which file? give its CID or sha-256');
  return words.map((word) => {
    const hash = FileHash.safeParse(word);
    if (hash.success) return hash.data;
    throw new UsageError(`"${word}" is neither a CID ("baf…") nor a sha-256 (64 hex digits)`);
  });
}

/**
 * The one hash that a command is about.
 * @throws UsageError
 */
export function readHash(words: readonly string[]): FileHash {
  const [hash, ...rest] = readHashes(words);
  if (hash === undefined || rest.length > 0) throw new UsageError('give exactly one hash');
  return hash;
}

/**
 * Refuses words that the command has no use for.
 * @throws UsageError
 */
export function refusePositionals(positionals: readonly string[]): void {
  if (positionals.length > 0) throw new UsageError(`unexpected argument "${positionals[0]}"`);
}

/** A path as the person meant it. */
export function readPath(path: string, { cwd }: Context): string {
  return resolve(cwd, path);
}
