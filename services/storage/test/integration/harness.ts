/** A storage service on a real disk in a fresh folder, and the calls that its peer makes. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { getBit, hashBlock } from '@shoal/blocks';
import { createLog, createProver, loadConfig, openIdentity, readLocalSecret } from '@shoal/chassis';
import { type Cid, Lease, routePath, storageRoutes as routes } from '@shoal/protocol';
import { StorageConfig } from '../../src/config.ts';
import { startStorage } from '../../src/start.ts';

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export const newLease = (): Lease => Lease.parse(randomUUID());
export const newBlock = (sizeBytes: number): { bytes: Buffer<ArrayBuffer>; cid: Cid } => {
  const bytes = Buffer.from(randomBytes(sizeBytes));
  return { bytes, cid: hashBlock('raw', bytes) };
};

/** The folder of one peer, with its identity and its swarm's key. */
export async function createPeerFolder(parent = tmpdir()) {
  const dir = await mkdtemp(join(parent, 'shoal-storage-'));
  const keyFile = join(dir, 'swarm.key');
  const swarmKey = randomBytes(32);
  await writeFile(keyFile, swarmKey.toString('hex'));
  const { peerId } = openIdentity(join(dir, 'identity.key'));
  const unused = 'http://127.0.0.1:9';
  const env = (more: Record<string, string> = {}) => ({
    PEER_ID: peerId,
    PEER_DATA_DIR: dir,
    SWARM_KEY_FILE: keyFile,
    REDIS_SOCKET: join(dir, 'redis.sock'),
    LOG_LEVEL: 'silent',
    PEER_TLS: 'off', // members call by hand here, with the proof
    GATEWAY_URL: unused,
    CHUNKER_URL: unused,
    STORAGE_URL: unused,
    TRANSFER_URL: unused,
    DISCOVERY_URL: unused,
    STORAGE_PORT: '0',
    STORAGE_RESERVE_BYTES: '0',
    STORAGE_REPAIR_RESERVE_SHARE: '0',
    ...more,
  });
  return {
    dir,
    storageDir: join(dir, 'storage'),
    env,
    start: (more: Record<string, string> = {}) =>
      startStorage(loadConfig(StorageConfig, env(more)), createLog('storage', 'silent')),
    client: (origin: string) =>
      createClient(origin, createProver(swarmKey, peerId, readLocalSecret(dir)), peerId),
    /** Another member of the same swarm. */
    stranger: (origin: string) => {
      const other = openIdentity(join(dir, 'other.key')).peerId;
      return createClient(origin, createProver(swarmKey, other, Buffer.alloc(32)), peerId);
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
export type PeerFolder = Awaited<ReturnType<typeof createPeerFolder>>;
export type Client = ReturnType<typeof createClient>;

function createClient(
  origin: string,
  prover: ReturnType<typeof createProver>,
  target: Parameters<ReturnType<typeof createProver>['prove']>[0],
) {
  const ask = async (method: string, path: string, body?: Uint8Array<ArrayBuffer> | object) => {
    const isBytes = body instanceof Uint8Array;
    const payload = body === undefined || isBytes ? body : JSON.stringify(body);
    const proven = typeof payload === 'string' ? payload : undefined;
    return fetch(origin + path, {
      method,
      headers: {
        ...prover.prove(target, { method, path, body: proven }),
        ...(payload === undefined
          ? {}
          : { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' }),
      },
      ...(payload === undefined ? {} : { body: payload }),
    });
  };
  const json = async (...request: Parameters<typeof ask>): Promise<Answer> => {
    const response = await ask(...request);
    return {
      status: response.status,
      body: (await response.json()) as Record<string, unknown>,
    };
  };
  const bits = async (path: string, cids: readonly Cid[], more = {}): Promise<boolean[]> => {
    const { body } = await json('POST', path, { cids, ...more });
    const packed = Buffer.from(String(body['bits']), 'base64url');
    return cids.map((_, at) => getBit(packed, at));
  };
  return {
    ask,
    json,
    headers: (method: string, path: string) => prover.prove(target, { method, path }),
    put: (cid: Cid, bytes: Uint8Array<ArrayBuffer>, lease?: Lease) =>
      json('PUT', routePath(routes.putBlock.path, { cid }, { lease }), bytes),
    add: (bytes: Uint8Array<ArrayBuffer>, codec = 'raw', lease?: Lease) =>
      json('POST', routePath(routes.addBlock.path, {}, { codec, lease }), bytes),
    get: async (cid: Cid) => {
      const response = await ask('GET', routePath(routes.getBlock.path, { cid }));
      return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
    },
    have: (cids: readonly Cid[], query: { forGood?: boolean } = {}) =>
      bits(routePath(routes.haveBlocks.path, {}, query), cids),
    join: (lease: Lease, cids: readonly Cid[]) =>
      bits(routePath(routes.leaseBlocks.path, { lease }), cids),
    endLease: (lease: Lease, keep: boolean) =>
      json('DELETE', routePath(routes.endLease.path, { lease }, { keep })),
    retire: (cids: readonly Cid[], replicas: number) =>
      bits(routes.retireBlocks.path, cids, { replicas }),
    unretire: (cids: readonly Cid[]) => json('POST', routes.unretireBlocks.path, { cids }),
    drop: async (cids: readonly Cid[]) =>
      (await json('POST', routes.dropBlocks.path, { cids })).body['droppedBlocks'],
    check: async (cid: Cid) =>
      (await json('POST', routePath(routes.checkBlock.path, { cid }))).body['state'],
    keepDag: (cid: Cid, replicas: number) =>
      json('POST', routePath(routes.keepDag.path, { cid }), { replicas }),
    haveMap: (cid: Cid) => json('GET', routePath(routes.haveMap.path, { cid })),
    haveMaps: (roots: readonly Cid[]) => json('POST', routes.haveMaps.path, { roots }),
    stats: async () => (await json('GET', routes.stats.path)).body,
  };
}

/** Waits for something to become true; no fixed sleeps. */
export async function until(isTrue: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The origin that the service says it listens on. */
export async function originOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('stdout is not piped');
  for await (const line of createInterface(child.stdout)) {
    const { origin } = JSON.parse(line) as { origin?: string };
    if (origin !== undefined) {
      child.stdout.resume();
      return origin;
    }
  }
  throw new Error('the service ended before it listened');
}
