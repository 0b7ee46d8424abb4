import { createServer, type RequestListener } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import {
  chunkerRoutes,
  discoveryRoutes,
  FileNotFound,
  ForeignAnswer,
  PROBLEM_TYPE,
} from '@shoal/protocol';
import {
  call,
  type CallOptions,
  exchange,
  listFiles,
  NoAnswer,
  partsOf,
  sendBytes,
  webSend,
} from '../src/index.ts';

const hash = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const { signal } = new AbortController();
const options: CallOptions = { signal, send: webSend() };
const health = { params: { hash } };

/** A peer that answers as `listener` does. */
async function startPeer(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    origin: `http://127.0.0.1:${port}`,
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

const answering =
  (status: number, type: string, text: string): RequestListener =>
  (request, response) => {
    request.resume();
    response.writeHead(status, { 'content-type': type }).end(text);
  };

describe('call', () => {
  it('throws a problem as the class that the peer threw', async () => {
    const body = new FileNotFound({ hash, peersAsked: 3 }).toBody('urn:request:1');
    using peer = await startPeer(answering(404, PROBLEM_TYPE, JSON.stringify(body)));
    const asking = call(peer.origin, discoveryRoutes.fileHealth, health, options);
    await expect(asking).rejects.toThrow(FileNotFound);
  });

  it('keeps a problem that it does not know', async () => {
    const problem = { type: '/problems#of-tomorrow', title: 'Of tomorrow', status: 418 };
    using peer = await startPeer(answering(418, PROBLEM_TYPE, JSON.stringify(problem)));
    const asking = call(peer.origin, discoveryRoutes.fileHealth, health, options);
    await expect(asking).rejects.toMatchObject({ status: 418, problem });
  });

  it.each([
    [502, 'text/html', '<p>bad gateway</p>'],
    [500, PROBLEM_TYPE, 'no JSON'],
    [200, 'application/json', '{"of":"another program"}'],
    [200, 'text/html', '<p>log in</p>'],
  ])('takes %i %s %s for no answer of a peer', async (status, type, text) => {
    using peer = await startPeer(answering(status, type, text));
    const asking = call(peer.origin, discoveryRoutes.fileHealth, health, options);
    await expect(asking).rejects.toThrow(ForeignAnswer);
    await expect(asking).rejects.toMatchObject({ status, problem: undefined });
  });

  it('says that no answer came when nobody listens, or the connection breaks', async () => {
    const { origin } = await startPeer(() => {}).then((peer) => {
      peer[Symbol.dispose]();
      return peer;
    });
    const nobody = call(origin, discoveryRoutes.fileHealth, health, options);
    await expect(nobody).rejects.toThrow(NoAnswer);
    using breaking = await startPeer((_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('{');
      setImmediate(() => response.destroy());
    });
    const broken = call(breaking.origin, discoveryRoutes.fileHealth, health, options);
    await expect(broken).rejects.toThrow(NoAnswer);
  });

  it('gives the reason of its signal to the caller who left', async () => {
    const stop = new AbortController();
    using peer = await startPeer(() => stop.abort(new Error('left')));
    const asking = call(peer.origin, discoveryRoutes.fileHealth, health, {
      ...options,
      signal: stop.signal,
    });
    await expect(asking).rejects.toThrow('left');
  });

  it('carries the token', async () => {
    let authorization: string | undefined;
    using peer = await startPeer((request, response) => {
      ({ authorization } = request.headers);
      response.end(JSON.stringify({ total: 0, files: [] }));
    });
    await listFiles(peer.origin, {}, { ...options, token: 'secret' });
    expect(authorization).toBe('Bearer secret');
  });
});

describe('listFiles', () => {
  it('asks for page after page', async () => {
    const next = `1.${hash}`;
    const asked: unknown[] = [];
    using peer = await startPeer((request, response) => {
      asked.push(request.url);
      const more = asked.length < 3 ? { next } : {};
      response.end(JSON.stringify({ total: 0, files: [], ...more }));
    });
    await listFiles(peer.origin, { deleted: true }, options);
    expect(asked).toEqual([
      '/files?limit=1000&deleted=true',
      `/files?limit=1000&after=${next}&deleted=true`,
      `/files?limit=1000&after=${next}&deleted=true`,
    ]);
  });
});

describe('bytes that are sent', () => {
  const { importBlocks: route } = chunkerRoutes;
  const order = { query: {}, type: 'application/vnd.ipld.car', sizeBytes: undefined };

  it('arrive as they come, and the reply is read', async () => {
    const received: Buffer[] = [];
    using peer = await startPeer((request, response) => {
      request.on('data', (piece: Buffer) => received.push(piece));
      request.on('end', () =>
        response.end(JSON.stringify({ blocks: 1, blockBytes: 2, pinned: [], unpinned: [] })),
      );
    });
    async function* body() {
      yield Buffer.from('one ');
      yield Buffer.from('two');
    }
    const sent = { ...order, body: body() };
    const reply = await sendBytes(peer.origin, route, route.reply, sent, options);
    expect(reply.blocks).toBe(1);
    expect(Buffer.concat(received).toString()).toBe('one two');
  });

  it('that fail throw what they failed with', async () => {
    using peer = await startPeer((request) => void request.resume().on('error', () => {}));
    async function* body() {
      yield Buffer.from('one');
      throw new Error('the disk broke');
    }
    const sending = sendBytes(peer.origin, route, route.reply, { ...order, body: body() }, options);
    await expect(sending).rejects.toThrow('the disk broke');
  });
});

describe('the deadline of an answer', () => {
  const silent = (_: string, request: { readonly body: unknown; readonly signal: AbortSignal }) =>
    new Promise<never>((_resolve, reject) => {
      request.signal.addEventListener('abort', () => reject(request.signal.reason as Error));
      void drain(request.body);
    });
  const drain = async (body: unknown) => {
    if (typeof body !== 'object') return;
    for await (const _ of body as AsyncIterable<Uint8Array>); // what `exchange` gives a `send`
  };

  it('begins with the request when that has no body', async () => {
    const asking = exchange(
      silent,
      'http://peer/',
      { method: 'GET' },
      { signal, answerTimeoutMs: 1 },
    );
    await expect(asking).rejects.toThrow(NoAnswer);
  });

  it('begins with the last byte of a body', async () => {
    let isOver = false;
    const { promise: more, resolve } = Promise.withResolvers<void>();
    async function* body() {
      yield new Uint8Array(1);
      await more;
    }
    const request = { method: 'PUT', body: body() };
    const asking = exchange(silent, 'http://peer/', request, { signal, answerTimeoutMs: 1 });
    const watched = asking.catch(() => {
      isOver = true;
    });
    await new Promise((tick) => void setTimeout(tick, 20)); // many times the deadline
    expect(isOver).toBe(false);
    resolve();
    await watched;
    await expect(asking).rejects.toThrow(NoAnswer);
  });
});

describe('partsOf', () => {
  it('leaves a path as it was written', () => {
    expect(partsOf('http://peer:1/a/../b|c?d=e')).toEqual({
      origin: 'http://peer:1',
      path: '/a/../b|c?d=e',
    });
    expect(partsOf('http://peer')).toEqual({ origin: 'http://peer', path: '/' });
  });
});
