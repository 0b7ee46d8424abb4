/** The query of an RPC call: `arg` may occur several times, flags are written in Go's ways. */
import { misused } from './rpc-error.ts';

export interface Options {
  /** Every `arg`, in order. */
  readonly args: readonly string[];
  text(name: string): string | undefined;
  /** @throws RpcError for what is neither true nor false. */
  flag(name: string, fallback: boolean): boolean;
  /** A whole number of bytes. @throws RpcError */
  count(name: string): number | undefined;
}

const TRUE = /^(?:|1|t|true)$/i;
const FALSE = /^(?:0|f|false)$/i;

/** Reads the query of a request line. */
export function readOptions(url: string): Options {
  const { searchParams } = new URL(url, 'http://peer');
  const text = (name: string) => searchParams.get(name) ?? undefined;
  return {
    args: searchParams.getAll('arg'),
    text,
    flag(name, fallback) {
      const given = text(name);
      if (given === undefined) return fallback;
      if (TRUE.test(given)) return true;
      if (FALSE.test(given)) return false;
      throw misused(`option "${name}" must be true or false, not "${given.slice(0, 50)}"`);
    },
    count(name) {
      const given = text(name);
      if (given === undefined) return undefined;
      const value = Number(given);
      if (/^\d+$/.test(given) && Number.isSafeInteger(value)) return value;
      throw misused(`option "${name}" must be a whole number, not "${given.slice(0, 50)}"`);
    },
  };
}

/** The values that an option may have: those that ask for what is done here anyway. */
export type Rules = Readonly<Record<string, RegExp>>;

/** For options that ask for what is done always, or for what is done never. */
export const ALWAYS = TRUE;
export const NEVER = FALSE;
/** For options whose every value asks for something that is not done here. */
export const UNKNOWN = /^(?!)/;

/** Refuses options that would give another result than was asked for. @throws RpcError */
export function holdTo(rules: Rules, options: Options, why: string): void {
  for (const [name, allowed] of Object.entries(rules)) {
    const given = options.text(name);
    if (given !== undefined && !allowed.test(given))
      throw misused(`option "${name}=${given.slice(0, 50)}" is not supported: ${why}`);
  }
}

/** For commands whose answers Kubo spells in the base that is asked for. @throws RpcError */
export function holdToSpelling(options: Options): void {
  holdTo({ 'cid-base': /^base32$/ }, options, 'CIDs are answered in base32');
  options.flag('upgrade-cidv0-in-output', false); // must be one, whether or not a CID comes
}
