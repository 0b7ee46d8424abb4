import { connect } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BlockNotFound, PeerId, ProofRefused, ProblemBody, route } from '@shoal/protocol';
import * as z from 'zod';
import {
  createLog,
  createPeerClient,
  createProver,
  createRegistry,
  createServer,
  mount,
  type PeerClient,
  type Server,
} from '../../src/index.ts';

const self = PeerId.parse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5');
const other = PeerId.parse('12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X');
const key = Buffer.alloc(32, 1);
const localSecret = Buffer.alloc(64, 2);
const echo = (audience: 'public' | 'peer' | 'local') =>
  route({
    service: 'storage',
    audience,
    method: 'POST',
    path: `/${audience}/:word`,
    summary: 'Says it again.',
    params: z.object({ word: z.string().max(5) }),
    query: z.object({ times: z.coerce.number().int().max(3).default(1) }),
    body: z.object({ n: z.int() }),
    reply: z.object({ said: z.string(), caller: z.string() }),
  });
const signal = AbortSignal.timeout(30_000);
const ending = (): Server =>
  createServer({
    service: 'storage',
    log: createLog('test', 'silent'),
    registry: createRegistry('storage'),
    whyNotReady: () => undefined,
    hostNames: [],
  });

describe('a service', () => {
  const registry = createRegistry('storage');
  let unready: string | undefined = 'warming up';
  const app = createServer({
    service: 'storage',
    log: createLog('test', 'silent'),
    registry,
    whyNotReady: () => unready,
    hostNames: [],
  });
  const prover = createProver(key, self, localSecret);
  for (const audience of ['public', 'peer', 'local'] as const)
    mount({ app, prover, self }, echo(audience), async ({ params, query, body, caller }) => {
      if (params.word === 'gone') throw new BlockNotFound({ cid: 'bafk' });
      if (params.word === 'bug') throw new Error('a secret detail');
      return { said: params.word.repeat(query.times) + body.n, caller };
    });
  const bare = route({
    service: 'storage',
    audience: 'public',
    method: 'POST',
    path: '/bare',
    summary: 'Takes no body.',
    params: z.object({}),
    query: z.object({}),
    body: undefined,
    reply: z.object({}),
  });
  mount({ app, prover, self }, bare, async () => ({}));
  const clients: PeerClient[] = [];
  const clientOf = (id: PeerId, swarmKey = key, secret = localSecret) => {
    const client = createPeerClient({
      prover: createProver(swarmKey, id, secret),
      self: id,
      own: {
        gateway: origin,
        chunker: origin,
        storage: origin,
        transfer: origin,
        discovery: origin,
      },
    });
    clients.push(client);
    return client;
  };
  let origin = '';
  beforeAll(async () => {
    origin = await app.listen({ port: 0, host: '127.0.0.1' });
  });
  afterAll(async () => {
    for (const client of clients) await client[Symbol.asyncDispose]();
    await app.close();
  });
  const target = () => ({ peerId: self, origin });
  const args = { params: { word: 'hey' }, query: { times: 2 }, body: { n: 7 } };

  it('ends without waiting for a connection that was opened ahead', async () => {
    const server = ending();
    const { port } = new URL(await server.listen({ port: 0, host: '127.0.0.1' }));
    const accepted = once(server.server, 'connection');
    const ahead = connect(Number(port), '127.0.0.1');
    const closed = once(ahead.resume(), 'close');
    await accepted;
    await Promise.all([server.close(), closed]);
    expect(ahead.closed).toBe(true);
  }, 10_000);

  it('ends without waiting for a connection that is opened while it stops', async () => {
    const server = ending();
    const slow = Promise.withResolvers<void>();
    server.addHook('preClose', () => slow.promise); // as a sweep that ends first
    const { port } = new URL(await server.listen({ port: 0, host: '127.0.0.1' }));
    const over = server.close();
    const accepted = once(server.server, 'connection');
    const late = connect(Number(port), '127.0.0.1');
    const closed = once(late.resume(), 'close');
    await accepted;
    slow.resolve();
    await Promise.all([over, closed]);
    expect(late.closed).toBe(true);
  }, 10_000);

  it.each(['reply', 'raw'])(
    'ends though an answer was under way on a connection that is kept (%s)',
    async (way) => {
      const server = ending();
      const asked = Promise.withResolvers<void>();
      const slow = Promise.withResolvers<void>();
      server.get('/slow', async (_, reply) => {
        if (way === 'raw') reply.hijack();
        if (way === 'raw') reply.raw.writeHead(200, { 'content-length': 2 });
        asked.resolve();
        await slow.promise;
        if (way === 'raw') reply.raw.end('ok');
        return way === 'raw' ? undefined : 'ok';
      });
      const { port } = new URL(await server.listen({ port: 0, host: '127.0.0.1' }));
      const kept = connect(Number(port), '127.0.0.1');
      let got = '';
      kept.on('data', (bytes) => (got += String(bytes)));
      const closed = once(kept, 'close');
      kept.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
      await asked.promise;
      const over = server.close();
      while (server.server.listening) await sleep(5); // it stops from here on
      slow.resolve();
      await Promise.all([over, closed]);
      expect(got).toMatch(/^HTTP\/1.1 200 [^]*ok$/);
    },
    10_000,
  );

  it.each(['h2c', 'websocket'])(
    'answers in HTTP/1.1 who offers to go on in %s',
    async (protocol) => {
      const socket = connect(Number(new URL(origin).port), '127.0.0.1');
      socket.end(
        `GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
      );
      const [answer] = await once(socket, 'data');
      expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
      socket.destroy();
    },
    10_000,
  );

  it('refuses a body where all settings are in the query', async () => {
    const post = (body: string) =>
      fetch(`${origin}/bare`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
    const refused = await post('{"isDryRun":true}');
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain('takes no body');
    expect((await fetch(`${origin}/bare`, { method: 'POST' })).status).toBe(200);
  });

  it('answers a typed call, and knows who called', async () => {
    const answer = await clientOf(other).call(target(), echo('peer'), args, { signal });
    expect(answer).toEqual({ said: 'heyhey7', caller: other });
  });

  it('lets strangers and other peers no further than they may', async () => {
    const stranger = clientOf(other, Buffer.alloc(32, 9));
    await expect(stranger.call(target(), echo('peer'), args, { signal })).rejects.toBeInstanceOf(
      ProofRefused,
    );
    await expect(
      clientOf(other).call(target(), echo('local'), args, { signal }),
    ).rejects.toBeInstanceOf(ProofRefused);
    expect((await clientOf(self).call(target(), echo('local'), args, { signal })).caller).toBe(
      self,
    );
    const bare = await fetch(`${origin}/peer/hey`, {
      method: 'POST',
      body: '{"n":1}',
      headers: { 'content-type': 'application/json' },
    });
    expect(bare.status).toBe(401);
  });

  it('throws at the caller what was thrown at the server', async () => {
    const gone = { ...args, params: { word: 'gone' } };
    await expect(
      clientOf(self).call(target(), echo('public'), gone, { signal }),
    ).rejects.toBeInstanceOf(BlockNotFound);
  });

  it('tells nobody the details of its own faults', async () => {
    const answer = await fetch(`${origin}/public/bug`, {
      method: 'POST',
      body: '{"n":1}',
      headers: { 'content-type': 'application/json' },
    });
    expect(answer.status).toBe(500);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    const body = ProblemBody.parse(await answer.json());
    expect(body.type).toBe('problems/internal-error');
    expect(JSON.stringify(body)).not.toContain('secret');
  });

  it.each([
    ['/public/toolong', '{"n":1}', 'application/json', 400],
    ['/public/hey?times=9', '{"n":1}', 'application/json', 400],
    ['/public/hey?times=1&times=2', '{"n":1}', 'application/json', 400],
    ['/public/hey', '{"n":"x"}', 'application/json', 400],
    ['/public/hey', '{', 'application/json', 400],
    ['/public/hey', 'n=1', 'application/x-www-form-urlencoded', 415],
    ['/nowhere', '{}', 'application/json', 404],
  ])('refuses POST %s %s as a problem', async (path, body, type, status) => {
    const answer = await fetch(origin + path, {
      method: 'POST',
      body,
      headers: { 'content-type': type },
    });
    expect(answer.status).toBe(status);
    expect(ProblemBody.parse(await answer.json())).toMatchObject({ status });
  });

  it.each(['/public/a%FF', '/public/hey?name=a%FF'])('refuses %s as a problem', async (path) => {
    const answer = await fetch(origin + path, { method: 'POST' });
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });

  it('answers a request without Host with a problem', async () => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1');
    socket.write('GET /healthz HTTP/1.1\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 400 [\s\S]*the Host header is missing/);
    socket.destroy();
  });

  it('answers what is not HTTP with a problem, and goes on', async () => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1');
    socket.write('this is not http\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 400 [\s\S]*problems\/request-invalid/);
    socket.destroy();
    expect((await fetch(`${origin}/healthz`)).status).toBe(200);
  });

  it('answers headers that are too large with a problem', async () => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1');
    socket.write(`GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(17_000)}\r\n\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 431 [^]*problems\/headers-too-large/);
    socket.destroy();
  });

  it('is ready only when it says so', async () => {
    expect((await fetch(`${origin}/readyz`)).status).toBe(503);
    unready = undefined;
    expect(await (await fetch(`${origin}/readyz`)).json()).toEqual({
      status: 'ready',
      service: 'storage',
    });
  });

  it('measures and describes itself', async () => {
    const metrics = await (await fetch(`${origin}/metrics`)).text();
    expect(metrics).toMatch(
      /shoal_http_request_duration_seconds_count\{[^}]*route="\/public\/:word"/,
    );
    const openapi = (await (await fetch(`${origin}/openapi.json`)).json()) as { paths: object };
    expect(Object.keys(openapi.paths)).toContain('/blocks/{cid}');
  });
});
