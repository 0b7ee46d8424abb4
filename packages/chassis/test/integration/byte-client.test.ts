import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createByteClient } from '../../src/client/byte-client.ts';
import { newPeer } from '../tls/stand.ts';

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n';
const MiB = 1024 * 1024;
const [here, there] = [newPeer(), newPeer()];
const SECURE = { peerId: there.peerId, tls: here.tls };

describe.each([
  ['plainly', undefined],
  ['over TLS', SECURE],
])('the byte client, %s', (_, secure) => {
  /** A server that answers each request on a connection as it is told. */
  async function serve(answer: (socket: Socket, turn: number) => void) {
    let connections = 0;
    const sockets = new Set<Socket>();
    const onConnection = (socket: Socket) => {
      connections += 1;
      sockets.add(socket);
      socket.on('error', () => undefined); // the client hangs up on bad answers, as it should
      let turn = 0;
      socket.on('data', (data) => {
        if (data.includes('\r\n\r\n')) answer(socket, (turn += 1));
      });
    };
    const server =
      secure === undefined
        ? createServer(onConnection)
        : createTlsServer(there.tls.serverOptions, onConnection);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      connections: () => connections,
      async [Symbol.asyncDispose]() {
        for (const socket of sockets) socket.destroy();
        server.close();
        await once(server, 'close');
      },
    };
  }

  const client = createByteClient(2, 500);
  afterEach(() => client[Symbol.dispose]());
  const get = async (
    origin: string,
    { into = Buffer.alloc(10), stallMs = 400, signal = AbortSignal.timeout(10_000) } = {},
  ) => {
    const heads: [number, number][] = [];
    await client.get({
      origin,
      secure,
      path: '/blocks/x',
      headers: { a: 'b' },
      onHead: (status, sizeBytes) => {
        heads.push([status, sizeBytes]);
        return status === 200 ? into : undefined;
      },
      stallMs,
      signal,
    });
    return { heads, into };
  };

  it('puts a body in its place, however it is cut, and uses the connection again', async () => {
    const body = Buffer.alloc(3 * MiB + 7).map((_, index) => index % 251);
    await using server = await serve((socket) => {
      const answer = Buffer.concat([
        Buffer.from(`HTTP/1.1 200 OK\r\nETag: x\r\ncontent-length: ${body.length}\r\n\r\n`),
        body,
      ]);
      socket.setNoDelay(true);
      // The head in two pieces, then the body in ragged ones.
      for (let at = 0, size = 9; at < answer.length; at += size, size = size * 3 + 1)
        socket.write(answer.subarray(at, at + size));
    });
    for (let round = 0; round < 3; round += 1) {
      const { into } = await get(server.origin, { into: Buffer.alloc(body.length) });
      expect(into.equals(body)).toBe(true);
    }
    expect(server.connections()).toBe(1);
  });

  it('reads an answer that is not a block away, and goes on', async () => {
    await using server = await serve((socket, turn) =>
      socket.write(
        turn === 1 ? 'HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno!' : `${HEAD}0123456789`,
      ),
    );
    expect((await get(server.origin)).heads).toEqual([[404, 3]]);
    expect((await get(server.origin)).into.toString()).toBe('0123456789');
    expect(server.connections()).toBe(1);
  });

  it.each([
    ['a chunked body', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n', /length/],
    ['no length', 'HTTP/1.1 200 OK\r\n\r\n', /length/],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-length: 9\r\n\r\n', /length/],
    ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n', /length/],
    [
      'both framings',
      'HTTP/1.1 200 OK\r\ncontent-length: 10\r\ntransfer-encoding: chunked\r\n\r\n',
      /length/,
    ],
    ['what is not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', /status line/],
    ['an interim answer', 'HTTP/1.1 100 Continue\r\n\r\n', /status line/],
    ['more than it said', `${HEAD}01234567890`, /longer/],
    ['a head without end', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(4000)}`, /too long/],
    [
      'a long answer that is no block',
      'HTTP/1.1 500 No\r\ncontent-length: 99999999\r\n\r\n',
      /500/,
    ],
  ])('hangs up on %s', async (_, answer, message) => {
    await using server = await serve((socket) => socket.write(answer));
    await expect(get(server.origin)).rejects.toThrow(message);
  });

  it('fails when the peer breaks off, falls silent, or was never there', async () => {
    await using breaks = await serve((socket) => socket.end(`${HEAD}012`));
    await expect(get(breaks.origin)).rejects.toThrow(/closed/);
    await using silent = await serve((socket) => socket.write(`${HEAD}012`));
    await expect(get(silent.origin, { stallMs: 100 })).rejects.toThrow(/too long/);
    const { origin } = breaks;
    await breaks[Symbol.asyncDispose]().catch(() => undefined);
    await expect(get(origin)).rejects.toThrow(/ECONNREFUSED|closed/);
  });

  it('takes a new connection when an idle one died in the meantime', async () => {
    await using server = await serve((socket) => {
      socket.write(`${HEAD}0123456789`);
      setImmediate(() => socket.destroy()); // dies idle, perhaps unnoticed yet
    });
    for (let round = 0; round < 10; round += 1)
      expect((await get(server.origin)).into.toString()).toBe('0123456789');
  });

  it('stops at once when nobody waits any more, also for a free connection', async () => {
    await using server = await serve(() => undefined);
    const leaving = new AbortController();
    const all = [1, 2, 3, 4].map(() =>
      get(server.origin, { signal: leaving.signal, stallMs: 60_000 }),
    );
    leaving.abort(new Error('the reader left'));
    const results = await Promise.allSettled(all);
    expect(results.map(({ status }) => status)).toEqual([
      'rejected',
      'rejected',
      'rejected',
      'rejected',
    ]);
    expect(server.connections()).toBeLessThanOrEqual(2);
  });

  it('has no more connections to one origin than allowed, and serves all in the end', async () => {
    await using server = await serve((socket) =>
      setTimeout(() => socket.write(`${HEAD}0123456789`), 5),
    );
    await Promise.all(Array.from({ length: 20 }, () => get(server.origin)));
    expect(server.connections()).toBe(2);
  });
});
