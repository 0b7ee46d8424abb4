/**
 * Keeps answers that only a token opens out of caches that others share: those that are marked as public,
 * since what is named by its content never changes, are marked as the reader's own. On the head as it is written, as
 * not every answer is written by the framework.
 */
import type { ServerResponse } from 'node:http';

const NAME = 'cache-control';

export function keepPrivate(raw: ServerResponse): void {
  // Its forms differ in what stands between the status and the headers.
  const writeHead = raw.writeHead.bind(raw) as (...args: unknown[]) => ServerResponse;
  const write = (...args: unknown[]): ServerResponse => {
    const set = raw.getHeader(NAME);
    if (typeof set === 'string') raw.setHeader(NAME, asPrivate(set));
    return writeHead(...args.map((arg) => (isHeaders(arg) ? withPrivate(arg) : arg)));
  };
  raw.writeHead = write;
}

const asPrivate = (value: string): string => value.replace(/\bpublic\b/i, 'private');

const isHeaders = (arg: unknown): arg is Record<string, unknown> =>
  typeof arg === 'object' && arg !== null && !Array.isArray(arg);

const withPrivate = (headers: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      name.toLowerCase() === NAME && typeof value === 'string' ? asPrivate(value) : value,
    ]),
  );
