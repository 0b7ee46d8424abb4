/**
 * Requests that no route answers: 405 with the methods that the path has, or 404 when it has none.
 * Found by the router that the framework itself uses, so that both read paths alike.
 */
import type { FastifyInstance } from 'fastify';
import findMyWay, { type HTTPMethod } from 'find-my-way';
import { MethodNotAllowed, RouteUnknown } from '@shoal/protocol';

/** Longest path that is repeated to who asked. */
const PATH_SHOWN_CHARS = 200;

/** Answers for all routes of a server; call it before any is added. */
export function refuseUnknownRoutes(
  app: FastifyInstance,
  { maxParamLength }: { maxParamLength: number },
) {
  const routes = findMyWay({ maxParamLength });
  const methods = new Set<HTTPMethod>();
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat() as HTTPMethod[]) {
      methods.add(each);
      if (routes.findRoute(each, url) === null) routes.on(each, url, () => {});
    }
  });
  // After the hooks that judge who asks, and before a body is read: it is of no use.
  app.addHook('preParsing', async (request, _, payload) => {
    if (!request.is404) return payload;
    const { method, url } = request;
    const [path = ''] = url.split('?', 1);
    const allow = [...methods].filter((each) => routes.find(each, path) !== null);
    const shown = { method, path: path.slice(0, PATH_SHOWN_CHARS) };
    // OPTIONS of everything below a prefix, for browsers that ask first, makes no route of each path there.
    throw allow.every((each) => each === 'OPTIONS')
      ? new RouteUnknown(shown)
      : new MethodNotAllowed({ ...shown, allow: allow.join(', ') });
  });
}
