/**
 * The routes of the front door. The rows come from the contract, so a route is reachable from
 * outside exactly when `protocol` calls it public; a path that no route states (a subtree that a
 * service serves itself) is one more row here.
 */
import {
  type Audience,
  chunkerRoutes,
  discoveryRoutes,
  RESUMABLE_PATH,
  type Route,
  ROUTING_PREFIX,
  routingRoutes,
  type Service,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';

/** One line of the table: these methods on this path go to this service. */
export interface Row {
  readonly service: Exclude<Service, 'gateway'>;
  readonly methods: readonly Method[];
  /** A path as the router reads it: `:name` is one segment, a final `*` is a subtree. */
  readonly path: string;
}

export type Method = Route['method'] | 'HEAD' | 'OPTIONS';

/** The part of a route that a row needs. */
type Fronted = Pick<Route, 'audience' | 'method' | 'path' | 'service'> & {
  readonly audience: Audience;
};

/** Everything that is reachable through the gateway. */
export const TABLE: readonly Row[] = [
  ...publicRows(chunkerRoutes),
  ...publicRows(transferRoutes),
  ...publicRows(discoveryRoutes),
  ...publicRows(storageRoutes),
  ...publicRows(routingRoutes),
  // tus 1.0; the state of an upload (GET) has a route of its own.
  { service: 'chunker', path: RESUMABLE_PATH, methods: ['POST', 'OPTIONS'] },
  {
    service: 'chunker',
    path: chunkerRoutes.resumableUpload.path,
    methods: ['POST', 'PATCH', 'DELETE', 'OPTIONS'],
  },
  // Unmatched paths and preflights go there too.
  { service: 'discovery', path: `${ROUTING_PREFIX}*`, methods: ['GET', 'HEAD', 'OPTIONS'] },
  { service: 'transfer', path: transferRoutes.getIpfs.path, methods: ['OPTIONS'] },
];

/** The rows of those routes that are public; a GET answers HEAD too. */
export function publicRows(routes: Readonly<Record<string, Fronted>>): Row[] {
  return Object.values(routes).flatMap(({ audience, service, method, path }) =>
    audience !== 'public' || service === 'gateway'
      ? []
      : [{ service, path, methods: method === 'GET' ? ['GET', 'HEAD'] : [method] }],
  );
}
