/**
 * The peer that a request is of, where it proves that: a member by its TLS connection, or a service of our own by the
 * proof of the request. On plain HTTP only where the proof covers all that was sent, which a body would not be.
 */
import { type PeerId, PROOF_HEADER } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type { Prover } from '../client/proof.ts';
import { memberAt } from '../tls/accept.ts';

export function provenPeer(
  { method, url, headers, socket }: FastifyRequest,
  prover: Prover | undefined,
): PeerId | undefined {
  const member = memberAt(socket);
  if (member !== undefined) return member;
  const header = headers[PROOF_HEADER];
  if (prover === undefined || typeof header !== 'string' || !/^(?:GET|HEAD)$/.test(method))
    return undefined;
  try {
    return prover.check(header, { method, path: url });
  } catch {
    return undefined; // its route refuses it, or takes no proof at all
  }
}
