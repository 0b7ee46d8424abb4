import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { EVENTS_CHANNEL } from '@shoal/protocol';
import { Redis } from 'ioredis';
import { request } from 'undici';
import { openFolder, openGateway, until } from './support.ts';

const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

const event = (name: string) => JSON.stringify({ kind: 'pin', atMs: 1, cid, name });

/** A redis-server of the test's own, on a unix socket. */
async function startRedis(socket: string) {
  const child = spawn(
    'redis-server',
    ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no'],
    { stdio: 'ignore' },
  );
  await until(
    () =>
      access(socket).then(
        () => true,
        () => false,
      ),
    'redis listens',
  );
  return {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || !child.kill('SIGTERM')) return;
      await once(child, 'exit');
    },
  };
}

async function publish(socket: string, message: string): Promise<number> {
  const redis = new Redis({ path: socket });
  try {
    return await redis.publish(EVENTS_CHANNEL, `[${message}]`);
  } finally {
    redis.disconnect();
  }
}

/** A listener of `/events` that keeps what it was told. */
async function listen(origin: string, localAddress = '127.0.0.1') {
  const sent = get(`${origin}/events`, { localAddress });
  sent.on('error', () => {});
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  let hasEnded = false;
  answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
  answer.on('error', () => {});
  answer.once('close', () => (hasEnded = true));
  return {
    answer,
    text: () => text,
    hasEnded: () => hasEnded,
    [Symbol.dispose]: () => sent.destroy(),
  };
}

describe('GET /events', () => {
  it('tells every listener what happens, and goes on after a restart of Redis', async () => {
    await using folder = await openFolder();
    const socket = join(folder.path, 'redis.sock');
    await using gateway = await openGateway({}, { REDIS_SOCKET: socket });
    using one = await listen(gateway.origin); // Redis is not there yet: the listener waits
    using other = await listen(gateway.origin);
    expect(one.answer.headers['content-type']).toBe('text/event-stream');
    {
      await using _ = await startRedis(socket);
      await until(async () => (await publish(socket, event('first'))) > 0, 'the gateway listens');
      await until(
        () => one.text().includes('"first"') && other.text().includes('"first"'),
        'both are told',
      );
      expect(one.text()).toContain('event: pin\ndata: {');
      await publish(socket, '{"kind":"unknown"}');
    }
    await using _ = await startRedis(socket);
    await until(async () => (await publish(socket, event('second'))) > 0, 'it listens again');
    await until(() => one.text().includes('"second"'), 'it is told again');
    expect(one.text()).not.toContain('unknown');
  }, 20_000);

  it('are not read from Redis while nobody listens, and from the first head on', async () => {
    await using folder = await openFolder();
    const socket = join(folder.path, 'redis.sock');
    await using _ = await startRedis(socket);
    await using gateway = await openGateway({}, { REDIS_SOCKET: socket });
    for (const turn of ['first', 'second', 'third']) {
      expect(await publish(socket, event('to nobody'))).toBe(0);
      {
        using listener = await listen(gateway.origin);
        expect(await publish(socket, event(turn))).toBe(1);
        await until(() => listener.text().includes(`"${turn}"`), 'it is told');
      }
      await until(async () => (await publish(socket, event('to nobody'))) === 0, 'it rests');
    }
  });

  it('shows that it lives while nothing happens', async () => {
    await using gateway = await openGateway({}, { GATEWAY_EVENTS_HEARTBEAT_MS: '20' });
    using listener = await listen(gateway.origin);
    await until(() => listener.text().includes(': alive\n\n'), 'a heartbeat');
    expect(listener.hasEnded()).toBe(false);
  });

  it('answers a HEAD at once, which takes no place', async () => {
    await using gateway = await openGateway({}, { GATEWAY_EVENTS_CLIENTS_MAX: '1' });
    for (let times = 0; times < 3; times += 1) {
      const { statusCode, headers } = await request(`${gateway.origin}/events`, {
        method: 'HEAD',
        signal: AbortSignal.timeout(10_000),
      });
      expect([statusCode, headers['content-type']]).toEqual([200, 'text/event-stream']);
    }
    using listener = await listen(gateway.origin);
    expect(listener.answer.statusCode).toBe(200);
  });

  it('takes a listener of another client, however many one has', async () => {
    await using gateway = await openGateway({}, { GATEWAY_EVENTS_CLIENTS_MAX: '2' });
    using first = await listen(gateway.origin);
    using second = await listen(gateway.origin);
    using other = await listen(gateway.origin, '127.0.0.2');
    expect(other.answer.statusCode).toBe(200);
    await until(() => second.hasEnded(), 'the newest makes room');
    expect([first.hasEnded(), other.hasEnded()]).toEqual([false, false]);
  });

  it('takes no more listeners than it was told, and room that was left again', async () => {
    await using gateway = await openGateway({}, { GATEWAY_EVENTS_CLIENTS_MAX: '1' });
    {
      using _ = await listen(gateway.origin);
      const refused = await request(`${gateway.origin}/events`);
      expect(refused.statusCode).toBe(503);
      expect(await refused.body.json()).toMatchObject({ type: 'problems/overloaded' });
    }
    await until(async () => {
      using again = await listen(gateway.origin);
      return again.answer.statusCode === 200;
    }, 'the place is free');
  });

  it('ends its listeners when it stops', async () => {
    const gateway = await openGateway({});
    using listener = await listen(gateway.origin);
    const startedAt = performance.now();
    await gateway[Symbol.asyncDispose]();
    await until(() => listener.hasEnded(), 'the stream ends');
    expect(performance.now() - startedAt).toBeLessThan(900);
  });
});
