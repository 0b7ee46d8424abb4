/**
 * Why a process ended, from what it wrote: services say it in the last fatal line of their log, or plainly before
 * they have one (chassis, run.ts); Node and Redis in lines of their own.
 */

/** Of a log's lines, that of pino's `fatal`. */
const FATAL = 60;
/** Lines of a stack, and what Node writes around an error that nobody caught. */
const AROUND = /^(?:\s+at |\s*[\^}]|\s*$|Node\.js v|\S*:\d+$)/;
const ERROR = /^(?:\[?\w*(?:Error|Exception)(?: \[\w+\])?): (.+)/;

/** The sentence that an output ends with; empty when it has none. */
export function lastWords(output: string, { name }: { readonly name: string }): string {
  const lines = output.split('\n').toReversed();
  const fatal = lines.map(readFatal).find((text) => text !== undefined);
  if (fatal !== undefined) return fatal;
  const plain = lines.filter((line) => !line.startsWith('{') && !AROUND.test(line));
  const error = plain.map((line) => ERROR.exec(line)?.[1]).find((text) => text !== undefined);
  const last = error ?? plain[0] ?? '';
  return (last.startsWith(`${name}: `) ? last.slice(name.length + 2) : last).trim();
}

function readFatal(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { level, msg, err } = JSON.parse(line) as Readonly<Record<string, unknown>>; // of an object
    if (level !== FATAL) return undefined;
    const { message } = (err ?? {}) as Readonly<Record<string, unknown>>; // of whatever it is
    return String(message || msg).split('\n')[0];
  } catch {
    return undefined; // cut off where the tail begins
  }
}
