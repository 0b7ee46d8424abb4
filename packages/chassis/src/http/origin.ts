/**
 * Keeps web pages of strangers away from this peer, reads included: a visitor's browser would ask for them.
 *
 * A page of another site is recognised by `Origin`, and where browsers leave that out (images, scripts, forms
 * that only ask) by `Sec-Fetch-Site`; what neither tells, the browser itself keeps from the page, since
 * answers are marked as for our own pages. A page that moved its own DNS name onto our address (DNS
 * rebinding) looks like one of ours; but it needs a name in public DNS, so requests are answered only
 * under an address, a name that exists in local networks alone, or a name that the operator listed.
 * Programs send no `Origin`; the name by which they call is checked all the same.
 *
 * Rejected: a check of `Host` for browsers alone. Reads of one's own origin carry nothing that tells a
 * browser from a program, unless the page came by TLS or from this machine.
 */
import { isIP } from 'node:net';
import { HostRefused, OriginRefused, RequestInvalid, ROUTING_PREFIX } from '@shoal/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { PeerConfig } from '../process/config.ts';
import { isEncrypted } from '../tls/accept-people.ts';

/** Last labels that public DNS never answers for (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`). */
const LOCAL_SUFFIXES = ['.localhost', '.local', '.internal', '.home.arpa'];
/** Below these, what is named is the same everywhere and no cookie decides: any page may read it. */
const PUBLIC_PREFIXES = ['/ipfs/', ROUTING_PREFIX];

/** Names under which this peer answers, beside those that are local anyway; in lower case. */
export function ownHostNames(
  config: Pick<
    PeerConfig,
    | 'BIND_HOST'
    | 'DISCOVERY_ADVERTISE_HOST'
    | 'GATEWAY_HOST_NAMES'
    | `${'GATEWAY' | 'CHUNKER' | 'STORAGE' | 'TRANSFER' | 'DISCOVERY'}_URL`
  >,
): readonly string[] {
  const { GATEWAY_URL, CHUNKER_URL, STORAGE_URL, TRANSFER_URL, DISCOVERY_URL } = config;
  const urls = [GATEWAY_URL, CHUNKER_URL, STORAGE_URL, TRANSFER_URL, DISCOVERY_URL];
  return [
    ...config.GATEWAY_HOST_NAMES,
    // The names that other peers and our own services use.
    config.DISCOVERY_ADVERTISE_HOST,
    config.BIND_HOST,
    ...urls.map((url) => new URL(url).hostname),
  ].map((name) => name.toLowerCase());
}

/** Refuses what comes from strangers' pages on every route of a server, and what is there of no route. */
export function refuseForeignPages(app: FastifyInstance, hostNames: readonly string[]): void {
  app.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    checkHost(request, hostNames);
    const { method, url: path, socket } = request;
    const asked = { ...request.headers, method, path, isByTls: isEncrypted(socket) };
    // On the response itself: not every answer is written by the framework.
    if (isPublicRead(asked)) {
      reply.raw.setHeader('access-control-allow-origin', '*');
      return;
    }
    // Before it may be refused: a page needn't even see that it was.
    reply.raw.setHeader('cross-origin-resource-policy', 'same-origin');
    const reason = originFault(asked);
    if (reason !== undefined) throw new OriginRefused({ reason });
  });
}

/** The parts of a request that show which site's page it is from. */
interface Asked {
  readonly method: string;
  /** As on the request line. */
  readonly path: string;
  /** By TLS here; a proxy may have it before us. */
  readonly isByTls?: boolean;
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: unknown;
  readonly 'sec-fetch-mode'?: unknown;
  readonly 'sec-fetch-dest'?: unknown;
  readonly 'x-http-method-override'?: unknown;
}

/** Whether pages of any origin may read this; OPTIONS is a browser asking whether they may. */
export function isPublicRead(asked: Asked): boolean {
  return isRead(asked) && PUBLIC_PREFIXES.some((prefix) => asked.path.startsWith(prefix));
}

/** Why this is refused as a stranger's page, in words for a person; undefined when it may go on. */
export function originFault(asked: Asked): string | undefined {
  const { host = '', origin, 'sec-fetch-site': site } = asked;
  if (origin !== undefined) {
    const page = hostOf(origin);
    if (page === undefined) return `its origin is "${origin.slice(0, 100)}"`;
    // A page that came in clear may be anybody's on the way.
    if (asked.isByTls === true && !/^https:/i.test(origin)) return 'the page came by plain HTTP';
    return page === host.toLowerCase() ? undefined : `the page is of ${page}, this peer is ${host}`;
  }
  // A person may follow any link; the page that has it sees nothing of the answer.
  const isFollowed =
    isRead(asked) &&
    asked['sec-fetch-mode'] === 'navigate' &&
    asked['sec-fetch-dest'] === 'document';
  const isForeign = site === 'cross-site' || site === 'same-site';
  return isForeign && !isFollowed ? 'another page asked for it' : undefined;
}

/** Whether this peer answers under that `Host`, which may have a port. */
export function isOwnHost(host: string, hostNames: readonly string[]): boolean {
  const name = nameOf(host.toLowerCase());
  if (isLocalName(name) || hostNames.includes(name)) return true;
  // An address in another spelling, such as 127.1: browsers write it out, curl does not.
  const isNumber = /^[0-9a-fx.]+$/.test(name);
  return isNumber && isAddress(URL.parse(`http://${name}`)?.hostname ?? '');
}

/** @throws RequestInvalid, HostRefused */
function checkHost({ raw, headers, url }: FastifyRequest, hostNames: readonly string[]): void {
  // Node keeps the first of several; a proxy before us may have read another.
  if (isTwice(raw.rawHeaders, 'host'))
    throw new RequestInvalid({ reason: 'the Host header was given more than once' });
  // A whole address on the request line counts instead of the header (RFC 9112 §3.2.2).
  const asked = url.startsWith('/') || url === '*' ? headers.host : URL.parse(url)?.host;
  for (const host of [asked, headers.host])
    if (host !== undefined && !isOwnHost(host, hostNames))
      throw new HostRefused({ host: host.slice(0, 253) });
}

/** @param rawHeaders Names and values in turn, as Node has them. */
function isTwice(rawHeaders: readonly string[], name: string): boolean {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2)
    if (rawHeaders[index]?.length === name.length && rawHeaders[index]?.toLowerCase() === name)
      count += 1;
  return count > 1;
}

/** A library behind may do what that header says: then nothing about the method is certain. */
function isRead({ method, 'x-http-method-override': override }: Asked): boolean {
  return /^(?:GET|HEAD|OPTIONS)$/.test(method) && override === undefined;
}

/** `host[:port]` of an origin; undefined for `null`, other schemes and nonsense. */
function hostOf(origin: string): string | undefined {
  const url = URL.parse(origin);
  return url === null || !/^https?:$/.test(url.protocol) ? undefined : url.host;
}

/** Without the port, and without the dot that ends a whole name. */
function nameOf(host: string): string {
  return host.replace(/:\d*$/, '').replace(/\.$/, '');
}

function isLocalName(name: string): boolean {
  return (
    isAddress(name) || !name.includes('.') || LOCAL_SUFFIXES.some((suffix) => name.endsWith(suffix))
  );
}

function isAddress(name: string): boolean {
  return isIP(name.replace(/^\[|\]$/g, '')) !== 0;
}
