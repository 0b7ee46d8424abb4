/** One peer around the chunker under test: real storage, real Redis, and a stand-in for discovery. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashBlock } from '@shoal/blocks';
import {
  createLog,
  createPeerClient,
  createProver,
  createRegistry,
  createServer,
  mount,
  mountRaw,
  openIdentity,
  readLocalSecret,
  type PeerClient,
} from '@shoal/chassis';
import {
  type ClockReport,
  type TwinReport,
  type Cid,
  decodeFrames,
  discoveryRoutes,
  FileNotFound,
  type Member,
  type Pin,
  type Problem,
  type StorageStats,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import { createTestRoster, programOf, type TestRoster } from '@shoal/testkit';
import { ChunkerConfig } from '../../src/config.ts';
import { type Chunker, startChunker } from '../../src/start.ts';

const STORAGE_MAIN = programOf('services/storage');
/** A storage service starts within this time on a machine that is busy with other tests. */
const DEADLINE_MS = 45_000;
const NOWHERE = 'http://127.0.0.1:9';

/** Bytes that look random and are the same each time: the key stream of AES with a key of zeros. */
export function sample(sizeBytes: number): Buffer {
  const zeros = Buffer.alloc(16);
  return createCipheriv('aes-128-ctr', zeros, zeros).update(Buffer.alloc(sizeBytes));
}

/** Waits until something holds, and says what did not when it never does. */
export async function until(claim: string, holds: () => unknown): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`never: ${claim}`);
    await sleep(20);
  }
}

/** Starts a redis-server that listens on a unix socket alone. */
async function startRedis(socket: string): Promise<AsyncDisposable> {
  const server = spawn(
    'redis-server',
    ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no'],
    { stdio: 'ignore', cwd: dirname(socket) },
  );
  await until('redis listens', () => existsSync(socket));
  return { [Symbol.asyncDispose]: () => end(server) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

export interface Stand extends AsyncDisposable {
  readonly chunker: Chunker;
  /** The owner of the swarm, by whose roster the peer goes. */
  readonly owner: TestRoster;
  readonly redisSocket: string;
  readonly pins: Map<string, Pin>;
  /** What the stand-in for transfer finds in the swarm. */
  readonly swarmBlocks: Map<string, Uint8Array>;
  /** What the stand-in answers; tests change it. */
  readonly swarm: {
    members: number;
    copies: number;
    healthAsked: number;
    /** What member `index` says of itself, other than the usual; 0 is this peer. */
    describe: (index: number) => Partial<Member>;
    /** What discovery finds of this peer's clock. */
    clock: ClockReport | undefined;
    /** Another process under this peer's identity. */
    twin: TwinReport | undefined;
    /** Copies that transfer makes of small files at once; undefined when it can't. */
    spread: number | undefined;
    /** Small files of each call to transfer. */
    spreads: number[];
    /** Pins of each call to discovery. */
    pinCalls: number[];
    /** Thrown at the next pins. */
    pinRefusal: Problem | undefined;
  };
  /** Headers of a service of this same peer. */
  prove(method: string, path: string): Record<string, string>;
  stats(): Promise<StorageStats>;
  hasBlock(cid: Cid): Promise<boolean>;
  killStorage(): Promise<void>;
  stopDiscovery(): Promise<void>;
  /** Brings the Redis that was away. */
  bringRedis(): Promise<void>;
}

export async function openStand(
  settings: Record<string, string> = {},
  {
    withRedis = true,
    storageEnv = {},
  }: { withRedis?: boolean; storageEnv?: Record<string, string> } = {},
): Promise<Stand> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), 'shoal-chunker-'));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const { peerId } = openIdentity(join(dir, 'identity.key'));
  const owner = createTestRoster();
  owner.write(dir, [owner.add(peerId)]);
  const keyFile = join(dir, 'swarm.key');
  writeFileSync(keyFile, 'ab'.repeat(32));
  const prover = createProver(Buffer.from('ab'.repeat(32), 'hex'), peerId, readLocalSecret(dir));
  const redisSocket = join(dir, 'redis.sock');
  let redis = withRedis ? await startRedis(redisSocket) : undefined;
  stack.defer(async () => redis?.[Symbol.asyncDispose]());
  const common = {
    PEER_ID: peerId,
    PEER_DATA_DIR: dir,
    SWARM_KEY_FILE: keyFile,
    REDIS_SOCKET: redisSocket,
    SHUTDOWN_TIMEOUT_MS: '1000',
    GATEWAY_URL: NOWHERE,
    CHUNKER_URL: NOWHERE,
    TRANSFER_URL: NOWHERE,
  };

  const storage = spawn(process.execPath, [STORAGE_MAIN], {
    env: {
      PATH: process.env['PATH'], // eslint-disable-line node/no-process-env
      ...common,
      LOG_LEVEL: 'info',
      STORAGE_URL: NOWHERE,
      DISCOVERY_URL: NOWHERE,
      STORAGE_PORT: '0',
      STORAGE_FSYNC: 'false',
      ...storageEnv,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  stack.defer(() => end(storage));
  const STORAGE_URL = await originOf(storage);

  const pins = new Map<string, Pin>();
  const swarm: Stand['swarm'] = {
    members: 1,
    copies: 1,
    healthAsked: 0,
    describe: () => ({}),
    clock: undefined,
    twin: undefined,
    spread: undefined,
    spreads: [],
    pinCalls: [],
    pinRefusal: undefined,
  };
  const log = createLog('chunker', 'silent');
  const discovery = createServer({
    service: 'discovery',
    log,
    registry: createRegistry('discovery'),
    whyNotReady: () => undefined,
    hostNames: [],
  });
  const mounting = { app: discovery, prover, self: peerId };
  mount(mounting, discoveryRoutes.putPins, async ({ body: { drafts } }) => {
    if (swarm.pinRefusal !== undefined) throw swarm.pinRefusal;
    swarm.pinCalls.push(drafts.length);
    const now = Date.now();
    const made = drafts.map((draft): Pin => ({
      ...draft,
      v: 1,
      createdAtMs: now,
      epoch: now,
      deleted: false,
      clock: now,
      origin: peerId,
    }));
    for (const pin of made) pins.set(pin.root, pin);
    return { pins: made };
  });
  mount(mounting, discoveryRoutes.getPin, async ({ params }) => {
    const pin = pins.get(params.hash);
    if (pin === undefined) throw new FileNotFound({ hash: params.hash, peersAsked: 0 });
    return pin;
  });
  mount(mounting, discoveryRoutes.findPins, async ({ body }) => ({
    pins: body.hashes.map((hash) => pins.get(hash) ?? null),
  }));
  mount(mounting, discoveryRoutes.tokenUse, async ({ params }) => {
    const put = [...pins.values()].filter(({ token }) => token === params.token);
    return { usedBytes: put.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  });
  mount(mounting, discoveryRoutes.members, async () => ({
    version: 1,
    clock: swarm.clock,
    twin: swarm.twin,
    members: Array.from({ length: swarm.members }, (_, index): Member => ({
      v: 1,
      peerId,
      incarnation: 1,
      seq: index,
      libp2p: [],
      http: {
        gateway: NOWHERE,
        chunker: NOWHERE,
        storage: NOWHERE,
        transfer: NOWHERE,
        discovery: NOWHERE,
      },
      domain: { host: 'h', disk: 'd' },
      version: '0',
      capacityBytes: 1,
      usedBytes: 0,
      freeBytes: 1,
      blocks: 0,
      leaving: false,
      draining: false,
      tls: true,
      state: 'alive',
      isSelf: index === 0,
      seenMsAgo: 0,
      ...swarm.describe(index),
    })),
  }));
  mount(mounting, discoveryRoutes.fileHealth, async ({ params }) => {
    swarm.healthAsked += 1;
    const pin = pins.get(params.hash);
    if (pin === undefined) throw new FileNotFound({ hash: params.hash, peersAsked: 0 });
    const { root, kind, name, sizeBytes, sha256, blocks, replicas, createdAtMs } = pin;
    const { copies } = swarm;
    return {
      cid: root,
      kind,
      name,
      sizeBytes,
      sha256,
      blocks,
      replicas,
      createdAtMs,
      copies,
      confirmed: copies,
      ...(copies >= replicas
        ? { state: 'safe' as const }
        : copies > 0 && copies >= swarm.members
          ? {
              state: 'limited' as const,
              causes: [{ kind: 'few-peers' as const, count: swarm.members }],
            }
          : { state: 'spreading' as const }),
      survivesPeers: Math.max(0, copies - 1),
      disks: 1,
      verifiedAtMs: Date.now(),
      holders: [],
    };
  });
  const DISCOVERY_URL = await discovery.listen({ port: 0, host: '127.0.0.1' });
  stack.defer(() => discovery.close());

  const swarmBlocks = new Map<string, Uint8Array>();
  const transfer = createServer({
    service: 'transfer',
    log,
    registry: createRegistry('transfer'),
    whyNotReady: () => undefined,
    hostNames: [],
  });
  mountRaw(
    { app: transfer, prover, self: peerId },
    transferRoutes.getIpfs,
    async ({ params, reply }) => {
      const bytes = swarmBlocks.get(params['*']);
      return bytes === undefined ? reply.code(404).send('nobody') : reply.send(Buffer.from(bytes));
    },
  );
  mount(
    { app: transfer, prover, self: peerId },
    transferRoutes.spreadBlocks,
    async ({ request }) => {
      const frames = decodeFrames(Buffer.concat(await request.raw.toArray()));
      const { spread: copies } = swarm;
      if (copies === undefined) throw new Error('it is away');
      swarm.spreads.push(frames.length);
      return {
        blocks: frames.map(({ codec, bytes }) => ({ cid: hashBlock(codec, bytes), copies })),
      };
    },
  );
  const TRANSFER_URL = await transfer.listen({ port: 0, host: '127.0.0.1' });
  stack.defer(() => transfer.close());

  const own = {
    gateway: NOWHERE,
    chunker: NOWHERE,
    transfer: TRANSFER_URL,
    storage: STORAGE_URL,
    discovery: DISCOVERY_URL,
  };
  const peers: PeerClient = stack.use(createPeerClient({ prover, self: peerId, own }));
  const config = ChunkerConfig.parse({
    ...common,
    STORAGE_URL,
    DISCOVERY_URL,
    TRANSFER_URL,
    CHUNKER_PORT: '0',
    LOG_LEVEL: 'silent',
    ...settings,
  });
  const chunker = stack.use(await startChunker(config, log));
  const { signal } = new AbortController();

  const running = stack.move();
  return {
    chunker,
    owner,
    redisSocket,
    pins,
    swarm,
    swarmBlocks,
    prove: (method, path) => prover.prove(peerId, { method, path }),
    stats: () => peers.call(peers.own('storage'), storageRoutes.stats, {}, { signal }),
    async hasBlock(cid) {
      const { bits } = await peers.call(
        peers.own('storage'),
        storageRoutes.haveBlocks,
        { body: { cids: [cid] } },
        { signal },
      );
      return (Buffer.from(bits, 'base64url')[0] ?? 0) >= 0x80;
    },
    killStorage: () => end(storage),
    async bringRedis() {
      redis ??= await startRedis(redisSocket);
    },
    async stopDiscovery() {
      await discovery.close();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The origin that a service prints when it listens. */
async function originOf(service: ChildProcess): Promise<string> {
  if (service.stdout === null) throw new Error('the service has no output to read');
  const lines = createInterface({ input: service.stdout });
  const timer = setTimeout(() => void end(service), DEADLINE_MS);
  try {
    for await (const line of lines) {
      const { origin } = JSON.parse(line) as { origin?: unknown };
      if (typeof origin === 'string') return origin;
    }
    throw new Error('the service ended before it listened');
  } finally {
    clearTimeout(timer);
    service.stdout.resume();
  }
}
