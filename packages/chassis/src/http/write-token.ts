/**
 * The write token: its holder may change what the swarm keeps, by this peer's public routes.
 *
 * Checked in one place, on each service's own port, since the services are reachable without the
 * gateway. A route is guarded unless it says otherwise, so that one which a service mounts by itself is
 * not forgotten. Peers and own services prove themselves by the swarm key and need no token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { TokenRequired, TokenWrong } from '@shoal/protocol';
import type { FastifyInstance } from 'fastify';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The guard of writes: the write token as a rule, the proof, or the route's own check. */
    readonly guard?: 'token' | 'proof' | 'own';
    /** Media types of a body, in words for a person. */
    readonly takes?: string;
  }
}

/** Lets writes pass only with this token. */
export function guardWrites(app: FastifyInstance, token: string): void {
  app.addHook('onRequest', async (request, reply) => {
    const { guard = 'token' } = request.routeOptions.config;
    if (guard !== 'token' || request.is404) return;
    const { authorization, 'x-http-method-override': override } = request.headers;
    // A library that mounts itself may do what that header says, whatever the method.
    if (/^(?:GET|HEAD|OPTIONS)$/.test(request.method) && override === undefined) return;
    void reply.header('www-authenticate', 'Bearer');
    if (authorization === undefined) throw new TokenRequired({});
    const given = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (given === undefined || !isSameToken(given, token)) throw new TokenWrong({});
    void reply.removeHeader('www-authenticate');
  });
}

/** Compares in a time that tells nothing of where they differ, or of how long they are. */
export function isSameToken(given: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}
