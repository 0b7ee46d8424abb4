/**
 * Addresses of our own in answers, where a proxy may serve this peer below a path of its own
 * (`https://example.org/shoal/`). The proxy takes that path off, so we never see it.
 *
 * Most answers need not know: they refer relatively. Pages and redirects below `/ipfs/` have whole paths,
 * since the gateway specification's suite compares them; there the proxy says its path in
 * `X-Forwarded-Prefix`. A client that sends it itself changes the links of its own answer alone, to this same host.
 */
import type { IncomingHttpHeaders } from 'node:http';

const PREFIX_HEADER = 'x-forwarded-prefix';
/** Path of a proxy. Past it: not believed. */
const PREFIX_MAX_CHARS = 200;

/** The path of the proxy that is before ours, without a final slash; empty if no proxy states one. */
export function proxyPath(headers: IncomingHttpHeaders): string {
  const given = headers[PREFIX_HEADER];
  const path = typeof given === 'string' ? given.replace(/\/$/, '') : '';
  const isPath = path.length <= PREFIX_MAX_CHARS && /^(?:\/[\w~-][\w.~-]*)+$/.test(path);
  return isPath ? path : '';
}

/** A path of ours as an answer to `from` refers to it. Both begin with a slash. */
export function relativeReference(from: string, to: string): string {
  const [path = ''] = from.split('?', 1);
  const depth = path.split('/').length - 2;
  return `${depth === 0 ? './' : '../'.repeat(depth)}${to.slice(1)}`;
}
