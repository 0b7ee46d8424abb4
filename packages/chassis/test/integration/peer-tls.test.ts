/** One port that speaks TLS to peers and plain HTTP to everybody, as members, strangers and clients find it. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectPlain,
  createServer as createPlainServer,
  type Socket,
} from 'node:net';
import { env as ownEnv, execPath } from 'node:process';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ProofRefused, ServiceUnavailable } from '@shoal/protocol';
import type { PeerClient } from '../../src/index.ts';
import { P256_CERTIFICATE, P256_KEY } from '../tls/p256.ts';
import { ask, clientOf, dial, lineOn, newPeer, serve, whoami } from '../tls/stand.ts';

const signal = AbortSignal.timeout(60_000);
const [server, member, stranger] = [newPeer(), newPeer(), newPeer(Buffer.alloc(32, 9))];
let service: Awaited<ReturnType<typeof serve>>;
let client: PeerClient;
const target = () => ({ peerId: server.peerId, origin: service.origin, hasTls: true });
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

beforeAll(async () => {
  service = await serve(server);
  client = clientOf(member);
});
afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

describe('a member', () => {
  it('is let in by its certificate, and known by it', async () => {
    const before = await service.handshakes('member');
    for (let round = 0; round < 20; round += 1)
      expect(await client.call(target(), whoami('peer'), {}, { signal })).toEqual({
        caller: member.peerId,
      });
    expect(await service.handshakes('member')).toBeLessThan(before + 5); // connections are kept
  });

  it('waits no longer for a peer that stands still than each call says, however many there are', async () => {
    let connections = 0;
    const still = createPlainServer(() => void (connections += 1)).listen(0, '127.0.0.1');
    await once(still, 'listening');
    const { port } = still.address() as AddressInfo; // of a server that listens
    await using own = clientOf(member);
    const there = { ...target(), origin: `http://127.0.0.1:${port}` };
    const calls = Array.from({ length: 100 }, () =>
      own.call(there, whoami('peer'), {}, { signal, timeoutMs: 200 }),
    );
    for (const end of await Promise.allSettled(calls))
      expect(end).toMatchObject({ reason: expect.any(ServiceUnavailable) });
    // All ended with their own time: the first attempts to connect were still under way.
    expect(connections).toBeLessThanOrEqual(8);
    still.close();
  });

  it('asks over several connections at once', async () => {
    const calls = Array.from({ length: 40 }, () =>
      client.call(target(), whoami('peer'), {}, { signal }),
    );
    expect(new Set((await Promise.all(calls)).map(({ caller }) => caller))).toEqual(
      new Set([member.peerId]),
    );
  });

  it('is no service of this peer', async () => {
    await expect(client.call(target(), whoami('local'), {}, { signal })).rejects.toBeInstanceOf(
      ProofRefused,
    );
  });

  it('calls another process under its own identity by TLS too', async () => {
    await using twin = clientOf(server);
    expect(await twin.call(target(), whoami('peer'), {}, { signal })).toEqual({
      caller: server.peerId,
    });
  });

  it('sends no byte of a request to another peer at the address', async () => {
    const other = newPeer();
    let got = 0;
    const impostor = createTlsServer({ ...other.tls.serverOptions }, (socket) => {
      socket.on('error', () => {}).on('data', (bytes) => (got += bytes.length));
    });
    const sockets = new Set<Socket>();
    impostor.on('connection', (socket: Socket) => sockets.add(socket));
    await once(impostor.listen(0, '127.0.0.1'), 'listening');
    const { port } = impostor.address() as { port: number }; // it listens on TCP
    const there = { ...target(), origin: `http://127.0.0.1:${port}` };
    const call = client.call(there, whoami('peer'), {}, { signal });
    await expect(call).rejects.toMatchObject({
      cause: { message: expect.stringContaining(`and ${other.peerId} answers there`) },
    });
    const block = client.receive(there, '/blocks/x', {
      onHead: () => undefined,
      stallMs: 1000,
      signal,
    });
    await expect(block).rejects.toThrow(`${server.peerId} is expected`);
    await sleep(50); // what was sent would be here
    expect(got).toBe(0);
    for (const socket of sockets) socket.destroy();
    impostor.close();
  });

  it.each(['plain HTTP', 'nothing'])('does not ask where %s is spoken', async (what) => {
    let got = Buffer.alloc(0);
    const sockets = new Set<Socket>();
    const plain = createPlainServer((socket) => {
      sockets.add(socket.on('error', () => {}));
      socket.on('data', (bytes) => {
        got = Buffer.concat([got, bytes]);
        if (what === 'plain HTTP') socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      });
    });
    await once(plain.listen(0, '127.0.0.1'), 'listening');
    const { port } = plain.address() as { port: number }; // it listens on TCP
    const there = { ...target(), origin: `http://127.0.0.1:${port}` };
    const call = client.call(there, whoami('peer'), {}, { signal });
    await expect(call).rejects.toBeInstanceOf(ServiceUnavailable);
    expect(got[0]).toBe(0x16);
    expect(got.toString('latin1')).not.toContain('/peer');
    for (const socket of sockets) socket.destroy();
    plain.close();
  });

  it('does not call a peer whose record says that it speaks plainly, and says what to set', async () => {
    const plain = { ...target(), hasTls: false };
    const call = client.call(plain, whoami('peer'), {}, { signal });
    await expect(call).rejects.toBeInstanceOf(ServiceUnavailable);
    await expect(call).rejects.toMatchObject({
      cause: { message: expect.stringMatching(`^${server.peerId} .*PEER_TLS=off.*set it to on`) },
    });
    const options = { onHead: () => undefined, stallMs: 1000, signal };
    await expect(client.receive(plain, '/blocks/x', options)).rejects.toBeInstanceOf(
      ServiceUnavailable,
    );
  });
});

describe('plain HTTP on the same port', () => {
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(service.origin + path, { headers });

  it('answers clients', async () => {
    expect(await (await get('/public')).json()).toEqual({ caller: server.peerId });
    expect((await get('/healthz')).status).toBe(200);
  });

  it('answers own services by their proof', async () => {
    for (const path of ['/peer', '/local']) {
      const headers = server.prover.prove(server.peerId, { method: 'GET', path });
      expect(await (await get(path, headers)).json()).toEqual({ caller: server.peerId });
    }
  });

  it('is refused to other members, with a word on what to set', async () => {
    expect((await get('/peer')).status).toBe(401);
    const headers = member.prover.prove(server.peerId, { method: 'GET', path: '/peer' });
    const answer = await get('/peer', headers);
    expect(answer.status).toBe(401);
    expect(await answer.text()).toContain('set PEER_TLS=on at the peer that called');
  });

  it('is served byte by byte, and after a break in the first request', async () => {
    const socket = connectPlain(service.port, '127.0.0.1');
    socket.setNoDelay(true);
    let got = '';
    socket.on('data', (bytes) => (got += String(bytes)));
    const closed = once(socket, 'close');
    for (const letter of 'GET /public HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n') {
      socket.write(letter);
      await sleep(1);
    }
    await closed;
    expect(statusOf(got)).toBe(200);
  });

  it('answers what is no HTTP with a problem, by TLS too', async () => {
    const plain = connectPlain(service.port, '127.0.0.1');
    plain.write('this is not http\r\n\r\n');
    expect(String((await once(plain, 'data'))[0])).toMatch(/^HTTP\/1.1 400 [^]*request-invalid/);
    plain.destroy();
    const secure = await dial(service.port, member);
    secure.write('this is not http\r\n\r\n');
    expect(String((await once(secure, 'data'))[0])).toMatch(/^HTTP\/1.1 400 [^]*request-invalid/);
    secure.destroy();
  });

  it('is heard in time by a sender whose body is not wanted, by TLS too', async () => {
    const body = Buffer.alloc(4 * 1024 * 1024);
    const head = `POST /peer HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nContent-Length: ${body.length}\r\n\r\n`;
    for (const socket of [
      connectPlain(service.port, '127.0.0.1'),
      await dial(service.port, member),
    ]) {
      await new Promise((resolve) =>
        socket.write(Buffer.concat([Buffer.from(head), body]), resolve),
      );
      expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 40[45] /);
      socket.destroy();
    }
  });

  it('has a fault in no connection that is opened and left', async () => {
    for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const socket = connectPlain(service.port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      const closed = once(socket.resume(), 'close');
      socket[leave]();
      await closed;
    }
    expect((await get('/healthz')).status).toBe(200);
  });
});

describe('a stranger', () => {
  it('without a certificate gets no answer', async () => {
    const before = await service.handshakes('no-certificate');
    expect(await ask(await dial(service.port, undefined), '/public')).toBe('');
    expect(await service.handshakes('no-certificate')).toBe(before + 1);
    expect(service.log()).toContain('without the certificate of a peer');
  });

  it('with a certificate of another kind of key gets none either', async () => {
    const before = await service.handshakes('no-certificate');
    const pair = { key: P256_KEY, cert: P256_CERTIFICATE };
    expect(await ask(await dial(service.port, undefined, pair), '/public')).toBe('');
    expect(await service.handshakes('no-certificate')).toBe(before + 1);
  });

  it('with a certificate of its own is answered as a client is, and no further', async () => {
    const before = await service.handshakes('stranger');
    const answers = [];
    for (const path of ['/public', '/peer', '/local'])
      answers.push(statusOf(await ask(await dial(service.port, stranger), path)));
    expect(answers).toEqual([200, 401, 401]);
    expect(await service.handshakes('stranger')).toBe(before + 3);
    const said = () => service.log().split('does not belong to the swarm').length - 1;
    for (let tries = 0; tries < 200 && said() === 0; tries += 1) await sleep(50);
    expect(said()).toBe(1);
  });

  it('that has another swarm key is none of the members', async () => {
    await using others = clientOf(stranger);
    await expect(others.call(target(), whoami('peer'), {}, { signal })).rejects.toBeInstanceOf(
      ProofRefused,
    );
  });

  it('can not use what a member said on another connection, nor say it in its name', async () => {
    const heard = await dial(service.port, member);
    const line = lineOn(heard, member, server.peerId);
    expect(statusOf(await ask(heard, '/peer', line))).toBe(200);
    for (const who of [member, stranger]) {
      const socket = await dial(service.port, who);
      expect(statusOf(await ask(socket, '/peer', line))).toBe(401);
    }
    const another = newPeer();
    const socket = await dial(service.port, another);
    expect(statusOf(await ask(socket, '/peer', lineOn(socket, member, server.peerId)))).toBe(401);
    const afar = await dial(service.port, member);
    expect(statusOf(await ask(afar, '/peer', lineOn(afar, member, another.peerId)))).toBe(401);
  });

  it.each(['', 'x', '='.repeat(43), 'A'.repeat(43), `${'A'.repeat(42)}\n`])(
    'that says a proof of "%s" is none',
    async (proof) => {
      const socket = await dial(service.port, stranger);
      const answer = await ask(socket, '/peer', `shoal-member v1 ${proof}\n`);
      expect([400, 401, NaN]).toContain(statusOf(answer));
    },
  );

  it('gets no session that could be resumed, with or without a certificate', async () => {
    for (const second of [undefined, stranger, member]) {
      const sessions: Buffer[] = [];
      const socket = await dial(service.port, member);
      socket.on('session', (session: Buffer) => sessions.push(session));
      expect(statusOf(await ask(socket, '/public'))).toBe(200);
      const [session] = sessions;
      const again = await dial(service.port, second, session === undefined ? {} : { session });
      expect(again.isSessionReused()).toBe(false);
      const answer = await ask(again, '/peer');
      expect(statusOf(answer)).toBe(second === undefined ? NaN : 401);
    }
  });

  it('gets no further when certificates were told not to matter', async () => {
    const script = fileURLToPath(new URL('../tls/with-unchecked-certificates.ts', import.meta.url));
    const env = { ...ownEnv, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    const { stdout } = await promisify(execFile)(execPath, [script], { env });
    expect(JSON.parse(stdout)).toEqual({
      member: 200,
      nobody: null,
      stranger: 401,
      impostor: 'WrongPeer',
    });
  }, 20_000);

  it('is not let in by an older TLS', async () => {
    const before = await service.handshakes('failed');
    await expect(
      dial(service.port, member, { maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' }),
    ).rejects.toThrow(/protocol version|reset|closed/);
    while ((await service.handshakes('failed')) === before) await sleep(10);
  });
});

describe('a connection that brings too little', () => {
  it('is closed in mid-handshake, and after one that was followed by nothing', async () => {
    const before = await service.handshakes('late');
    const half = connectPlain(service.port, '127.0.0.1');
    half.write(Buffer.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00));
    const mute = await dial(service.port, member);
    const begun = await dial(service.port, member);
    begun.write('shoal-member v1 abc');
    await Promise.all([half, mute, begun].map((each) => once(each.resume(), 'close')));
    expect(await service.handshakes('late')).toBe(before + 3);
  }, 20_000);

  it('makes room when too many do so, for those that come', async () => {
    const before = await service.handshakes('crowded');
    const half: Socket[] = [];
    for (let count = 0; count < 260; count += 1) {
      const socket = connectPlain(service.port, '127.0.0.1').on('error', () => {});
      socket.write(Buffer.of(0x16, 0x03, 0x01));
      half.push(socket);
    }
    while ((await service.handshakes('crowded')) < before + 4) await sleep(10);
    const socket = await dial(service.port, member);
    const line = lineOn(socket, member, server.peerId);
    expect(statusOf(await ask(socket, '/peer', line))).toBe(200);
    for (const each of half) each.destroy();
  }, 20_000);
});

describe('a service that stops', () => {
  it('waits for no connection that has brought nothing', async () => {
    const stopping = await serve(newPeer());
    const silent = connectPlain(stopping.port, '127.0.0.1');
    const half = connectPlain(stopping.port, '127.0.0.1');
    half.write(Buffer.of(0x16));
    const mute = await dial(stopping.port, member);
    const kept = await dial(stopping.port, member);
    kept.write('GET /public HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(kept, 'data');
    const all = [silent, half, mute, kept].map((each) =>
      once((each as Socket | TLSSocket).on('error', () => {}).resume(), 'close'),
    );
    await Promise.all([stopping[Symbol.asyncDispose](), ...all]);
    expect(stopping.app.server.listening).toBe(false);
  }, 4000);
});
