/**
 * How a peer proves to another that it knows the swarm key, on plain HTTP.
 *
 * The proof is an HMAC over what is asked, by whom, of whom. It is bound to its target, so a peer
 * that receives one can't use it elsewhere. It has no time in it, because peers' clocks may be a day
 * apart: a copied proof repeats the same idempotent request at the same peer and nothing else.
 * Mutual TLS, when added, takes over confidentiality.
 */

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
