import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Cid, PeerId, ProblemBody, type PublicRead, route, type Right } from '@shoal/protocol';
import * as z from 'zod';
import {
  ConfigError,
  createAccess,
  createLog,
  createProver,
  createRegistry,
  createSeed,
  createServer,
  createToken,
  deriveWriteToken,
  isSameToken,
  type KeyPair,
  keyPairOf,
  mount,
  readGivenToken,
  readWriteToken,
  recordIdOf,
  Roster,
  signRecord,
  type TokenDraft,
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

interface Doors {
  readonly writeToken?: string | undefined;
  readonly whenOwned?: string;
  readonly reads?: 'open' | 'token';
  readonly publicReads?: readonly PublicRead[];
  readonly roster?: Roster;
}

function serverWith({
  writeToken,
  whenOwned = writeToken ?? '',
  reads = 'open',
  publicReads = [],
  roster = new Roster(),
}: Doors) {
  const app = createServer({
    service: 'storage',
    log: createLog('test', 'silent'),
    registry: createRegistry('storage'),
    whyNotReady: () => undefined,
    hostNames: [],
    access: createAccess({
      ownToken: writeToken === undefined ? undefined : { text: writeToken, whenOwned },
      reads,
      publicReads,
      roster,
    }),
    prover,
  });
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const)
    mount({ app, prover, self }, door(method, 'public'), async () => ({}));
  mount({ app, prover, self }, door('POST', 'local'), async () => ({}));
  // As a library mounts its own: nobody told it of the guard.
  app.all('/foreign', async () => ({}));
  app.post('/own', { config: { guard: 'own' } }, async () => ({}));
  app.post('/admin', { config: { right: 'admin' } }, async () => ({}));
  app.get('/torrent', { config: { publicAs: 'torrents' } }, async () => ({}));
  app.get('/one', { config: { checksRoot: true } }, async ({ token: given }) => ({
    only: given?.only,
  }));
  return app;
}

describe('a service with a write token', () => {
  const app = serverWith({ writeToken: token });
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
    const app = serverWith({});
    const reply = await app.inject({ method: 'POST', url: '/public' });
    expect(reply.statusCode).toBe(200);
    await app.close();
  });
});

const newPair = (): KeyPair => keyPairOf(createSeed());
const owner = newPair();
const genesis = signRecord(
  { kind: 'genesis', recovery: newPair().id, atMs: 1, nonce: 'a nonce' },
  owner,
);
const swarm = recordIdOf(genesis);
const FILE = Cid.parse('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');
function ownedRoster() {
  const roster = new Roster();
  roster.take([genesis], { mayBegin: true });
  return roster;
}
const tokenWith = (may: Right[], draft: Partial<TokenDraft> = {}) =>
  createToken({ name: 'a token', may, atMs: 1, ...draft }, { swarm, key: owner });

/** What a server answers to this method and path with this token. */
async function statusOf(
  doors: Doors,
  line: string,
  text?: string,
  more: Record<string, string> = {},
): Promise<string> {
  const [method = '', url = ''] = line.split(' ');
  const app = serverWith(doors);
  const authorization = text === undefined ? {} : { authorization: `Bearer ${text}` };
  const reply = await app.inject({
    method: method as 'GET', // one that is injected
    url,
    headers: { host: 'localhost', ...authorization, ...more },
  });
  await app.close();
  const { type } = reply.statusCode < 400 ? { type: 'ok' } : ProblemBody.parse(reply.json());
  return `${reply.statusCode} ${type.replace('problems/', '')}`;
}

describe('a token with a scope', () => {
  const doors = { writeToken: token, roster: ownedRoster() };
  const LINES = ['GET /public', 'PUT /public', 'PATCH /foreign', 'DELETE /public', 'POST /admin'];

  it.each<[Right, string]>([
    ['read', '200 403 403 403 403'],
    ['write', '403 200 200 403 403'],
    ['delete', '403 403 403 200 403'],
    ['admin', '200 200 200 200 200'],
  ])(
    'that may %s may do that and nothing else, however open the peer is',
    async (right, answers) => {
      const { text } = tokenWith([right]);
      for (const open of [doors, { roster: doors.roster }]) {
        const statuses = await Promise.all(LINES.map((line) => statusOf(open, line, text)));
        expect(statuses.map((status) => status.slice(0, 3)).join(' ')).toBe(answers);
        expect(statuses.filter((status) => status.startsWith('403'))).not.toContain(
          '403 origin-refused',
        );
      }
    },
  );

  it('is refused when it ended, or the swarm has no owner, also for what is open', async () => {
    const ended = tokenWith(['read'], { expiresAtMs: 1 }).text;
    expect(await statusOf(doors, 'GET /public', ended)).toBe('401 token-wrong');
    expect(await statusOf({}, 'GET /public', tokenWith(['read']).text)).toBe('401 token-wrong');
  });

  it('ends with its time, and with a record that revokes it, where it was good before', async () => {
    const roster = ownedRoster();
    let nowMs = 10;
    const access = createAccess({
      ownToken: undefined,
      reads: 'token',
      publicReads: [],
      roster,
      nowMs: () => nowMs,
    });
    const short = tokenWith(['read'], { expiresAtMs: 20 }).text;
    const long = tokenWith(['read']);
    for (const text of [short, long.text])
      expect(access.judge(text)).toHaveProperty('rights.name', 'a token');
    nowMs = 20;
    expect(access.judge(short)).toEqual({ reason: expect.stringMatching(/expired/) });
    roster.take([signRecord({ kind: 'revoke', swarm, atMs: 2, token: long.id }, owner)]);
    expect(access.judge(long.text)).toEqual({ reason: expect.stringMatching(/revoked/) });
  });

  it('for one file comes only to routes that look at which file it is', async () => {
    const { text } = tokenWith(['read', 'admin'], { only: FILE });
    expect(await statusOf(doors, 'GET /one', text)).toBe('200 ok');
    for (const line of LINES) expect(await statusOf(doors, line, text)).toBe('403 right-missing');
  });

  it('may not do under the name of a read what is none', async () => {
    const more = { 'x-http-method-override': 'DELETE' };
    const { text } = tokenWith(['read', 'write', 'delete']);
    expect(await statusOf(doors, 'GET /foreign', text, more)).toBe('403 right-missing');
  });

  it('is handed on by own services, and judged there too', async () => {
    const more = prover.prove(self, { method: 'POST', path: '/local' });
    expect(await statusOf(doors, 'POST /local', tokenWith(['write']).text, more)).toBe('200 ok');
    const ended = tokenWith(['write'], { expiresAtMs: 1 }).text;
    expect(await statusOf(doors, 'POST /local', ended, more)).toBe('401 token-wrong');
  });
});

describe('a service whose reads need a token', () => {
  const doors: Doors = {
    writeToken: token,
    reads: 'token',
    publicReads: ['torrents'],
    roster: ownedRoster(),
  };

  it('gives nothing without one, but probes and what the operator left open', async () => {
    for (const line of ['GET /public', 'HEAD /public', 'GET /metrics', 'GET /foreign'])
      expect(await statusOf(doors, line).catch(() => '401 without a body')).toMatch(/^401/);
    for (const line of ['GET /healthz', 'GET /readyz', 'GET /openapi.json', 'GET /torrent'])
      expect(await statusOf(doors, line)).toBe('200 ok');
    expect(await statusOf({ ...doors, publicReads: [] }, 'GET /torrent')).toBe(
      '401 token-required',
    );
  });

  it('answers who has one, its own services, and no other bearer', async () => {
    expect(await statusOf(doors, 'GET /public', token)).toBe('200 ok');
    expect(await statusOf(doors, 'GET /metrics', tokenWith(['read']).text)).toBe('200 ok');
    expect(await statusOf(doors, 'GET /public', 'another-token-of-some')).toBe('401 token-wrong');
    const proof = prover.prove(self, { method: 'GET', path: '/public' });
    expect(await statusOf(doors, 'GET /public', undefined, proof)).toBe('200 ok');
    const other = prover.prove(self, { method: 'GET', path: '/metrics' });
    expect(await statusOf(doors, 'GET /public', undefined, other)).toBe('401 token-required');
  });
});

describe('a token made from the swarm key', () => {
  it('is good until the swarm has an owner; then that of the peer is', async () => {
    const derived = { writeToken: token, whenOwned: 'of-this-peer-alone' };
    expect(await statusOf(derived, 'PUT /public', token)).toBe('200 ok');
    expect(await statusOf(derived, 'PUT /public', 'of-this-peer-alone')).toBe('401 token-wrong');
    const owned = { ...derived, roster: ownedRoster() };
    expect(await statusOf(owned, 'PUT /public', token)).toBe('401 token-wrong');
    expect(await statusOf(owned, 'PUT /public', 'of-this-peer-alone')).toBe('200 ok');
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

  const peer = (
    host: string,
    more: { WRITE_TOKEN?: string; WRITE_OPEN?: boolean; READ?: 'token' } = {},
  ) => {
    const SWARM_KEY_FILE = join(folder, 'swarm.key');
    writeFileSync(SWARM_KEY_FILE, `${'5a'.repeat(32)}\n`);
    return readWriteToken({
      BIND_HOST: host,
      READ: 'open',
      SWARM_KEY_FILE,
      WRITE_OPEN: false,
      ...more,
    });
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

  it('is made from it on this machine too where reads need one, which nobody leaves open for writes', () => {
    expect(peer('127.0.0.1', { READ: 'token' })).toBe(peer('0.0.0.0'));
    expect(peer('127.0.0.1', { READ: 'token', WRITE_TOKEN: token })).toBe(token);
    expect(() => peer('127.0.0.1', { READ: 'token', WRITE_OPEN: true })).toThrow(ConfigError);
  });

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
