import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PeerId, ProblemBody, route } from '@shoal/protocol';
import * as z from 'zod';
import {
  ConfigError,
  createLog,
  createProver,
  createRegistry,
  createServer,
  deriveWriteToken,
  isSameToken,
  mount,
  readGivenToken,
  readWriteToken,
} from '../../src/index.ts';

const token = 'correct-horse-battery';
const self = PeerId.parse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5');
const prover = createProver(Buffer.alloc(32, 1), self, Buffer.alloc(64, 2));
const none = z.object({});
const door = (method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', audience: 'public' | 'local') =>
  route({
    service: 'storage',
    audience,
    method,
    path: `/${audience}`,
    summary: 'Says yes.',
    params: none,
    query: none,
    body: undefined,
    reply: none,
  });

function serverWith(writeToken: string | undefined) {
  const app = createServer({
    service: 'storage',
    log: createLog('test', 'silent'),
    registry: createRegistry('storage'),
    whyNotReady: () => undefined,
    hostNames: [],
    writeToken,
  });
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const)
    mount({ app, prover, self }, door(method, 'public'), async () => ({}));
  mount({ app, prover, self }, door('POST', 'local'), async () => ({}));
  // As a library mounts its own: nobody told it of the guard.
  app.all('/foreign', async () => ({}));
  app.post('/own', { config: { guard: 'own' } }, async () => ({}));
  return app;
}

describe('a service with a write token', () => {
  const app = serverWith(token);
  let origin = '';
  beforeAll(async () => {
    origin = await app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => app.close());

  const ask = (method: string, path: string, authorization?: string) =>
    fetch(origin + path, {
      method,
      headers: authorization === undefined ? {} : { authorization },
    });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('refuses %s without it', async (method) => {
    const reply = await ask(method, '/public');
    expect(reply.status).toBe(401);
    expect(reply.headers.get('www-authenticate')).toBe('Bearer');
    const problem = ProblemBody.parse(await reply.json());
    expect(problem.type).toBe('problems/token-required');
    expect(problem.detail).toMatch(/Authorization: Bearer.*/);
    expect(problem.detail).toContain('WRITE_TOKEN');
  });

  it.each([
    'Bearer',
    'Bearer ',
    `Bearer ${token}x`,
    `Bearer ${token.slice(1)}`,
    `Basic ${Buffer.from(`me:${token}`).toString('base64')}`,
    token,
  ])('refuses a write with "%s"', async (authorization) => {
    const reply = await ask('POST', '/public', authorization);
    expect(reply.status).toBe(401);
    expect(reply.headers.get('www-authenticate')).toBe('Bearer');
    const text = await reply.text();
    expect(ProblemBody.parse(JSON.parse(text)).type).toBe('problems/token-wrong');
    expect(text).not.toContain(token);
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('takes %s with it', async (method) => {
    const reply = await ask(method, '/public', `bearer ${token}`);
    expect(reply.status).toBe(200);
    expect(reply.headers.get('www-authenticate')).toBeNull();
  });

  it('lets everybody read', async () => {
    for (const method of ['GET', 'HEAD']) expect((await ask(method, '/public')).status).toBe(200);
    expect((await ask('OPTIONS', '/foreign')).status).toBe(200);
    expect((await ask('GET', '/healthz', 'Bearer nonsense')).status).toBe(200);
  });

  it('guards what was mounted without a word about it, and not what guards itself', async () => {
    expect((await ask('POST', '/foreign')).status).toBe(401);
    expect((await ask('PATCH', '/foreign', `Bearer ${token}`)).status).toBe(200);
    expect((await ask('POST', '/own')).status).toBe(200);
  });

  it('takes no read for one that says it is a write', async () => {
    const headers = { 'x-http-method-override': 'DELETE' };
    expect((await fetch(`${origin}/foreign`, { headers })).status).toBe(401);
  });

  it('asks its own services for their proof alone', async () => {
    expect(ProblemBody.parse(await (await ask('POST', '/local')).json()).type).toBe(
      'problems/proof-refused',
    );
    const headers = prover.prove(self, { method: 'POST', path: '/local' });
    expect((await fetch(`${origin}/local`, { method: 'POST', headers })).status).toBe(200);
  });

  it('says of what is not there that it is not there', async () => {
    expect((await ask('POST', '/nowhere')).status).toBe(404);
  });
});

describe('a service without a write token', () => {
  it('lets everybody write', async () => {
    const app = serverWith(undefined);
    const reply = await app.inject({ method: 'POST', url: '/public' });
    expect(reply.statusCode).toBe(200);
    await app.close();
  });
});

describe('the setting', () => {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-token-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const fileWith = (text: string) => {
    const file = join(folder, 'token');
    writeFileSync(file, text);
    return file;
  };

  it('is a value, a file, or nothing', () => {
    expect(readGivenToken({ WRITE_TOKEN: token })).toBe(token);
    expect(readGivenToken({ WRITE_TOKEN_FILE: fileWith(`${token}\n`) })).toBe(token);
    expect(readGivenToken({})).toBeUndefined();
    expect(readGivenToken({ WRITE_TOKEN: '', WRITE_TOKEN_FILE: '' })).toBeUndefined();
  });

  const peer = (host: string, more: { WRITE_TOKEN?: string; WRITE_OPEN?: boolean } = {}) => {
    const SWARM_KEY_FILE = join(folder, 'swarm.key');
    writeFileSync(SWARM_KEY_FILE, `${'5a'.repeat(32)}\n`);
    return readWriteToken({ BIND_HOST: host, SWARM_KEY_FILE, WRITE_OPEN: false, ...more });
  };

  it.each(['127.0.0.1', '127.3.2.1', '::1', 'localhost', 'Shoal.localhost'])(
    'need not be where only this machine comes in: %s',
    (host) => {
      expect(peer(host)).toBeUndefined();
      expect(peer(host, { WRITE_TOKEN: token })).toBe(token);
    },
  );

  it.each(['0.0.0.0', '::', '192.0.2.7', '10.0.0.1', 'nas', '::ffff:192.0.2.7'])(
    'is made from the swarm key on a network, unless one is given or it is to be open: %s',
    (host) => {
      expect(peer(host)).toBe('2de9ced6f3623ca4a836db36428000a66c92d098c4f24172');
      expect(peer(host, { WRITE_TOKEN: token, WRITE_OPEN: true })).toBe(token);
      expect(peer(host, { WRITE_OPEN: true })).toBeUndefined();
    },
  );

  it('is another for another key', () => {
    expect(deriveWriteToken(Buffer.alloc(32, 1))).not.toBe(deriveWriteToken(Buffer.alloc(32, 2)));
  });

  it('is refused when it is given twice, or its file is absent, empty or holds no token', () => {
    const file = fileWith(token);
    expect(() => readGivenToken({ WRITE_TOKEN: token, WRITE_TOKEN_FILE: file })).toThrow(
      ConfigError,
    );
    expect(() => readGivenToken({ WRITE_TOKEN_FILE: join(folder, 'absent') })).toThrow(ConfigError);
    for (const text of ['', 'too short', 'has a blank in its middle'])
      expect(() => readGivenToken({ WRITE_TOKEN_FILE: fileWith(text) })).toThrow(ConfigError);
  });
});

describe('the comparison', () => {
  it('knows the same from another', () => {
    expect(isSameToken(token, token)).toBe(true);
    for (const other of ['', 'x', `${token} `, token.toUpperCase()])
      expect(isSameToken(other, token)).toBe(false);
  });
});
