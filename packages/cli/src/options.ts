/** Reading of command-line options: node:util does the splitting, this does the checking. */
import { resolve } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { Context } from './context.ts';
import { UsageError } from './failure.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

/**
 * Splits arguments into options and the rest.
 * @throws UsageError for an option that is unknown or lacks its value.
 */
export function readOptions<const O extends Options>(args: readonly string[], options: O) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
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
