/**
 * Requests in clear text over a network. A token there is read by everybody on the way, and used by them: it is refused,
 * so that its owner learns of it at the first try and not from the damage. Reads of a gateway that speaks HTTPS are
 * redirected to it.
 *
 * In clear is what comes without TLS from beyond this machine. A proxy that is trusted says by `X-Forwarded-Proto` how the
 * client came to it. Own services call each other on this machine, and peers bring a proof and no token.
 */
import type { BlockList, Socket } from 'node:net';
import { type Problem, TokenInClear, TokenRequired } from '@shoal/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import {
  clientAddress,
  isLoopback,
  isListed,
  listNetworks,
  plainAddress,
} from '../process/client-address.ts';
import type { PeerConfig } from '../process/config.ts';
import { isEncrypted } from './accept-people.ts';

/** Asked by probes and collectors that know a port and no name. Nobody's token is of use there. */
const PROBED = new Set(['/healthz', '/readyz', '/metrics']);

export interface ClearText {
  readonly proxies: BlockList;
  /** Whether tokens are taken all the same. */
  readonly takesTokens: boolean;
}

/** The rules by the settings that all services share. */
export const openClearText = (
  config: Pick<PeerConfig, 'TRUSTED_PROXIES' | 'TOKENS_OVER_HTTP'>,
): ClearText => ({
  proxies: listNetworks(config.TRUSTED_PROXIES),
  takesTokens: config.TOKENS_OVER_HTTP === 'on',
});

/** Refuses tokens in clear text; with `hasHttps` reads are redirected. Call it after the check of the host's name. */
export function guardClearText(
  app: FastifyInstance,
  { proxies, takesTokens, hasHttps }: ClearText & { readonly hasHttps: boolean },
): void {
  app.addHook('onRequest', async (request, reply) => {
    const { headers, method, socket, url } = request;
    const hasToken = /^(?:bearer|basic) /i.test(headers.authorization ?? '');
    if (!hasToken && !hasHttps) return;
    if (!isInClear(request, proxies)) return;
    if (hasToken && !takesTokens) throw new TokenInClear({});
    const { host } = headers;
    const [path = ''] = url.split('?', 1);
    const isAsked = /^(?:GET|HEAD)$/.test(method) && host !== undefined && path.startsWith('/');
    // A trusted proxy decides by itself how its clients are to speak.
    const isByProxy = isListed(proxies, plainAddress(socket.remoteAddress));
    if (!hasHttps || hasToken || !isAsked || isByProxy || PROBED.has(path)) return;
    void reply.header('cache-control', 'no-store'); // or browsers keep it beyond the certificate
    return reply.redirect(`https://${host}${url}`, 308);
  });
}

/** A refusal that asks for a token, where one would be refused: else a page would ask a person for it, and send it. */
export function withoutAsking<E extends Error>(
  error: E,
  request: FastifyRequest,
  { proxies, takesTokens }: ClearText,
): E | Problem {
  const asks = error instanceof TokenRequired && !takesTokens && isInClear(request, proxies);
  return asks ? new TokenInClear({}) : error;
}

/** Whether others on the network could read this request. */
export function isInClear(
  { headers, socket }: Pick<FastifyRequest, 'headers' | 'socket'>,
  proxies: BlockList,
): boolean {
  if (isEncrypted(socket)) return false;
  const caller = plainAddress(socket.remoteAddress);
  if (!isListed(proxies, caller)) return !isOfThisMachine(caller, socket);
  // A list is one that each proxy added to: the client may have written all but the last.
  const spoken = [headers['x-forwarded-proto']].flat().at(-1)?.split(',').at(-1)?.trim();
  if (spoken !== undefined) return spoken.toLowerCase() !== 'https';
  const forwarded = [headers['x-forwarded-for']].flat().join(',');
  return !isOfThisMachine(clientAddress(caller, forwarded, proxies), socket);
}

/** One's own address comes from oneself alone: what arrives from elsewhere under it gets no answer. */
const isOfThisMachine = (address: string, { localAddress }: Socket): boolean =>
  isLoopback(address) || (address !== '' && address === plainAddress(localAddress));
