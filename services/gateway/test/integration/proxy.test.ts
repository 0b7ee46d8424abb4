import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { createClients, openIdentity } from '@shoal/chassis';
import { MiB, PROOF_HEADER, ProblemBody } from '@shoal/protocol';
import { programOf } from '@shoal/testkit';
import type { FastifyRequest } from 'fastify';
import { request } from 'undici';
import { TABLE } from '../../src/proxy/table.ts';
import { openGateway, openUpstreams, until } from './support.ts';

const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

async function problemOf(answer: { body: { json(): Promise<unknown> } }) {
  return ProblemBody.parse(await answer.body.json());
}

/** Asks for a path exactly as it is written, as no URL would leave it. */
async function statusOf(origin: string, { method, path }: { method: string; path: string }) {
  const { hostname, port } = new URL(origin);
  const sent = httpRequest({ hostname, port, method, path }).end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  await answer.resume().toArray();
  return answer.statusCode;
}

/** Bytes that are made on the way, so that no test holds them all. */
function* bytes(sizeBytes: number): Generator<Buffer> {
  const block = createHash('sha512').update('seed').digest();
  const chunk = Buffer.alloc(64 * 1024, block);
  for (let sent = 0; sent < sizeBytes; sent += chunk.length)
    yield chunk.subarray(0, Math.min(chunk.length, sizeBytes - sent));
}

/** The most memory that a process had so far, in bytes. */
async function peakOf({ pid }: { pid?: number | undefined }): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

function digestOf(sizeBytes: number): string {
  const hash = createHash('sha256');
  for (const chunk of bytes(sizeBytes)) hash.update(chunk);
  return hash.digest('hex');
}

describe('the proxy', () => {
  it('passes method, path, query, headers and status as they are, and no proof', async () => {
    let seen: IncomingMessage | undefined;
    await using gateway = await openGateway({
      chunker: (incoming, outgoing) => {
        seen = incoming;
        incoming.resume().once('end', () => {
          outgoing.writeHead(202, { location: `/files/${cid}`, 'keep-alive': 'timeout=1' });
          outgoing.end('{"ok":true}');
        });
      },
    });
    const answer = await request(`${gateway.origin}/files/a%2Fb%20%C3%BC.txt?copies=3`, {
      method: 'PUT',
      body: 'hello',
      headers: { [PROOF_HEADER]: 'v1 someone mac', 'repr-digest': 'sha-256=:x:', te: 'trailers' },
    });
    expect(answer.statusCode).toBe(202);
    expect(answer.headers['location']).toBe(`/files/${cid}`);
    expect(await answer.body.text()).toBe('{"ok":true}');
    expect(seen?.method).toBe('PUT');
    expect(seen?.url).toBe('/files/a%2Fb%20%C3%BC.txt?copies=3');
    expect(seen?.headers['repr-digest']).toBe('sha-256=:x:');
    expect(seen?.headers['content-length']).toBe('5');
    expect(seen?.headers['host']).toBe(new URL(gateway.origin).host);
    expect(seen?.headers[PROOF_HEADER]).toBeUndefined();
    expect(seen?.headers['te']).toBeUndefined();
  });

  it('passes names of the greatest length on', async () => {
    let url: string | undefined;
    await using gateway = await openGateway({
      chunker: (incoming, outgoing) => {
        url = incoming.url;
        incoming.resume().once('end', () => outgoing.end('{}'));
      },
    });
    const path = `/files/${'%C3%BC'.repeat(127)}`;
    await request(`${gateway.origin}${path}`, { method: 'PUT', body: 'x' });
    expect(url).toBe(path);
  });

  it('passes ranges and HEAD on', async () => {
    const seen: unknown[] = [];
    await using gateway = await openGateway({
      transfer: (incoming, outgoing) => {
        seen.push(incoming.method, incoming.headers.range, incoming.headers['if-range']);
        outgoing.writeHead(206, {
          'content-length': '3',
          'content-range': 'bytes 1-3/9',
          etag: '"x"',
        });
        outgoing.end('abc');
      },
    });
    const headers = { range: 'bytes=1-3', 'if-range': '"x"' };
    const part = await request(`${gateway.origin}/files/${cid}`, { headers });
    expect([part.statusCode, await part.body.text()]).toEqual([206, 'abc']);
    const head = await request(`${gateway.origin}/files/${cid}`, { method: 'HEAD', headers });
    expect([head.headers['content-length'], await head.body.text()]).toEqual(['3', '']);
    expect(head.headers['content-range']).toBe('bytes 1-3/9');
    expect(seen).toEqual(['GET', 'bytes=1-3', '"x"', 'HEAD', 'bytes=1-3', '"x"']);
  });

  it('takes a body that waits for 100 Continue', async () => {
    await using gateway = await openGateway({
      chunker: (incoming, outgoing) => {
        incoming.pipe(outgoing);
      },
    });
    const sent = httpRequest(`${gateway.origin}/files?name=a`, {
      method: 'POST',
      headers: { expect: '100-continue', 'content-length': '2' },
    });
    sent.flushHeaders();
    await once(sent, 'continue');
    sent.end('ok');
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    expect(await Readable.from(answer).toArray()).toEqual([Buffer.from('ok')]);
  });

  it('streams both ways at once, without waiting for the end of the body', async () => {
    await using gateway = await openGateway({
      chunker: (incoming, outgoing) => {
        outgoing.flushHeaders();
        incoming.pipe(outgoing);
      },
    });
    const sent = httpRequest(`${gateway.origin}/files?name=a`, { method: 'POST' });
    sent.write('one');
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    expect(String((await once(answer, 'data'))[0])).toBe('one');
    sent.write('two');
    expect(String((await once(answer, 'data'))[0])).toBe('two');
    sent.end();
    await once(answer, 'end');
  });

  it('carries 128 MiB up and down in constant memory', async () => {
    const sizeBytes = 128 * MiB;
    const expected = digestOf(sizeBytes);
    await using upstreams = await openUpstreams({
      chunker: (incoming, outgoing) => {
        const hash = createHash('sha256');
        incoming.on('data', (chunk: Buffer) => hash.update(chunk));
        incoming.once('end', () => outgoing.end(hash.digest('hex')));
      },
      transfer: (_, outgoing) => {
        outgoing.setHeader('content-length', sizeBytes);
        Readable.from(bytes(sizeBytes)).pipe(outgoing);
      },
    });
    const main = programOf('services/gateway');
    const child = spawn(process.execPath, ['--max-semi-space-size=1', main], {
      env: { ...upstreams.env, LOG_LEVEL: 'info' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      let output = '';
      child.stdout.on('data', (text: Buffer) => (output += text.toString()));
      await until(() => output.includes('"origin"'), 'the gateway listens', 15_000);
      const origin = String(/"origin":"([^"]+)"/.exec(output)?.[1]);
      const before = await peakOf(child);
      const up = await request(`${origin}/files?name=a`, {
        method: 'POST',
        body: Readable.from(bytes(sizeBytes)),
      });
      expect(await up.body.text()).toBe(expected);
      const down = await request(`${origin}/files/${cid}`);
      const hash = createHash('sha256');
      for await (const chunk of down.body) hash.update(chunk as Buffer);
      expect(hash.digest('hex')).toBe(expected);
      const grownBytes = (await peakOf(child)) - before;
      expect(grownBytes).toBeLessThan(96 * MiB);
    } finally {
      child.kill('SIGTERM');
      const [code] = await once(child, 'exit');
      expect(code).toBe(0);
    }
  }, 120_000);
});

describe('when something breaks', () => {
  it.each(['/files', `/files/${cid}`, `/files/${cid}/health`, '/peers'])(
    'answers 503 for %s while its service is down',
    async (path) => {
      await using gateway = await openGateway({});
      const answer = await request(`${gateway.origin}${path}`);
      expect(answer.statusCode).toBe(503);
      expect(answer.headers['content-type']).toContain('application/problem+json');
      expect(answer.headers['retry-after']).toBe('1');
      expect((await problemOf(answer)).type).toBe('problems/service-unavailable');
    },
  );

  it('answers 503 to an upload while the chunker is down, whatever its size', async () => {
    await using gateway = await openGateway({});
    const answer = await request(`${gateway.origin}/files?name=a`, {
      method: 'POST',
      body: Readable.from(bytes(8 * MiB)),
    });
    expect([answer.statusCode, (await problemOf(answer))['service']]).toEqual([503, 'chunker']);
  });

  it('delivers an answer that comes before the body is complete', async () => {
    await using gateway = await openGateway({
      chunker: (_, outgoing) => {
        outgoing.writeHead(507, {
          'content-type': 'application/problem+json',
        });
        outgoing.end('{"type":"problems/storage-full"}');
      },
    });
    const sent = httpRequest(`${gateway.origin}/files?name=a`, {
      method: 'POST',
      headers: { 'content-length': String(64 * MiB) },
    });
    sent.on('error', () => {}); // the rest of the body is not wanted
    Readable.from(bytes(4 * MiB)).pipe(sent, { end: false });
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(507);
    expect(Buffer.concat(await Readable.from(answer).toArray()).toString()).toContain(
      'storage-full',
    );
    sent.destroy();
  });

  it('destroys the client’s socket when an answer breaks in its middle', async () => {
    await using gateway = await openGateway({
      transfer: (_, outgoing) => {
        outgoing.writeHead(200); // chunked: only the missing end tells that bytes are missing
        outgoing.write('half', () => outgoing.destroy());
      },
    });
    const answer = await request(`${gateway.origin}/files/${cid}`);
    expect(answer.statusCode).toBe(200);
    await expect(answer.body.text()).rejects.toThrow(/closed|terminated/);
    const metrics = await (await request(`${gateway.origin}/metrics`)).body.text();
    expect(metrics).toMatch(/requests_total\{upstream="transfer",outcome="broken".*\} 1/);
  });

  it('ends the request upstream when the client leaves an upload', async () => {
    let hasLeft = false;
    let receivedBytes = 0;
    await using gateway = await openGateway({
      chunker: (incoming) => {
        incoming.on('data', (chunk: Buffer) => (receivedBytes += chunk.length));
        incoming.on('error', () => {});
        incoming.once('close', () => (hasLeft = !incoming.complete));
      },
    });
    const sent = httpRequest(`${gateway.origin}/files?name=a`, {
      method: 'POST',
      headers: { 'content-length': '1000' },
    });
    sent.on('error', () => {});
    sent.write('some');
    await until(() => receivedBytes === 4, 'the body arrives');
    sent.destroy();
    await until(() => hasLeft, 'the chunker sees the client leave');
    expect(receivedBytes).toBe(4);
  });

  it.each(['before', 'after'])(
    'ends the request upstream when the client leaves %s the answer began',
    async (moment) => {
      let hasCome = false;
      let hasLeft = false;
      await using gateway = await openGateway({
        transfer: (_, outgoing) => {
          hasCome = true;
          if (moment === 'after') outgoing.write('first');
          outgoing.once('close', () => (hasLeft = true));
        },
      });
      const sent = httpRequest(`${gateway.origin}/files/${cid}`).end();
      sent.on('error', () => {});
      if (moment === 'before') await until(() => hasCome, 'the request arrives');
      else {
        const [answer] = (await once(sent, 'response')) as [IncomingMessage];
        answer.on('error', () => {});
        await once(answer, 'data');
      }
      expect(hasLeft).toBe(false);
      sent.destroy();
      await until(() => hasLeft, 'transfer sees the client leave');
      await until(async () => {
        const metrics = await (await request(`${gateway.origin}/metrics`)).body.text();
        return /outcome="client-left".*\} 1/.test(metrics) && /requests_open\{.*\} 0/.test(metrics);
      }, 'it is counted');
    },
  );

  it('stops reading upstream while the client doesn’t read', async () => {
    let writtenBytes = 0;
    await using gateway = await openGateway({
      transfer: (_, outgoing) => {
        const source = Readable.from(bytes(256 * MiB));
        source.on('data', (chunk: Buffer) => (writtenBytes += chunk.length));
        source.pipe(outgoing);
        outgoing.once('close', () => source.destroy());
      },
    });
    const { hostname, port } = new URL(gateway.origin);
    const socket = connect(Number(port), hostname);
    socket.pause();
    socket.write(`GET /files/${cid} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
    let before = -1;
    let since = performance.now();
    await until(
      () => {
        if (writtenBytes !== before) [before, since] = [writtenBytes, performance.now()];
        return writtenBytes > 0 && performance.now() - since > 300;
      },
      'the flow stands still',
      10_000,
    );
    expect(writtenBytes).toBeLessThan(64 * MiB);
    socket.destroy();
  }, 20_000);

  it('gives up on a service that accepts and never answers', async () => {
    await using gateway = await openGateway(
      { discovery: () => {}, chunker: (incoming) => incoming.resume() },
      { GATEWAY_ANSWER_TIMEOUT_MS: '200', GATEWAY_UPLOAD_ANSWER_TIMEOUT_MS: '200' },
    );
    const read = await request(`${gateway.origin}/peers`);
    expect([read.statusCode, (await problemOf(read))['service']]).toEqual([503, 'discovery']);
    const write = await request(`${gateway.origin}/files?name=a`, { method: 'POST', body: 'x' });
    expect([write.statusCode, (await problemOf(write))['service']]).toEqual([503, 'chunker']);
  });

  it('gives up on a body that does not begin', async () => {
    await using gateway = await openGateway(
      { chunker: (incoming) => incoming.resume() },
      { GATEWAY_BODY_BEGIN_TIMEOUT_MS: '200' },
    );
    const { hostname, port } = new URL(gateway.origin);
    const socket = connect(Number(port), hostname);
    socket.write('POST /files?name=a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n');
    const answer = Buffer.concat(await socket.toArray()).toString();
    expect(answer).toMatch(/^HTTP\/1.1 408 [^]*connection: close[^]*problems\/body-too-slow/i);
  });

  it('has no more requests at once than it was told', async () => {
    let open = 0;
    await using gateway = await openGateway(
      { discovery: () => void open++ },
      { GATEWAY_REQUESTS_MAX: '1' },
    );
    const first = httpRequest(`${gateway.origin}/peers`).end();
    first.on('error', () => {});
    await until(() => open === 1, 'the first request arrives');
    const second = await request(`${gateway.origin}/peers`);
    expect([second.statusCode, (await problemOf(second)).type]).toEqual([
      503,
      'problems/overloaded',
    ]);
    first.destroy();
  });
});

describe('clients of the gateway', () => {
  it('are named to the services, whatever they call themselves', async () => {
    const seen: (string | undefined)[] = [];
    await using gateway = await openGateway(
      {
        discovery(incoming, outgoing) {
          const { method = '', url = '', headers, socket } = incoming;
          const request = { method, url, headers, socket } as unknown as FastifyRequest;
          seen.push(clients.of(request));
          outgoing.end('[]');
        },
      },
      { TRUSTED_PROXIES: '127.0.0.9' },
    );
    const { peerId, privateKeyRaw } = openIdentity(join(gateway.path, 'identity.key'));
    const access = { judge: () => 'nothing' as const };
    const facts = { self: peerId, trustedProxies: [], access };
    const clients = createClients({ ...facts, localSecret: privateKeyRaw });
    const others = createClients({ ...facts, localSecret: privateKeyRaw.toReversed() });
    const ask = async (localAddress: string, headers: Record<string, string>) => {
      const sent = httpRequest(`${gateway.origin}/peers?a`, { localAddress, headers }).end();
      const [answer] = (await once(sent, 'response')) as [IncomingMessage];
      await answer.resume().toArray();
    };
    await ask('127.0.0.2', {});
    await ask('127.0.0.3', others.vouch('192.0.2.7', { method: 'GET', path: '/peers?a' }));
    await ask('127.0.0.4', { 'x-forwarded-for': '192.0.2.7' });
    await ask('127.0.0.9', { 'x-forwarded-for': '6.6.6.6, 192.0.2.7' });
    expect(seen).toEqual(['127.0.0.2', '127.0.0.3', '127.0.0.4', '192.0.2.7']);
  });

  it('have their share of the requests, however many another one has', async () => {
    let open = 0;
    await using gateway = await openGateway(
      { discovery: ({ url }, outgoing) => (url === '/peers' ? void open++ : outgoing.end()) },
      { GATEWAY_REQUESTS_MAX: '2' },
    );
    const hanging = [1, 2].map(() => httpRequest(`${gateway.origin}/peers`).end());
    const ended = hanging.map((sent) => once(sent, 'response') as Promise<[IncomingMessage]>);
    for (const answer of ended) answer.catch(() => {}); // that of the first is looked at by nobody
    await until(() => open === 2, 'both are open');
    const sent = httpRequest(`${gateway.origin}/peers?a`, { localAddress: '127.0.0.2' }).end();
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    expect(answer.resume().statusCode).toBe(200);
    const [gaveWay] = await Promise.race(ended);
    expect(gaveWay.statusCode).toBe(503);
    expect(String(Buffer.concat(await gaveWay.toArray()))).toContain('problems/gave-way');
    for (const each of hanging) each.on('error', () => {}).destroy();
  });
});

describe('the front door', () => {
  it.each([
    ['GET', '/members'],
    ['GET', '/pins'],
    ['GET', `/pins/${cid}`],
    ['POST', '/wants'],
    ['GET', `/blocks/${cid}`],
    ['POST', '/blocks?codec=raw'],
    ['POST', '/replicas'],
    ['DELETE', '/leases/0'],
    ['GET', '/stats'],
  ] as const)('is closed to %s %s', async (method, path) => {
    let calls = 0;
    const count = () => void calls++;
    await using gateway = await openGateway({
      chunker: count,
      storage: count,
      transfer: count,
      discovery: count,
    });
    for (const variant of [path, `/${path}`, `/files/..${path}`, `/files/%2e%2e${path}`]) {
      expect([404, 405]).toContain(await statusOf(gateway.origin, { method, path: variant }));
    }
    expect(calls).toBe(0);
  });

  it('refuses writes that a page of another site makes, and takes those of its own', async () => {
    let calls = 0;
    await using gateway = await openGateway({
      chunker: (incoming, outgoing) => {
        calls++;
        incoming.resume().once('end', () => outgoing.end('{}'));
      },
    });
    const write = (origin: string) =>
      request(`${gateway.origin}/files?name=a`, { method: 'POST', body: 'x', headers: { origin } });
    const refused = await write('https://evil.example');
    expect([refused.statusCode, (await problemOf(refused)).type]).toEqual([
      403,
      'problems/origin-refused',
    ]);
    expect(calls).toBe(0);
    expect((await write(gateway.origin)).statusCode).toBe(200);
  });

  it('passes changes and deletions on to discovery, and refuses those of a page of another site', async () => {
    const seen: unknown[] = [];
    await using gateway = await openGateway({
      discovery: (incoming, outgoing) => {
        const { method, url, headers } = incoming;
        void incoming.toArray().then((pieces) => {
          const body = Buffer.concat(pieces as Buffer[]).toString();
          seen.push([method, url, headers['content-type'], headers['transfer-encoding'], body]);
          outgoing.end('{}');
        });
      },
    });
    const url = `${gateway.origin}/files/${cid}`;
    const change = {
      method: 'PATCH',
      body: '{"replicas":2}',
      headers: { 'content-type': 'application/json' },
    } as const;
    expect((await request(url, change)).statusCode).toBe(200);
    expect((await request(url, { method: 'DELETE' })).statusCode).toBe(200);
    const path = `/files/${cid}`;
    // Without a body nothing is announced: an empty one of no type would be refused behind.
    const passed = [
      ['PATCH', path, 'application/json', undefined, '{"replicas":2}'],
      ['DELETE', path, undefined, undefined, ''],
    ];
    expect(seen).toEqual(passed);
    for (const origin of ['https://evil.example', 'null'])
      for (const write of [change, { method: 'DELETE' } as const]) {
        const headers = { ...('headers' in write ? write.headers : {}), origin };
        const refused = await request(url, { ...write, headers });
        expect(refused.statusCode).toBe(403);
        expect((await problemOf(refused)).type).toBe('problems/origin-refused');
      }
    expect(seen).toEqual(passed);
    const own = await request(url, { method: 'DELETE', headers: { origin: gateway.origin } });
    expect(own.statusCode).toBe(200);
  });

  it('waits for a slow write without a body as long as for an upload', async () => {
    await using gateway = await openGateway(
      {
        storage: (incoming, outgoing) => {
          incoming.resume();
          setTimeout(() => outgoing.end('{}'), 300);
        },
      },
      { GATEWAY_ANSWER_TIMEOUT_MS: '100', GATEWAY_UPLOAD_ANSWER_TIMEOUT_MS: '5000' },
    );
    const sweep = await request(`${gateway.origin}/sweep`, { method: 'POST' });
    expect(sweep.statusCode).toBe(200);
    expect((await request(`${gateway.origin}/upkeep`)).statusCode).toBe(503);
  });

  it('is ready when all four services answer, and says who does not', async () => {
    const alive = (_: IncomingMessage, outgoing: { end(): void }) => outgoing.end();
    await using whole = await openGateway({
      chunker: alive,
      storage: alive,
      transfer: alive,
      discovery: alive,
    });
    expect((await request(`${whole.origin}/readyz`)).statusCode).toBe(200);
    await using part = await openGateway({ chunker: alive, transfer: alive });
    const answer = await request(`${part.origin}/readyz`);
    expect(answer.statusCode).toBe(503);
    expect(await answer.body.json()).toMatchObject({
      reason: 'no answer from: storage, discovery',
    });
    expect((await request(`${part.origin}/healthz`)).statusCode).toBe(200);
  });
});

/** The page's script and every module that it imports. */
async function scriptsOf(origin: string): Promise<string[]> {
  const found = ['/console/console.js'];
  for (const path of found) {
    const { statusCode, headers, body } = await request(`${origin}${path}`);
    expect([path, statusCode]).toEqual([path, 200]);
    expect(headers['content-type']).toBe('text/javascript; charset=utf-8');
    for (const [, name] of (await body.text()).matchAll(/ from '(\.[\w./-]+\.js)'/g)) {
      const { pathname } = new URL(String(name), `${origin}${path}`);
      if (!found.includes(pathname)) found.push(pathname);
    }
  }
  return found;
}

describe('the console', () => {
  it('is served with a policy that lets nothing in from elsewhere', async () => {
    await using gateway = await openGateway({});
    const page = await request(`${gateway.origin}/`);
    expect(page.headers['content-security-policy']).toContain("default-src 'self'");
    expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    expect(page.headers['referrer-policy']).toBe('no-referrer');
    const html = await page.body.text();
    const parts = [...html.matchAll(/(?:src|href)="(console\/[^"]*)"/g)].map(
      ([, url]) => `/${url}`,
    );
    expect(new Set(parts)).toEqual(
      new Set(['/console/console.css', '/console/console.js', '/console/icon.svg']),
    );
    for (const part of [...parts, ...(await scriptsOf(gateway.origin))]) {
      const { statusCode, headers, body } = await request(`${gateway.origin}${part}`);
      expect(statusCode).toBe(200);
      await body.dump();
      const again = await request(`${gateway.origin}${part}`, {
        headers: { 'if-none-match': String(headers['etag']) },
      });
      expect(again.statusCode).toBe(304);
    }
  });

  it('refers to this peer relatively, so that it works below a path of a proxy', async () => {
    await using gateway = await openGateway({});
    const texts = await Promise.all(
      ['/', ...(await scriptsOf(gateway.origin))].map(async (path) =>
        (await request(`${gateway.origin}${path}`)).body.text(),
      ),
    );
    const firsts = new Set(['console', 'openapi', 'metrics', 'events']);
    for (const { path } of TABLE) firsts.add(path.split('/')[1] ?? '');
    for (const text of texts) {
      const code = text.replaceAll(/\/\*[^]*?\*\//g, '');
      const rooted = [...code.matchAll(/["'`]\/([\w-]+)/g)].map(([, first = '']) => first);
      expect(rooted.filter((first) => firsts.has(first))).toEqual([]);
      expect(code).not.toContain('location.origin');
    }
  });

  it('never writes markup, and has no inline code that the policy would refuse', async () => {
    await using gateway = await openGateway({});
    const html = await (await request(`${gateway.origin}/`)).body.text();
    for (const path of await scriptsOf(gateway.origin)) {
      const script = await (await request(`${gateway.origin}${path}`)).body.text();
      expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
    }
    expect(html).not.toMatch(/ on\w+=| style=|<style|<script(?![^>]* src=)|https?:\/\//);
  });

  it('describes every public route', async () => {
    await using gateway = await openGateway({});
    const answer = await request(`${gateway.origin}/openapi.json`);
    const { paths } = (await answer.body.json()) as { paths: Record<string, object> };
    expect(Object.keys(paths['/files'] ?? {}).toSorted()).toEqual(['get', 'head', 'post']);
    expect(Object.keys(paths['/pins'] ?? {})).toEqual(['post']); // GET is for our own services
  });
});
