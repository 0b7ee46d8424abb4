/** Tokens for one file, where a route knows which file it is about; and what a token may change of files of others. */
import type { Cid, FileHash, Pin } from '@shoal/protocol';
import { RightMissing } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { rightOfMethod } from './guard.ts';

/** The parts of a request that matter here. */
export type TokenRequest = Pick<FastifyRequest, 'token' | 'method'>;

/** @throws RightMissing when the request's token is for another root */
export function checkRoot(request: TokenRequest, root: Cid | undefined): void {
  const { token, method } = request;
  if (token?.only === undefined || token.only === root) return;
  const right = rightOfMethod(method);
  throw new RightMissing({
    right: right === 'none' ? 'read' : right,
    token: token.name,
    only: token.only,
  });
}

/**
 * The same by a file's hash in either form. A sha-256 is compared with that of the token's own file, so that who has
 * such a token learns nothing of what others there are.
 * @param find The file's pin; undefined or a throw when there is none.
 * @throws RightMissing
 */
export async function checkHash(
  request: TokenRequest,
  hash: FileHash,
  find: (root: Cid) => Promise<Pin | undefined> | Pin | undefined,
): Promise<void> {
  const only = request.token?.only;
  if (only === undefined || hash === only) return;
  const pin = hash.length === only.length ? undefined : await find(only);
  checkRoot(request, pin?.sha256 === hash ? only : undefined);
}

/**
 * Whether a token may change a file: with the right to delete any, since an end that comes soon deletes; else those
 * that were put with it. @throws RightMissing
 */
export function checkAuthor({ token }: TokenRequest, pin: Pick<Pin, 'token'>): void {
  if (token === undefined || token.may.has('delete') || pin.token === token.id) return;
  throw new RightMissing({ right: 'delete', token: token.name });
}
