import { createServer, request, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { createLog, createRegistry } from '@shoal/chassis';
import { createMetrics } from '../../src/metrics.ts';
import { type Pieces } from '../../src/file/pieces.ts';
import { createSender, type Exchange } from '../../src/answer/send-body.ts';

const OPTIONS = {
  bodiesMax: 2,
  readerStallMs: 60_000,
  budgetBlocks: 4,
  windowMaxBlocks: 4,
  readerRate: { windowMs: 1000 },
};

/** A server whose one answer is these pieces. */
async function serve(piecesOf: (url: string) => Pieces, lengthBytes: number | undefined) {
  const metrics = createMetrics(createRegistry('transfer'));
  const sender = createSender({ metrics, log: createLog('transfer', 'silent') }, OPTIONS);
  const outcomes: Promise<string>[] = [];
  const server = createServer((incoming, response) => {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new Error('left'));
    });
    const reply = { raw: response, hijack: () => undefined };
    const exchange = {
      request: { id: 'a', url: incoming.url, method: 'GET', client: incoming.headers['x-client'] },
      reply,
      signal: gone.signal,
      abort: (reason: Error) => gone.abort(reason),
    } as unknown as Exchange; // what a sender uses of it
    const outcome = sender.send(exchange, async () => ({
      pieces: piecesOf(incoming.url ?? ''),
      headOf: () => ({ status: 200, headers: { 'x-head': 'sent' } }),
      lengthBytes,
    }));
    outcome.catch(() => undefined); // the test looks at it later
    outcomes.push(outcome);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    port,
    outcomes,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function read(
  port: number,
  client = 'anybody',
): Promise<{ head: unknown; body: string; isWhole: boolean }> {
  const headers = { 'x-client': client };
  const asked = request({ port, host: '127.0.0.1', agent: false, headers }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  let body = '';
  answer.setEncoding('latin1').on('data', (text: string) => (body += text));
  answer.on('error', () => undefined); // what broke off is looked at below
  await new Promise((resolve) => answer.once('close', resolve));
  return { head: answer.headers['x-head'], body, isWhole: answer.complete };
}

async function* pieces(texts: readonly string[], failure?: Error): Pieces {
  for (const text of texts) yield { bytes: Buffer.from(text), release: () => undefined };
  if (failure !== undefined) throw failure;
}

/** More than any socket holds. */
async function* endless(): Pieces {
  const bytes = Buffer.alloc(1024 * 1024);
  for (;;) yield { bytes, release: () => undefined };
}

/** A reader that takes the head and then a few bytes now and then, or none. */
async function trickle(port: number, client: string): Promise<Disposable> {
  const headers = { 'x-client': client };
  const asked = request({ port, host: '127.0.0.1', agent: false, path: '/endless', headers }).end();
  asked.on('error', () => undefined);
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  const timer = setInterval(() => answer.read(16), 100);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      asked.destroy();
    },
  };
}

describe('readers that trickle', () => {
  const open = () =>
    serve((url) => (url === '/endless' ? endless() : pieces(['one ', 'two'])), undefined);

  it('hold no place against another client', async () => {
    await using server = await open();
    using _first = await trickle(server.port, 'a');
    using _second = await trickle(server.port, 'a');
    expect(await read(server.port, 'b')).toEqual({ head: 'sent', body: 'one two', isWhole: true });
    expect(await server.outcomes[1]).toBe('gave-way');
  });

  it('give way to their own client, once they were too slow for a while', async () => {
    await using server = await open();
    using _first = await trickle(server.port, 'a');
    using _second = await trickle(server.port, 'a');
    expect((await read(server.port, 'a')).isWhole).toBe(true);
    // Whichever was found slow first.
    expect(await Promise.race(server.outcomes.slice(0, 2))).toBe('gave-way');
  });
});

describe('a body that is fetched while it is sent', () => {
  it('ends well when all of it was sent', async () => {
    await using server = await serve(() => pieces(['one ', 'two']), 7);
    expect(await read(server.port)).toEqual({ head: 'sent', body: 'one two', isWhole: true });
    expect(await server.outcomes[0]).toBe('complete');
  });

  it('breaks off when a block can’t be had, after its head and all that came before', async () => {
    await using server = await serve(() => pieces(['one ', 'two'], new Error('gone')), undefined);
    for (let turn = 0; turn < 20; turn += 1)
      expect(await read(server.port)).toEqual({ head: 'sent', body: 'one two', isWhole: false });
    expect(new Set(await Promise.all(server.outcomes))).toEqual(new Set(['failed']));
  });

  it('breaks off when it is shorter or longer than it said', async () => {
    for (const lengthBytes of [6, 8]) {
      await using server = await serve(() => pieces(['one ', 'two']), lengthBytes);
      expect((await read(server.port)).isWhole).toBe(false);
      expect(await server.outcomes[0]).toBe('failed');
    }
  });

  it('throws what fails before its first byte: the answer is still to be given', async () => {
    await using server = await serve(() => pieces([], new Error('nowhere')), undefined);
    const asked = request({ port: server.port, host: '127.0.0.1', agent: false }).end();
    asked.on('error', () => undefined); // nobody answers it
    await expect(
      (async () => {
        while (server.outcomes.length === 0) await new Promise(setImmediate);
        await server.outcomes[0];
      })(),
    ).rejects.toThrow('nowhere');
    asked.destroy();
  });
});
