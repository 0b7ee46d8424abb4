/** The sha-256 that the sender states of a file, in digest headers. */
import { RequestInvalid, type Sha256, readSha256 } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';

/**
 * The sha-256 that the sender says the file has; undefined when no header says. With a body that is
 * the file, its content digest is the file's too.
 * @throws RequestInvalid for a header that can't be read, or two that disagree.
 */
export function statedSha256(
  headers: FastifyRequest['headers'],
  { isWholeBody }: { readonly isWholeBody: boolean },
): Sha256 | undefined {
  const ofFile = readSha256('Repr-Digest', headers['repr-digest']);
  if (!isWholeBody) return ofFile;
  const ofBody = readSha256('Content-Digest', headers['content-digest']);
  if (ofFile !== undefined && ofBody !== undefined && ofFile !== ofBody)
    throw new RequestInvalid({
      reason: 'Repr-Digest and Content-Digest state different sha-256 of one body',
    });
  return ofFile ?? ofBody;
}
