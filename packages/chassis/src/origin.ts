/**
 * Keeps web pages of strangers from writing through a visitor's browser.
 *
 * A browser names the page that writes in `Origin`. A page of another site (CSRF) names a host that
 * is not ours, so host and `Host` differ. A page that moved its own DNS name onto our address (DNS
 * rebinding) makes both the same name; but it needs a name in public DNS, so a write by a browser
 * is taken only under an address, a name that exists in local networks alone, or a name that the
 * operator listed. Programs send no `Origin` and are not concerned.
 */
import { isIP } from 'node:net';
import { OriginRefused } from '@shoal/protocol';
import type { Server } from './server.ts';

/** Last labels that public DNS never answers for (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`). */
const LOCAL_SUFFIXES = ['.localhost', '.local', '.internal', '.home.arpa'];

/** Refuses such writes on every route of a server that strangers' pages may reach. */
export function refuseForeignPages(app: Server, hostNames: readonly string[]): void {
  app.addHook('onRequest', async ({ method: sent, headers }) => {
    const { origin, host, 'x-http-method-override': override } = headers;
    // A library behind may do what that header says: then nothing about the method is certain.
    const method = override === undefined ? sent : 'POST';
    const reason = originFault({ method, origin, host, hostNames });
    if (reason !== undefined) throw new OriginRefused({ reason });
  });
}

/** Why this write is refused, in words for a person; undefined when it may go on. */
export function originFault(request: {
  readonly method: string;
  readonly origin: string | undefined;
  readonly host: string | undefined;
  /** Public DNS names under which browsers may write, in lower case. */
  readonly hostNames: readonly string[];
}): string | undefined {
  const { method, origin, host = '', hostNames } = request;
  // OPTIONS is a browser asking whether it may: routes that strangers' pages may read say yes themselves.
  if (/^(?:GET|HEAD|OPTIONS)$/.test(method) || origin === undefined) return undefined;
  const page = hostOf(origin);
  if (page === undefined) return `its origin is "${origin.slice(0, 100)}"`;
  if (page !== host.toLowerCase()) return `the page is of ${page}, this peer is ${host}`;
  const name = page.replace(/:\d+$/, '');
  if (isLocalName(name) || hostNames.includes(name)) return undefined;
  return `${name} is a public name that this peer was not told of (setting GATEWAY_HOST_NAMES)`;
}

/** `host[:port]` of an origin; undefined for `null`, other schemes and nonsense. */
function hostOf(origin: string): string | undefined {
  const url = URL.parse(origin);
  return url === null || !/^https?:$/.test(url.protocol) ? undefined : url.host;
}

function isLocalName(name: string): boolean {
  return (
    isIP(name.replace(/^\[|\]$/g, '')) !== 0 ||
    !name.includes('.') ||
    LOCAL_SUFFIXES.some((suffix) => name.endsWith(suffix))
  );
}
