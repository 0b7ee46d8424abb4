/** A peer in this process, and every route that its five servers registered: those added later are known too. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { env } from 'node:process';
import type { Server } from '@shoal/chassis';
import { type PeerPlan, portsOf } from '@shoal/cli';
import { SERVICES, type Service } from '@shoal/protocol';
import { findBasePort, openTemporaryFolder, writeSwarmKey } from '@shoal/testkit';
import { type PeerHere, startPeer } from '../../src/start-peer.ts';

/** Stands for each parameter of a path. */
const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

export interface Asked {
  readonly method: string;
  /** As it was registered. */
  readonly route: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly opensTo: string | undefined;
  readonly policy: string | undefined;
}

export type Answered = Answer & {
  readonly asked: Asked;
  readonly at: Service;
  /** Whether that service has the route. */
  readonly isThere: boolean;
};

export interface OpenPeer extends AsyncDisposable {
  readonly peer: PeerHere;
  readonly keyFile: string;
  readonly dataDir: string;
  readonly routes: readonly Asked[];
  /** Those of one service. */
  routesAt(service: Service): readonly Asked[];
  ask(
    at: Service,
    asked: Asked,
    headers?: Record<string, string>,
    prefix?: string,
  ): Promise<Answer>;
  /** Every route at every port, also of the services that don't have it. */
  askAll(
    headersAt: (port: string) => Record<string, string>,
    options?: { prefix?: string; only?: (asked: Asked) => boolean },
  ): Promise<Answered[]>;
}

export async function openPeer(
  plan: Partial<PeerPlan>,
  settings: Readonly<Record<string, string>> = {},
  /** Fills the data folder before the start. */
  prepare: (dataDir: string) => void = () => {},
): Promise<OpenPeer> {
  await using opening = new AsyncDisposableStack();
  const agent = opening.adopt(new Agent({ keepAlive: true, maxSockets: 4 }), (each) =>
    each.destroy(),
  );
  const servers = new Map<Server, Asked[]>();
  const onServer = (message: unknown) => {
    const { fastify } = message as { fastify: Server }; // what that channel carries
    const routes: Asked[] = [];
    servers.set(fastify, routes);
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat()) routes.push({ method: each, route: url });
    });
  };
  subscribe('fastify.initialization', onServer);
  opening.defer(() => void unsubscribe('fastify.initialization', onServer));
  const dataDir = opening.use(await openTemporaryFolder()).path;
  const keyFile = join(dataDir, 'swarm.key');
  await writeSwarmKey(keyFile);
  prepare(dataDir);
  const peer = opening.use(
    await startPeer(
      {
        label: 'this peer',
        dataDir,
        keyFile,
        host: '127.0.0.1',
        ports: portsOf(await findBasePort()),
        seeds: [],
        hasMdns: false,
        staysDownWhenKilled: false,
        ...plan,
      },
      { ...env, STORAGE_FSYNC: 'false', ...settings },
    ),
  );
  const nameOf = ({ method, route }: Asked) => `${method} ${route}`;
  const portOf = (service: Service) => new URL(peer.origins[service]).port;
  const routesBy = new Map(
    [...servers].map(([{ server }, routes]) => [
      String((server.address() as AddressInfo).port), // they listen on TCP
      routes,
    ]),
  );
  const own = new Map([...routesBy].map(([port, routes]) => [port, new Set(routes.map(nameOf))]));
  const routes = [
    ...new Map([...servers.values()].flat().map((each) => [nameOf(each), each])).values(),
  ];

  const ask: OpenPeer['ask'] = async (at, { method, route }, headers = {}, prefix = '') => {
    const { hostname, port } = new URL(peer.origins[at]);
    const path = prefix + route.replace(/:\w+|\*/g, CID);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    // As a list, in which a name may come twice.
    const body = headers['content-type'] === undefined ? '' : '{}';
    const sent: Record<string, string> = {
      ...('host' in headers ? {} : { host: `${hostname}:${port}` }),
      ...headers,
    };
    if (body !== '') sent['content-length'] = String(body.length);
    request({ hostname, port, method, path, headers: Object.entries(sent).flat(), agent })
      .once('response', resolve)
      .once('error', reject)
      .end(body);
    const answer = await promise;
    let text = '';
    for await (const piece of answer.setEncoding('utf8')) text += String(piece);
    return {
      status: answer.statusCode ?? 0,
      text,
      opensTo: answer.headers['access-control-allow-origin'],
      policy: answer.headers['cross-origin-resource-policy']?.toString(),
    };
  };
  const running = opening.move();
  return {
    peer,
    keyFile,
    dataDir,
    routes,
    routesAt: (service) => routesBy.get(portOf(service)) ?? [],
    ask,
    askAll: (headersAt, { prefix = '', only = () => true } = {}) =>
      Promise.all(
        SERVICES.flatMap((at) =>
          routes.filter(only).map(async (asked) => ({
            at,
            asked,
            isThere: own.get(portOf(at))?.has(nameOf(asked)) === true,
            ...(await ask(at, asked, headersAt(portOf(at)), prefix)),
          })),
        ),
      ),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
