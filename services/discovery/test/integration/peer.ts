/** A real discovery process with a storage beside it that answers what a test says. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { env as ownEnv } from 'node:process';
import { createBits, encodeBits, hashBlock, setBit } from '@shoal/blocks';
import {
  createHandshakeCounter,
  createLog,
  createPeerClient,
  createPeerTls,
  createProver,
  createRegistry,
  createServer,
  mount,
  openIdentity,
  readLocalSecret,
  type PeerClient,
  readSwarmKey,
  type Target,
} from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  type HaveMap,
  type Member,
  type PeerId,
  type Pin,
  type PinDraft,
  Sha256,
  storageRoutes,
} from '@shoal/protocol';
import { compileCacheDir, findBasePort, programOf } from '@shoal/testkit';

const MAIN = programOf('services/discovery');
const signal = new AbortController().signal;

export interface PeerOptions {
  readonly folder: string;
  readonly name: string;
  readonly keyFile: string;
  readonly seeds?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Drops what it says on stderr. */
  readonly isQuiet?: boolean;
}

export interface TestPeer extends AsyncDisposable {
  readonly peerId: PeerId;
  readonly libp2pPort: number;
  readonly origin: string;
  readonly process: ChildProcess;
  /** What its storage says that it holds. */
  readonly held: Map<Cid, HaveMap>;
  /** Blocks that its storage confirms. */
  readonly blocks: Set<Cid>;
  /** Its storage loses a file, and counts that. */
  lose(root: Cid): void;
  /** Makes its storage wait before it says what it holds. */
  setStorageDelay(delayMs: number): void;
  readonly client: PeerClient;
  readonly target: Target;
  readonly log: () => string;
  members(): Promise<Member[]>;
  stateOf(peerId: PeerId): Promise<Member['state'] | undefined>;
  put(draft: PinDraft): Promise<Pin>;
  find(hash: string, ask?: boolean): Promise<Pin>;
  pins(justExpired?: boolean): Promise<{ pins: Pin[]; isCurrent: boolean }>;
  /** A request as a user makes it. */
  ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }>;
  setDraining(isDraining: boolean): Promise<void>;
  kill(name: NodeJS.Signals): Promise<void>;
}

export async function writeKey(folder: string, name: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, randomBytes(32).toString('hex'));
  return file;
}

export async function startPeer(
  options: PeerOptions & { readonly libp2pPort?: number },
): Promise<TestPeer> {
  const { folder, name, keyFile } = options;
  const dir = join(folder, name);
  const identity = openIdentity(join(dir, 'identity.key'));
  const { peerId } = identity;
  const prover = createProver(readSwarmKey(keyFile), peerId, readLocalSecret(dir));
  const held = new Map<Cid, HaveMap>();
  const blocks = new Set<Cid>();
  let storageDelayMs = 0;
  let losses = 1;
  let noteLoss = Promise.withResolvers<void>();
  const registry = createRegistry('storage');
  const storage = createServer({
    service: 'storage',
    log: createLog('storage', 'silent'),
    registry,
    whyNotReady: () => undefined,
    hostNames: [],
    peers: {
      tls: createPeerTls(identity, readSwarmKey(keyFile)),
      handshakes: createHandshakeCounter('storage', registry),
    },
  });
  const mounting = { app: storage, prover, self: peerId };
  mount(mounting, storageRoutes.stats, async () => ({
    blocks: held.size,
    usedBytes: 10,
    freeBytes: 90,
    capacityBytes: 100,
    domain: { host: 'test', disk: name },
  }));
  mount(mounting, storageRoutes.losses, async ({ query: { known, waitMs }, signal: gone }) => {
    if (known === losses)
      await Promise.race([noteLoss.promise, wait(waitMs, undefined, { signal: gone })]).catch(
        () => undefined,
      );
    return { losses };
  });
  mount(mounting, storageRoutes.haveMaps, async ({ body: { roots } }) => {
    if (storageDelayMs > 0) await wait(storageDelayMs);
    return { haveMaps: roots.map((root) => held.get(root) ?? 'absent') };
  });
  mount(mounting, storageRoutes.haveBlocks, async ({ body: { cids } }) => {
    const bits = createBits(cids.length);
    for (const [index, cid] of cids.entries()) if (blocks.has(cid)) setBit(bits, index);
    return { bits: encodeBits(bits) };
  });
  const storageOrigin = await storage.listen({ host: '127.0.0.1', port: 0 });
  // Below the ports that the system gives to connections, or one of those has it when this peer starts again.
  const port = await findBasePort();
  const libp2pPort = options.libp2pPort ?? port + 1;
  const origin = `http://127.0.0.1:${port}`;
  const child = spawn(process.execPath, [MAIN], {
    stdio: ['ignore', 'pipe', options.isQuiet === true ? 'ignore' : 'inherit'],
    env: {
      NODE_COMPILE_CACHE: compileCacheDir(ownEnv),
      PEER_ID: peerId,
      PEER_DATA_DIR: dir,
      SWARM_KEY_FILE: keyFile,
      REDIS_SOCKET: join(folder, 'redis.sock'),
      LOG_LEVEL: 'debug',
      GATEWAY_URL: 'http://127.0.0.1:1',
      CHUNKER_URL: 'http://127.0.0.1:2',
      STORAGE_URL: storageOrigin,
      TRANSFER_URL: 'http://127.0.0.1:3',
      DISCOVERY_URL: origin,
      DISCOVERY_PORT: String(port),
      DISCOVERY_LIBP2P_PORT: String(libp2pPort),
      DISCOVERY_MDNS: 'false',
      DISCOVERY_SEEDS: options.seeds ?? '',
      ...options.env,
    },
  });
  let output = '';
  const listening = Promise.withResolvers<void>();
  child.stdout.on('data', (bytes: Buffer) => {
    output = (output + bytes.toString()).slice(-1_000_000);
    if (output.includes('"msg":"listening"')) listening.resolve();
  });
  const exited = once(child, 'exit');
  void exited.then(() => listening.reject(new Error(`discovery ended: ${output}`)));
  await listening.promise;
  const client = createPeerClient({
    prover,
    self: peerId,
    own: {
      gateway: origin,
      chunker: origin,
      storage: storageOrigin,
      transfer: origin,
      discovery: origin,
    },
  });
  const target = { peerId, origin };
  const kill = async (by: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(by);
    await exited;
  };
  const members = async () => {
    const reply = await client.call(target, discoveryRoutes.listPeers, {}, { signal });
    return reply.peers;
  };
  return {
    peerId,
    libp2pPort,
    origin,
    process: child,
    held,
    blocks,
    setStorageDelay: (delayMs) => (storageDelayMs = delayMs),
    lose(root) {
      held.delete(root);
      losses += 1;
      noteLoss.resolve();
      noteLoss = Promise.withResolvers();
    },
    client,
    target,
    log: () => output,
    kill,
    members,
    stateOf: async (other) => (await members()).find((each) => each.peerId === other)?.state,
    async put(draft) {
      const args = { body: { drafts: [draft] } };
      const { pins } = await client.call(target, discoveryRoutes.putPins, args, { signal });
      return pins[0] as Pin; // as long as the drafts
    },
    find: (hash, ask = true) =>
      client.call(
        target,
        discoveryRoutes.getPin,
        { params: { hash: hash as Cid }, query: { ask: ask ? 'true' : 'false' } },
        { signal },
      ),
    pins: (justExpired = false) =>
      client.call(
        target,
        discoveryRoutes.listPins,
        { query: { justExpired: String(justExpired) } },
        { signal },
      ),
    async ask(method, path, body) {
      const json = {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      };
      const reply = await fetch(origin + path, { method, ...(body === undefined ? {} : json) });
      return { status: reply.status, body: await reply.json() };
    },
    async setDraining(isDraining) {
      await client.call(target, discoveryRoutes.setDraining, { body: { isDraining } }, { signal });
    },
    async [Symbol.asyncDispose]() {
      await kill('SIGKILL');
      await client[Symbol.asyncDispose]();
      await storage.close();
    },
  };
}

export function draft(name: string, blocks = 3): PinDraft & { sha256: Sha256 } {
  const bytes = new TextEncoder().encode(name);
  const root = hashBlock('raw', bytes);
  const sha256 = Sha256.parse(Buffer.from(bytes).toString('hex').padEnd(64, '0').slice(0, 64));
  return { root, kind: 'file', name, sizeBytes: blocks, sha256, blocks, replicas: 2 };
}

/** A have-map with these blocks. */
export function haveMap(root: Cid, blocks: number, having: readonly number[]): HaveMap {
  const bits = createBits(blocks);
  for (const index of having) setBit(bits, index);
  return { root, blocks, bits: encodeBits(bits) };
}
