/**
 * A machine in the middle of two peers: all that one sends to the other goes through it. It looks at the bytes, changes
 * them, and answers in the other's place, with a key of its own and with that of a peer that was removed.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  BYTES,
  discoveryRoutes,
  MiB,
  type PeerId,
  type Route,
  routePath,
  SERVICES,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import {
  createTestRoster,
  download,
  eventually,
  health,
  identityAt,
  openTemporaryFolder,
  peerTlsOf,
  type RunningPeer,
  secureClientOf,
  startPeer,
  type TestRoster,
  untilAllSee,
  upload,
  writeSwarmKey,
} from '@shoal/testkit';

jest.setTimeout(180_000);
/** Where the middle listens, in the place of the peer behind it. */
const MIDDLE = '127.0.0.3';
/** Found in the capture if a byte of the file, or a name, went in clear. */
const MARK = 'THE-QUICK-BROWN-FOX-OF-THE-SECRET-FILE.';
const NAME = 'name-that-nobody-may-read.txt';
const ROUTES = [discoveryRoutes, storageRoutes, transferRoutes]
  .flatMap((routes): Route[] => Object.values(routes))
  .filter(({ audience }) => audience === 'peer');
const signal = new AbortController().signal;

type Manner = 'passes it on' | 'changes a byte' | 'answers itself' | 'answers plainly';

class Middle implements AsyncDisposable {
  manner: Manner = 'passes it on';
  /** Whose certificate it shows. */
  folder = '';
  readonly captured: Buffer[] = [];
  /** Text of requests that it could read. */
  readonly read: string[] = [];
  /** Connections that it answered itself. */
  answered = 0;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  async standBefore(peer: RunningPeer): Promise<void> {
    const origins = SERVICES.map((service) => new URL(peer[service]).port);
    for (const port of [...origins, String(peer.libp2p.split(':').at(-1))])
      await this.#listen(Number(port));
  }

  async #listen(port: number): Promise<void> {
    const server = createServer((socket) => this.#take(socket, port));
    server.listen(port, MIDDLE);
    await once(server, 'listening');
    this.#servers.push(server);
  }

  /** Ends what stands, so that all is called anew. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    for (const server of this.#servers) server.close();
  }

  #take(socket: Socket, port: number): void {
    this.#keep(socket);
    if (this.manner === 'answers itself') return this.#forge(socket);
    if (this.manner === 'answers plainly') {
      this.answered += 1;
      socket.on('data', (bytes) => this.captured.push(bytes));
      return void socket.end(FORGED);
    }
    const onward = this.#keep(connect(port, '127.0.0.1'));
    const pipe = (from: Socket, to: Socket) =>
      from.on('data', (bytes: Buffer) => {
        this.captured.push(Buffer.from(bytes));
        if (this.manner === 'changes a byte') {
          const at = bytes.length - 1;
          bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
        }
        to.write(bytes);
      });
    pipe(socket, onward);
    pipe(onward, socket);
    socket.on('close', () => onward.destroy());
    onward.on('close', () => socket.destroy());
  }

  #forge(socket: Socket): void {
    this.answered += 1;
    const { serverOptions } = peerTlsOf(this.folder);
    const options = { ...serverOptions, requestCert: true, rejectUnauthorized: false };
    const server = createTlsServer(options, (secure) => {
      secure.on('error', () => {});
      secure.on('data', (bytes) => {
        this.read.push(bytes.toString('latin1'));
        secure.write(FORGED);
      });
    });
    server.on('tlsClientError', () => socket.destroy());
    server.emit('connection', socket);
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

const FORGED = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}';

describe('a machine in the middle', () => {
  const closing = new AsyncDisposableStack();
  let roster: TestRoster;
  let folder: string;
  let a: RunningPeer;
  let b: RunningPeer;
  let middle: Middle;
  const bytesOf = (text: string): Buffer => Buffer.from(text.repeat(Math.ceil(MiB / text.length)));
  const send = (name: string, text: string, query: string) => {
    const bytes = bytesOf(text);
    const file = { name, seed: '', sizeBytes: bytes.length };
    return upload(a.chunker, file, { query, body: Readable.from([bytes]) });
  };

  beforeAll(async () => {
    folder = closing.use(await openTemporaryFolder()).path;
    roster = createTestRoster();
    const keyFile = join(folder, 'swarm.key');
    await writeSwarmKey(keyFile);
    const [first, second, removed] = ['a', 'b', 'removed'].map((name) => join(folder, name));
    const ids = [first, second, removed].map((dir) => identityAt(String(dir))) as PeerId[];
    const records = [...ids.map((id) => roster.add(id)), roster.remove(ids[2] as PeerId)];
    for (const dir of [first, second]) roster.write(String(dir), records);
    const launcherArgs = ['--advertise', MIDDLE];
    middle = closing.use(new Middle());
    a = closing.use(await startPeer({ dataDir: String(first), keyFile, launcherArgs }));
    await middle.standBefore(a);
    const seeds = [a.libp2p];
    b = closing.use(await startPeer({ dataDir: String(second), keyFile, seeds, launcherArgs }));
    await middle.standBefore(b);
    await untilAllSee([a, b], 2);
  });
  afterAll(async () => {
    await closing.disposeAsync();
  });

  it('sees all that a peer sends to the other, and reads nothing of it', async () => {
    const { reply } = await send(NAME, MARK, 'replicas=2&copies=2');
    await eventually('both hold it', async () => {
      const { copies } = await health(a.discovery, reply.cid);
      return copies === 2;
    });
    const all = Buffer.concat(middle.captured);
    expect(all.length).toBeGreaterThan(MiB);
    for (const text of [MARK, NAME, reply.cid, 'HTTP/1.1', '"payload"', '"replicas"'])
      expect([text, all.includes(text)]).toEqual([text, false]);
  });

  it.each([
    ['a key of its own', 'answers itself', 'stranger'],
    ['the key of a peer that was removed', 'answers itself', 'removed'],
    ['plain HTTP', 'answers plainly', 'stranger'],
  ] as const)('is believed in nothing with %s, and hears no request', async (_, manner, name) => {
    middle.folder = join(folder, name);
    middle.manner = manner;
    middle.captured.length = 0;
    middle.cut();
    await using client = await secureClientOf(a.dataDir, a.keyFile);
    const answers = await Promise.allSettled(
      ROUTES.map((route) => {
        const target = {
          peerId: b.peerId,
          origin: `http://${MIDDLE}:${portOf(b, route)}`,
          hasTls: true,
        };
        return route.body === BYTES || route.reply === BYTES
          ? client.receive(target, pathOf(route), {
              signal,
              stallMs: 5000,
              onHead: () => new Uint8Array(1),
            } as never)
          : client.call(target, route as never, { params: PARAMS, body: {} } as never, { signal });
      }),
    );
    expect(answers.filter(({ status }) => status === 'fulfilled')).toEqual([]);
    expect(middle.answered).toBeGreaterThan(0);
    // A copy that the middle said it took would be one more.
    const { reply } = await send(
      `${name} ${manner}`,
      `${name} ${manner} ${MARK}`,
      'replicas=2&copies=1',
    );
    expect((await health(a.discovery, reply.cid)).copies).toBeLessThanOrEqual(1);
    expect(middle.read.join('')).toBe('');
    expect(Buffer.concat(middle.captured).includes(MARK)).toBe(false);
  });

  it('that changes bytes breaks connections, and no file', async () => {
    middle.manner = 'changes a byte';
    middle.cut();
    const text = `changed ${MARK}`;
    const { reply } = await send('changed', text, 'replicas=2&copies=1');
    const got = await download(a.transfer, reply.cid);
    expect(got.status).toBe(200);
    middle.manner = 'passes it on';
    middle.cut();
    await eventually(
      'both hold it',
      async () => (await health(a.discovery, reply.cid)).copies === 2,
      {
        timeoutMs: 60_000,
      },
    );
    expect((await download(b.transfer, reply.cid)).sha256).toBe(got.sha256);
  });
});

const PARAMS = {
  cid: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku',
  hash: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku',
  lease: '00000000-0000-4000-8000-000000000000',
};
const pathOf = ({ path }: Route): string => routePath(path, PARAMS);
const portOf = (peer: RunningPeer, { service }: Route): string => new URL(peer[service]).port;
