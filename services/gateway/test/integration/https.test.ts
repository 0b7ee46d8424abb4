/** HTTPS for people: one port, a certificate that is renewed while bytes flow, and pairs that can't be served. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rename, symlink, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { connect as connectPlainly } from 'node:net';
import { fileURLToPath } from 'node:url';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { ConfigError } from '@shoal/chassis';
import { newPair, type TestPair } from './certificates.ts';
import { openFolder, openGateway, until } from './support.ts';

const EXPIRY = 'shoal_gateway_certificate_expires_timestamp_seconds';

async function openHttps(
  pair: TestPair,
  {
    settings = {},
    listener,
  }: {
    readonly settings?: Readonly<Record<string, string>>;
    readonly listener?: Parameters<typeof openGateway>[0]['transfer'];
  } = {},
) {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await openFolder());
  const files = { cert: join(folder, 'fullchain.pem'), key: join(folder, 'privkey.pem') };
  await writeFile(files.cert, pair.cert);
  await writeFile(files.key, pair.key);
  const gateway = stack.use(
    await openGateway(listener === undefined ? {} : { transfer: listener, discovery: listener }, {
      GATEWAY_TLS_CERT_FILE: files.cert,
      GATEWAY_TLS_KEY_FILE: files.key,
      GATEWAY_TLS_LOOK_MS: '50',
      BIND_HOST: '0.0.0.0', // 127.0.0.2 is a name that the certificates don't have
      WRITE_OPEN: 'true',
      ...settings,
    }),
  );
  const port = Number(new URL(gateway.origin).port);
  const running = stack.move();
  return {
    ...gateway,
    port,
    files,
    folder,
    /** As a browser: the certificate is checked. */
    get: (path: string, { ca, ...options }: Ask) =>
      answerTo(httpsRequest({ host: '127.0.0.1', port, path, ca, agent: false, ...options }).end()),
    metric: async (name: string) => {
      const text = await (await fetch(`${gateway.origin}/metrics`)).text();
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(name))
          ?.split(' ')
          .at(-1),
      );
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

interface Ask {
  readonly ca: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function answerTo(request: ReturnType<typeof httpRequest>) {
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  let body = '';
  for await (const bytes of answer) body += String(bytes);
  return { status: answer.statusCode, headers: answer.headers, body };
}

async function dial(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

describe('a gateway with a certificate', () => {
  it('speaks HTTPS and plain HTTP on one port', async () => {
    const pair = newPair();
    await using gateway = await openHttps(pair);
    const secure = await gateway.get('/', { ca: pair.cert });
    expect([secure.status, secure.body]).toEqual([200, expect.stringContaining('<title>')]);
    expect(secure.headers['strict-transport-security']).toBeUndefined();
    expect((await fetch(`${gateway.origin}/`)).status).toBe(200);
    expect(await gateway.metric('shoal_gateway_tls_handshakes_total')).toBe(1);
  });

  it('speaks TLS 1.2 and 1.3 and none before, and HTTP/1.1 where both sides say what they speak', async () => {
    const pair = newPair();
    await using gateway = await openHttps(pair);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const ALPNProtocols = ['h2', 'http/1.1'];
      const tls = { ca: pair.cert, minVersion: version, maxVersion: version, ALPNProtocols };
      const socket = await dial(gateway.port, tls);
      expect([socket.getProtocol(), socket.alpnProtocol]).toEqual([version, 'http/1.1']);
      socket.destroy();
    }
    const old = { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const;
    await expect(dial(gateway.port, { ca: pair.cert, ...old })).rejects.toThrow(
      /alert|protocol|version|EPROTO/i,
    );
  });

  it('tells the services behind that the client came by HTTPS, whatever it says itself', async () => {
    const pair = newPair();
    const seen: unknown[] = [];
    await using gateway = await openHttps(pair, {
      listener: (request, response) => {
        seen.push(request.headers['x-forwarded-proto']);
        response.end('ok');
      },
    });
    const path = `/files/${'a'.repeat(64)}`;
    await gateway.get(path, { ca: pair.cert, headers: { 'x-forwarded-proto': 'http' } });
    await fetch(gateway.origin + path);
    expect(seen).toEqual(['https', undefined]);
  });

  it('takes no page that came in clear for its own', async () => {
    const pair = newPair();
    await using gateway = await openHttps(pair);
    const ask = (origin: string) =>
      gateway.get('/events', { ca: pair.cert, method: 'POST', headers: { origin } });
    const { port } = gateway;
    expect((await ask(`http://127.0.0.1:${port}`)).status).toBe(403);
    expect((await ask(`https://127.0.0.1:${port}`)).status).toBe(405);
  });

  it('has browsers remember it when it is told to', async () => {
    const pair = newPair();
    await using gateway = await openHttps(pair, { settings: { GATEWAY_HSTS_SECONDS: '60' } });
    const { headers } = await gateway.get('/', { ca: pair.cert });
    expect(headers['strict-transport-security']).toBe('max-age=60');
    const plain = await fetch(`${gateway.origin}/`);
    expect(plain.headers.get('strict-transport-security')).toBeNull();
  });

  it('goes on answering others while one says nothing and one says nonsense', async () => {
    const pair = newPair();
    await using gateway = await openHttps(pair);
    const mute = connectPlainly(gateway.port, '127.0.0.1');
    const garbler = connectPlainly(gateway.port, '127.0.0.1');
    const garbled = once(garbler, 'close');
    garbler.on('error', () => {}).resume();
    garbler.write(Buffer.concat([Buffer.of(0x16, 3, 1, 0, 5), Buffer.alloc(5, 0xff)]));
    await garbled;
    expect((await gateway.get('/healthz', { ca: pair.cert })).status).toBe(200);
    mute.destroy();
  });
});

describe('the command line', () => {
  const CLI = fileURLToPath(new URL('../../../../packages/cli/src/main.ts', import.meta.url));
  const run = async (peer: string, env: Readonly<Record<string, string>> = {}) => {
    const child = spawn(process.execPath, ['--no-warnings', CLI, 'ls', '--peer', peer], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (bytes) => (err += String(bytes)));
    const [code] = (await once(child, 'close')) as [number];
    return { code, err };
  };

  it('asks a peer by HTTPS, and trusts the authorities that it is given alone', async () => {
    const pair = newPair();
    await using gateway = await openHttps(pair, {
      listener: (_, response) => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ files: [], total: 0 }));
      },
    });
    const untrusted = await run(`https://localhost:${gateway.port}`);
    expect([untrusted.code, untrusted.err]).toEqual([1, expect.stringContaining('is not trusted')]);
    const env = { NODE_EXTRA_CA_CERTS: gateway.files.cert };
    expect(await run(`https://localhost:${gateway.port}`, env)).toEqual({ code: 0, err: '' });
    const other = await run(`https://127.0.0.2:${gateway.port}`, env);
    expect([other.code, other.err]).toEqual([1, expect.stringContaining('is for other names')]);
  });
});

describe('a certificate that is renewed', () => {
  it('is given to new connections, and a download under way goes on with the one before', async () => {
    const before = newPair({ notAfter: new Date('2030-01-01') });
    const after = newPair({ notAfter: new Date('2031-01-01') });
    let end = () => {};
    await using gateway = await openHttps(before, {
      listener: (_, response) => {
        response.write('first ');
        end = () => void response.end('last');
      },
    });
    const request = httpsRequest({
      host: '127.0.0.1',
      port: gateway.port,
      path: `/files/${'a'.repeat(64)}`,
      ca: before.cert,
      agent: false,
    }).end();
    const [download] = (await once(request, 'response')) as [IncomingMessage];
    await once(download, 'readable');
    // As certbot does it: links to another folder, put in the place of what was there.
    const renewed = {
      cert: join(gateway.folder, 'cert2.pem'),
      key: join(gateway.folder, 'key2.pem'),
    };
    await writeFile(renewed.cert, after.cert);
    await writeFile(renewed.key, after.key);
    for (const name of ['key', 'cert'] as const) {
      await symlink(renewed[name], `${gateway.files[name]}.new`);
      await rename(`${gateway.files[name]}.new`, gateway.files[name]);
    }
    const expiry = Date.parse('2031-01-01') / 1000;
    await until(async () => (await gateway.metric(EXPIRY)) === expiry, 'the new one is served');
    expect((await gateway.get('/healthz', { ca: after.cert })).status).toBe(200);
    await expect(gateway.get('/healthz', { ca: before.cert })).rejects.toThrow(
      /self-signed|certificate/,
    );
    end();
    let body = '';
    for await (const bytes of download) body += String(bytes);
    expect(body).toBe('first last');
  });

  it.each([
    ['is another key', () => ({ ...newPair(), key: newPair().key })],
    ['is no PEM', () => ({ ...newPair(), cert: 'a certificate' })],
    ['has expired', () => newPair({ notAfter: new Date('2020-01-01') })],
  ])('is refused when it %s, and the one before goes on being served', async (_, make) => {
    const pair = newPair();
    await using gateway = await openHttps(pair);
    const bad = make();
    await writeFile(gateway.files.cert, bad.cert);
    await writeFile(gateway.files.key, bad.key);
    const refused = 'shoal_gateway_certificate_renewals_total{outcome="refused"';
    await until(async () => (await gateway.metric(refused)) >= 1, 'it was refused');
    expect((await gateway.get('/healthz', { ca: pair.cert })).status).toBe(200);
    await writeFile(gateway.files.cert, pair.cert);
    await writeFile(gateway.files.key, pair.key);
    expect((await gateway.get('/healthz', { ca: pair.cert })).status).toBe(200);
  });
});

describe('a pair that can not be served at the start', () => {
  const good = newPair();
  it.each([
    [
      'a key of another',
      { ...good, key: newPair().key },
      /KEY_FILE.*privkey.*not that of.*fullchain/,
    ],
    [
      'no certificate',
      { ...good, cert: 'x' },
      /CERT_FILE: .*fullchain\.pem must hold a certificate/,
    ],
    ['no key', { ...good, key: good.cert }, /KEY_FILE: .*privkey\.pem must hold a private key/],
  ])('%s is told by setting and file', async (_, pair, told) => {
    const failure = await openHttps(pair).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(ConfigError);
    expect(String(failure)).toMatch(told);
  });

  it('is told when only one of the two is named, or a file is missing', async () => {
    await expect(openGateway({}, { GATEWAY_TLS_CERT_FILE: '/x' })).rejects.toThrow(/both, or none/);
    const files = { GATEWAY_TLS_CERT_FILE: '/nowhere/cert', GATEWAY_TLS_KEY_FILE: '/nowhere/key' };
    await expect(openGateway({}, files)).rejects.toThrow(/CERT_FILE: can't read \/nowhere\/cert/);
  });

  it('is served, with a warning, when it has expired: the peer is more than its page', async () => {
    const pair = newPair({ notAfter: new Date('2020-01-01') });
    await using gateway = await openHttps(pair);
    expect(await gateway.metric(EXPIRY)).toBe(Date.parse('2020-01-01') / 1000);
  });
});
