/** Whose token is refused for coming in clear text, and who is sent to HTTPS instead. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ClearText } from '../../src/tls/clear-text.ts';
import { listNetworks } from '../../src/process/client-address.ts';
import {
  createAccess,
  createLog,
  createRegistry,
  createServer,
  openClearText,
  Roster,
} from '../../src/index.ts';

const TOKEN = 'correct-horse-battery';
const FAR = '192.0.2.7';
const PROXY = '10.0.0.1';

function serverWith(clearText: Partial<ClearText> = {}, { hasHttps = false } = {}) {
  const app = createServer({
    service: 'gateway',
    log: createLog('test', 'silent'),
    registry: createRegistry('gateway'),
    whyNotReady: () => undefined,
    hostNames: ['files.team.example'],
    access: createAccess({
      ownToken: { text: TOKEN, whenOwned: TOKEN },
      reads: 'open',
      publicReads: [],
      roster: new Roster(),
    }),
    clearText: { proxies: listNetworks(['10.0.0.0/8']), takesTokens: false, ...clearText },
    people: hasHttps ? { tls: {}, onServing: () => {}, handshakes: { inc: () => {} } } : undefined,
  });
  app.all('/files', async () => ({}));
  return app;
}

type Server = ReturnType<typeof serverWith>;

/** Asks as from that address. */
async function ask(
  app: Server,
  remoteAddress: string,
  headers: Readonly<Record<string, string>>,
  { method = 'GET' as 'GET' | 'HEAD' | 'POST', url = '/files' } = {},
) {
  const answer = await app.inject({
    method,
    url,
    remoteAddress,
    headers: { host: 'files.team.example:7100', ...headers },
  });
  const type = /problems\/[\w-]+/.exec(answer.body)?.[0];
  return { status: answer.statusCode, type, headers: answer.headers };
}

const bearer = { authorization: `Bearer ${TOKEN}` };
const basic = { authorization: `Basic ${Buffer.from(`me:${TOKEN}`).toString('base64')}` };

describe('a token in clear text', () => {
  const app = serverWith();
  afterAll(() => app.close());

  it.each([
    ['from beyond this machine', FAR, bearer],
    ['in the other form', FAR, basic],
    [
      'that is wrong: it may be that of another peer',
      FAR,
      { authorization: 'bearer 1234567890123456' },
    ],
    ['whatever one that is no proxy says', FAR, { ...bearer, 'x-forwarded-proto': 'https' }],
    ['as a proxy says', PROXY, { ...bearer, 'x-forwarded-proto': 'http' }],
    ['by a proxy that says nothing of it', PROXY, { ...bearer, 'x-forwarded-for': FAR }],
    [
      'as the proxy says that is next to us',
      PROXY,
      { ...bearer, 'x-forwarded-proto': 'https, http' },
    ],
    ['by an address in the other family', `::ffff:${FAR}`, bearer],
  ])('%s is refused, for reads and writes', async (_, address, headers) => {
    for (const method of ['GET', 'POST'] as const) {
      const { status, type } = await ask(app, address, headers, { method });
      expect([status, type]).toEqual([403, 'problems/token-in-clear']);
    }
  });

  it.each([
    ['this machine', '127.0.0.1', bearer],
    ['this machine, in the other family', '::1', bearer],
    ['a proxy to which it came by HTTPS', PROXY, { ...bearer, 'x-forwarded-proto': 'https' }],
    ['a proxy that wrote it large', PROXY, { ...bearer, 'x-forwarded-proto': 'HTTPS' }],
  ])('is none from %s', async (_, address, headers) => {
    expect((await ask(app, address, headers, { method: 'POST' })).status).toBe(200);
  });

  it('is nothing to those who send none', async () => {
    expect((await ask(app, FAR, {})).status).toBe(200);
    expect(await ask(app, '127.0.0.1', {}, { method: 'POST' })).toMatchObject({ status: 401 });
  });

  it('is not asked for where it would be refused', async () => {
    const { status, type, headers } = await ask(app, FAR, {}, { method: 'POST' });
    expect([status, type]).toEqual([403, 'problems/token-in-clear']);
    expect(headers['www-authenticate']).toBeUndefined();
  });

  it('is taken when that was told', async () => {
    const open = serverWith({ takesTokens: true });
    expect((await ask(open, FAR, bearer, { method: 'POST' })).status).toBe(200);
    expect((await ask(open, FAR, {}, { method: 'POST' })).status).toBe(401);
    await open.close();
  });

  it('is refused as a rule', () => {
    const settings = { TRUSTED_PROXIES: [] };
    const off = openClearText({ ...settings, TOKENS_OVER_HTTP: 'off' });
    expect(off.takesTokens).toBe(false);
    expect(openClearText({ ...settings, TOKENS_OVER_HTTP: 'on' }).takesTokens).toBe(true);
  });
});

describe('a proxy on this machine, which is listed', () => {
  const app = serverWith({ proxies: listNetworks(['127.0.0.1']) });
  let origin = '';
  beforeAll(async () => {
    origin = await app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => app.close());

  it('decides by what it says, on a connection like any other', async () => {
    const statusOf = async (headers: Record<string, string>) =>
      (await fetch(`${origin}/files`, { headers: { ...bearer, ...headers } })).status;
    expect(await statusOf({})).toBe(200);
    expect(await statusOf({ 'x-forwarded-for': FAR })).toBe(403);
    expect(await statusOf({ 'x-forwarded-for': FAR, 'x-forwarded-proto': 'https' })).toBe(200);
  });
});

describe('a gateway that speaks HTTPS', () => {
  const app = serverWith({}, { hasHttps: true });
  afterAll(() => app.close());

  it.each(['GET', 'HEAD'] as const)('sends %s from elsewhere there', async (method) => {
    const { status, headers } = await ask(app, FAR, {}, { method, url: '/files?after=x' });
    expect(status).toBe(308);
    expect(headers.location).toBe('https://files.team.example:7100/files?after=x');
    expect(headers['cache-control']).toBe('no-store');
  });

  it('goes on answering this machine, proxies and probes, and tells writers why not', async () => {
    expect((await ask(app, '127.0.0.1', {})).status).toBe(200);
    expect((await ask(app, PROXY, { 'x-forwarded-proto': 'https' })).status).toBe(200);
    expect((await ask(app, PROXY, { 'x-forwarded-for': FAR })).status).toBe(200);
    for (const url of ['/healthz', '/readyz', '/metrics'])
      expect([url, (await ask(app, FAR, {}, { url })).status]).toEqual([url, 200]);
    expect((await ask(app, FAR, {}, { method: 'POST' })).status).toBe(403);
  });

  it('says that a token came in clear before it sends anybody on', async () => {
    expect((await ask(app, FAR, bearer)).type).toBe('problems/token-in-clear');
  });

  it('sends nobody to a name that is not its own', async () => {
    const { status, headers } = await ask(app, FAR, { host: 'evil.example' });
    expect([status, headers.location]).toEqual([403, undefined]);
  });
});
