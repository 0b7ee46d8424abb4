/**
 * Every route of every service, at every port, asked as strangers' pages make a browser ask. The routes are
 * what the servers themselves registered, so one that is added later is asked too.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Agent, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { env } from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Server } from '@shoal/chassis';
import { portsOf } from '@shoal/cli';
import { SERVICES, type Service } from '@shoal/protocol';
import { findBasePort, openTemporaryFolder, writeSwarmKey } from '@shoal/testkit';
import { type PeerHere, startPeer } from '../../src/start-peer.ts';

const EVIL = 'https://evil.example';
const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const CONFIGURED = 'files.team.example';
const ADVERTISED = 'one.peers.example';

interface Asked {
  readonly method: string;
  /** As it was registered. */
  readonly route: string;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly opensTo: string | undefined;
  readonly policy: string | undefined;
}

let stack: AsyncDisposableStack;
let peer: PeerHere;
let agent: Agent;
/** Of all five servers together: each is asked at the ports of the others as well. */
const routes = new Map<string, Asked>();

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  agent = stack.adopt(new Agent({ keepAlive: true, maxSockets: 4 }), (each) => each.destroy());
  const onServer = (message: unknown) => {
    const { fastify } = message as { fastify: Server }; // what that channel carries
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat())
        routes.set(`${each} ${url}`, { method: each, route: url });
    });
  };
  subscribe('fastify.initialization', onServer);
  const dataDir = stack.use(await openTemporaryFolder()).path;
  const keyFile = join(dataDir, 'swarm.key');
  await writeSwarmKey(keyFile);
  peer = stack.use(
    await startPeer(
      {
        label: 'this peer',
        dataDir,
        keyFile,
        host: '127.0.0.1',
        advertiseHost: ADVERTISED,
        ports: portsOf(await findBasePort()),
        seeds: [],
        hasMdns: false,
        staysDownWhenKilled: false,
      },
      { ...env, GATEWAY_HOST_NAMES: CONFIGURED, STORAGE_FSYNC: 'false' },
    ),
  );
  unsubscribe('fastify.initialization', onServer);
});
afterAll(() => stack.disposeAsync());

describe('every route at every port', () => {
  it('is known', () => {
    const known = [...routes.keys()];
    for (const each of [
      'GET /',
      'GET /console/console.js',
      'GET /events',
      'GET /metrics',
      'GET /ipfs/*',
      'OPTIONS /routing/v1/*',
      'PATCH /uploads/:id',
      'POST /api/v0/*',
      'POST /drain',
      'DELETE /files/:hash',
    ])
      expect(known).toContain(each);
    expect(known.length).toBeGreaterThan(100);
  });

  it('is refused by a name that was moved here', async () => {
    const answers = await askAll((port) => ({ host: `evil.example:${port}` }));
    expect(othersThan(answers, 403, 'does not answer as')).toEqual([]);
    // With the page's own origin beside it, as such a page writes.
    const writes = await askAll((port) => ({
      host: `evil.example:${port}`,
      origin: `http://evil.example:${port}`,
    }));
    expect(othersThan(writes, 403, 'does not answer as')).toEqual([]);
  });

  it('is refused when the request line names another host than the header', async () => {
    const answers = await askAll(() => ({}), { prefix: 'http://evil.example' });
    expect(othersThan(answers, 403, 'does not answer as')).toEqual([]);
  });

  it('is refused with two Host headers', async () => {
    const answers = await askAll((port) => ({ host: `127.0.0.1:${port}`, Host: 'evil.example' }));
    expect(othersThan(answers, 400, 'given more than once')).toEqual([]);
  });

  it.each([
    ['of another site', { origin: EVIL }],
    ['of another port', { origin: 'http://127.0.0.1:1' }],
    ['without a site', { origin: 'null' }],
    ['that embeds', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
  ])('answers a page %s public reads alone', async (_, headers) => {
    const isPublic = ({ method, route }: Asked) =>
      /^(?:GET|HEAD|OPTIONS)$/.test(method) && /^\/(?:ipfs|routing\/v1)\//.test(route);
    const answers = await askAll(() => headers);
    const refused = answers.filter(({ asked }) => !isPublic(asked));
    expect(othersThan(refused, 403, 'came from a web page')).toEqual([]);
    expect(refused.filter(({ opensTo }) => opensTo !== undefined)).toEqual([]);
    const open = answers.filter(({ asked }) => isPublic(asked));
    expect(open.length).toBeGreaterThan(30);
    expect(open.filter(({ status }) => status === 403)).toEqual([]);
    expect(open.filter(({ opensTo }) => opensTo !== '*')).toEqual([]);
  });

  it('can not be read by pages of others where a browser says nothing of them', async () => {
    for (const service of SERVICES)
      for (const path of ['/healthz', '/metrics', '/openapi.json', '/files', '/nothing'])
        expect(await ask(service, { method: 'GET', route: path })).toMatchObject({
          opensTo: undefined,
          policy: 'same-origin',
        });
  });
});

describe('what is asked for by a page of this peer, or by a program', () => {
  it.each([
    'localhost:7100',
    '[::1]:7100',
    'nas',
    'nas.local',
    `${CONFIGURED}:8443`,
    `${ADVERTISED}:7102`,
    '192.0.2.9',
  ])('is answered under %s at every port', async (host) => {
    for (const service of SERVICES)
      for (const origin of [undefined, `http://${host}`])
        expect(
          await ask(
            service,
            { method: 'GET', route: '/healthz' },
            { host, ...(origin && { origin }) },
          ),
        ).toMatchObject({ status: 200 });
  });
});

type Answered = Answer & { readonly port: string; readonly asked: Asked };

async function askAll(
  headersAt: (port: string) => Record<string, string>,
  { prefix = '' } = {},
): Promise<Answered[]> {
  const cases = SERVICES.flatMap((service) =>
    [...routes.values()].map((asked) => ({ service, asked })),
  );
  return Promise.all(
    cases.map(async ({ service, asked }) => {
      const { port } = new URL(peer.origins[service]);
      const answer = await ask(service, asked, headersAt(port), prefix);
      return { port: service, asked, ...answer };
    }),
  );
}

/** Those that did not get the one answer; HEAD has no body, and Kubo's RPC a form of its own. */
function othersThan(answers: readonly Answered[], status: number, words: string): Answered[] {
  expect(answers.length).toBeGreaterThan(100);
  return answers.filter(
    (answer) =>
      answer.status !== status || (answer.asked.method !== 'HEAD' && !answer.text.includes(words)),
  );
}

async function ask(
  service: Service,
  { method, route }: Asked,
  headers: Record<string, string> = {},
  prefix = '',
): Promise<Answer> {
  const { hostname, port } = new URL(peer.origins[service]);
  const path = prefix + route.replace(/:\w+|\*/g, CID);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  // As a list, in which a name may come twice.
  const sent = { ...('host' in headers ? {} : { host: `${hostname}:${port}` }), ...headers };
  request({ hostname, port, method, path, headers: Object.entries(sent).flat(), agent })
    .once('response', resolve)
    .once('error', reject)
    .end();
  const answer = await promise;
  let text = '';
  for await (const piece of answer.setEncoding('utf8')) text += String(piece);
  return {
    status: answer.statusCode ?? 0,
    text,
    opensTo: answer.headers['access-control-allow-origin'],
    policy: answer.headers['cross-origin-resource-policy']?.toString(),
  };
}
