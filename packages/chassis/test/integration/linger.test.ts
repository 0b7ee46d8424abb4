import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BYTES, PeerId, RequestInvalid, route } from '@shoal/protocol';
import * as z from 'zod';
import {
  createLog,
  createProver,
  createRegistry,
  createServer,
  mount,
  mountRaw,
} from '../../src/index.ts';
import { lingerAfterEarlyAnswers } from '../../src/http/linger.ts';

/** More than the buffers of both ends hold: whoever refuses it unread must read it away. */
const BODY_BYTES = 12 * 1024 * 1024;
const self = PeerId.parse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5');
const taking = <const B extends typeof BYTES | z.ZodObject>(path: string, body: B) =>
  route({
    service: 'storage',
    audience: 'public',
    method: 'POST',
    path,
    summary: 'Takes a body.',
    params: z.object({}),
    query: z.object({}),
    body,
    reply: z.object({}),
  });

describe('a refusal that comes before the body was sent', () => {
  const app = createServer({
    service: 'storage',
    log: createLog('test', 'silent'),
    registry: createRegistry('storage'),
    whyNotReady: () => undefined,
    hostNames: [],
  });
  const mounting = { app, self, prover: createProver(Buffer.alloc(32), self, Buffer.alloc(64)) };
  let port = 0;
  let handled = 0;
  beforeAll(async () => {
    mount(mounting, taking('/json', z.object({ n: z.int() })), async () => ({}));
    mount(mounting, taking('/unread', BYTES), async () => {
      handled += 1;
      throw new RequestInvalid({ reason: 'it is not wanted' });
    });
    mount(mounting, taking('/begun', BYTES), async ({ request }) => {
      await once(request.raw, 'data');
      request.raw.pause();
      throw new RequestInvalid({ reason: 'it begins wrongly' });
    });
    mountRaw(mounting, taking('/hijacked', BYTES), async ({ reply }) => {
      reply.hijack();
      reply.raw.writeHead(409);
      reply.raw.end('no');
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    ({ port } = app.server.address() as AddressInfo);
  });
  afterAll(() => app.close());

  const head = (target: string, connection: string, type = 'application/json') =>
    `POST ${target} HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\nContent-Type: ${type}\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`;

  describe.each(['close', 'keep-alive'])('on a connection that says %s', (connection) => {
    it.each([
      ['/json', 413],
      ['/nowhere', 404],
      ['/unread', 400],
      ['/begun', 400],
      ['/hijacked', 409],
    ])('of %s is read by a sender that first sends all', async (target, status) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(head(target, connection));
      expect(await sendAllThenRead(socket)).toMatch(new RegExp(`^HTTP/1.1 ${status}`));
    });

    it('of a media type is read as well', async () => {
      const socket = connect(port, '127.0.0.1');
      socket.write(head('/json', connection, 'text/csv'));
      expect(await sendAllThenRead(socket)).toMatch(/^HTTP\/1.1 415/);
    });
  });

  it('is read though the bytes that follow are no HTTP', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(17_000)}`);
    expect(await sendAllThenRead(socket)).toMatch(/^HTTP\/1.1 431/);
  });

  it('lets no other request in on a connection that it ends', async () => {
    const before = handled;
    const socket = connect(port, '127.0.0.1');
    const closed = once(socket.resume(), 'close');
    const request = 'POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n';
    socket.write(request.replace('Content-Length', 'Connection: close\r\nContent-Length'));
    await once(socket, 'data');
    socket.write('x'.repeat(100) + request + 'x'.repeat(100));
    await closed;
    expect(handled).toBe(before + 1);
  });
});

it('a server that stops cuts such senders off soon', async () => {
  const server = createHttpServer((_, response) => response.writeHead(400).end('no'));
  const linger = lingerAfterEarlyAnswers(server, { lingerMaxMs: 60_000 });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const sockets = ['keep-alive', 'close'].map((connection) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(
      `POST / HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\nContent-Length: 100\r\n\r\n`,
    );
    return socket.on('error', () => {});
  });
  await Promise.all(sockets.map((socket) => once(socket, 'data')));
  linger.hurry();
  server.close();
  await once(server, 'close');
  expect(server.listening).toBe(false);
}, 10_000);

it('a sender that never ends is cut off', async () => {
  const server = createHttpServer((_, response) => response.writeHead(400).end('no'));
  lingerAfterEarlyAnswers(server, { lingerMaxMs: 100 });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  for (const connection of ['close', 'keep-alive']) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {}); // a reset is what it is to see
    socket.write(
      `POST / HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\nContent-Length: 9999999\r\n\r\nx`,
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 400/);
    const drip = setInterval(() => socket.write('x'), 10);
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(drip);
  }
  server.close();
});

/** Sends the whole body, looks at the answer only then, as many clients do. @throws Error on a reset. */
async function sendAllThenRead(socket: Socket): Promise<string> {
  const piece = Buffer.alloc(256 * 1024, 'x');
  for (let sentBytes = 0; sentBytes < BODY_BYTES; sentBytes += piece.length)
    await new Promise<void>((resolve, reject) => {
      socket.write(piece, (error) => (error ? reject(error) : resolve()));
    });
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString();
}
