/**
 * How a peer proves to another that it belongs to the swarm: once for each connection over TLS, where the certificate
 * says who it is; with each request on plain HTTP, as among the services of one peer, and on wires that are trusted.
 *
 * The proof of a request is an HMAC over what is asked, by whom, of whom. It is bound to its target, so a peer
 * that receives one can't use it elsewhere. It has no time in it, because peers' clocks may be a day
 * apart: a copied proof repeats the same idempotent request at the same peer and nothing else.
 *
 * The proof of a connection is an HMAC over what TLS exports of it, which no other connection has.
 */

/** Begins the line that the caller sends first within TLS, before any request: it goes on with an HMAC in base64url. */
export const MEMBER_LINE = 'shoal-member v1 ';
/** The line with the HMAC and a line feed. No request begins like it: methods are in capitals. */
export const MEMBER_LINE_BYTES = MEMBER_LINE.length + 43 + 1;
/** What TLS exports of a connection for it (RFC 8446 §7.5), with an empty context. */
export const MEMBER_EXPORTER = { label: 'EXPORTER-shoal-member', sizeBytes: 32 } as const;

/** The text under the HMAC of a connection: one line each, in this order. `exporter` is hex. */
export function memberMessage(connection: {
  /** The peer that called. */
  readonly source: string;
  readonly target: string;
  readonly exporter: string;
}): string {
  const { source, target, exporter } = connection;
  return ['shoal-member-v1', 'caller', source, target, exporter].join('\n');
}

/** Request header that carries `v1 <source peer id> <hmac in base64url>`. */
export const PROOF_HEADER = 'shoal-proof';

/** The signed text: one line each, in this order. `bodySha256` is hex, of the empty string without a body. */
export function proofMessage(request: {
  readonly source: string;
  readonly target: string;
  readonly method: string;
  /** Path with query, as sent. */
  readonly path: string;
  readonly bodySha256: string;
}): string {
  const { source, target, method, path, bodySha256 } = request;
  return ['shoal-proof-v1', source, target, method, path, bodySha256].join('\n');
}

/**
 * Request header by which a peer's gateway tells its services whose request it passes on:
 * `v1 <client in base64url> <hmac in base64url>`. The key is the peer's own secret.
 */
export const CLIENT_HEADER = 'shoal-client';

/** The signed text for `CLIENT_HEADER`: one line each, in this order. */
export function clientMessage(passed: {
  readonly self: string;
  readonly method: string;
  /** Path with query, as sent. */
  readonly path: string;
  readonly client: string;
}): string {
  const { self, method, path, client } = passed;
  return ['shoal-client-v1', self, method, path, client].join('\n');
}
