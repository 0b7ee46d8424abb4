/**
 * The routes of the front door. The rows come from the contract, so a route is reachable from
 * outside exactly when `protocol` calls it public; a path that no route states (a subtree that a
 * service serves itself) is one more row here.
 */
import { configOf } from '@shoal/chassis';
import {
  type Audience,
  chunkerRoutes,
  discoveryRoutes,
  type Route,
  ROUTING_PREFIX,
  rosterRoutes,
  routingRoutes,
  type Service,
  storageRoutes,
  transferRoutes,
  uploadRoutes,
} from '@shoal/protocol';
import type { FastifyContextConfig } from 'fastify';

/** One line of the table: these methods on this path go to this service. */
export interface Row {
  readonly service: Exclude<Service, 'gateway'>;
  readonly methods: readonly Method[];
  /** A path as the router reads it: `:name` is one segment, a final `*` is a subtree. */
  readonly path: string;
  /** The part that the guard looks at: the same as at the service behind. */
  readonly guarded: FastifyContextConfig;
}

export type Method = Route['method'];

/** The part of a route that a row needs. */
type Fronted = Pick<
  Route,
  'audience' | 'method' | 'path' | 'service' | 'right' | 'publicAs' | 'checksRoot'
> & {
  readonly audience: Audience;
};

/** Everything that is reachable through the gateway. */
export const TABLE: readonly Row[] = [
  ...publicRows(chunkerRoutes),
  ...publicRows(transferRoutes),
  ...publicRows(discoveryRoutes),
  ...publicRows(storageRoutes),
  ...publicRows(routingRoutes),
  ...publicRows(rosterRoutes),
  ...publicRows(uploadRoutes),
  // Unmatched paths and preflights go there too.
  {
    service: 'discovery',
    path: `${ROUTING_PREFIX}*`,
    methods: ['GET', 'HEAD', 'OPTIONS'],
    guarded: { publicAs: 'routing' },
  },
  {
    service: 'transfer',
    path: transferRoutes.getIpfs.path,
    methods: ['OPTIONS'],
    guarded: { right: 'none' },
  },
];

/** The rows of those routes that are public; a GET answers HEAD too, unless that is a route of its own. */
export function publicRows(routes: Readonly<Record<string, Fronted>>): Row[] {
  const all = Object.values(routes);
  const answersHead = (path: string) =>
    !all.some((other) => other.method === 'HEAD' && other.path === path);
  return all.flatMap((route) => {
    const { audience, service, method, path } = route;
    if (audience !== 'public' || service === 'gateway') return [];
    const methods: Method[] = method === 'GET' && answersHead(path) ? ['GET', 'HEAD'] : [method];
    return [{ service, path, methods, guarded: configOf(route) }];
  });
}
