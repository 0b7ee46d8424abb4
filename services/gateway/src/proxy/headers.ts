/** The headers of a message that are passed on. */
import type { IncomingHttpHeaders } from 'node:http';
import { type Clients, isEncrypted } from '@shoal/chassis';
import { CLIENT_HEADER, PROOF_HEADER } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';

/** Headers that belong to one connection (RFC 9110 §7.6.1), and those that undici writes itself. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * The client's headers, without those of its connection or that could pass for a peer's proof, and
 * with whose request it is.
 */
export function requestHeaders(
  request: FastifyRequest,
  clients: Clients,
  options: { readonly hasBody: boolean },
): IncomingHttpHeaders {
  const headers = endToEnd(request.headers);
  delete headers[PROOF_HEADER];
  delete headers[CLIENT_HEADER];
  Object.assign(
    headers,
    clients.vouch(request.client, { method: request.method, path: request.url }),
  );
  delete headers.origin; // looked at here; the service behind would see another host
  // The service behind sees plain HTTP, from a peer that may be among the trusted proxies.
  if (isEncrypted(request.socket)) headers['x-forwarded-proto'] = 'https';
  if (!options.hasBody) delete headers['content-length'];
  headers['x-request-id'] = request.id;
  return headers;
}

/** The headers that are meant for the other end. */
export function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = (headers.connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !HOP_HEADERS.has(name) && !named.includes(name)),
  );
}
