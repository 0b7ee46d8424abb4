/**
 * A member that lies: its launcher is frozen, its storage killed, and in its place, at the same port, one
 * answers that says yes to everything and keeps no chunk of any file. The rest of the peer is real: it
 * announces, offers, settles, and has its own storage lie to it too.
 *
 * It keeps manifests, as without them it could not say what it has. Its space is beyond measure, so that
 * placement would name it first for everything. Proofs are made here by the words of docs/protocol.md
 * alone, not by the code that checks them.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { decode as decodeNode } from '@ipld/dag-pb';
import { decodeFrames, SPACE_MAX_BYTES } from '@shoal/protocol';
import { acceptAs, eventually, isRunning, type RunningPeer, signalProcess } from '@shoal/testkit';
import { base32 } from 'multiformats/bases/base32';
import { CID } from 'multiformats/cid';
import { create as createDigest } from 'multiformats/hashes/digest';

/**
 * `proves nothing`: says that it has what it is offered, and answers noise. `keeps for a while`: takes what
 * it is offered, proves it as long as it is fresh, and throws it away.
 */
export const LIES = ['proves nothing', 'keeps for a while'] as const;
export type Lie = (typeof LIES)[number];

const KEPT_FOR_MS = 4000;
const CODES = { raw: 0x55, 'dag-pb': 0x70 } as const;
type Json = Record<string, unknown>;

export interface LyingStorage extends AsyncDisposable {
  /** Proofs that it was asked for. */
  readonly asked: number;
  /** Chunks that it took and threw away. */
  readonly thrownAway: number;
}

/** Turns a peer whose services are processes of their own into a liar, until disposed. */
export async function startLying(peer: RunningPeer, lie: Lie): Promise<LyingStorage> {
  const { launcherId, peerId } = peer;
  const nodes = new Map<string, Uint8Array>();
  const fresh = new Map<string, Uint8Array>();
  const timers = new Set<NodeJS.Timeout>();
  let asked = 0;
  let thrownAway = 0;

  const put = (codec: keyof typeof CODES, bytes: Uint8Array): Json => {
    const hash = createDigest(0x12, createHash('sha256').update(bytes).digest());
    const cid = CID.createV1(CODES[codec], hash).toString(base32);
    const copy = Uint8Array.from(bytes); // the body is one buffer for many
    if (codec === 'dag-pb') nodes.set(cid, copy);
    else {
      thrownAway += 1;
      if (lie === 'keeps for a while') {
        fresh.set(cid, copy);
        timers.add(setTimeout(() => fresh.delete(cid), KEPT_FOR_MS));
      }
    }
    return { cid, sizeBytes: bytes.length, isNew: true };
  };
  const proof = (cid: string, { nonce, asker, holder }: Json): string => {
    asked += 1;
    const bytes = nodes.get(cid) ?? fresh.get(cid);
    if (bytes !== undefined) return proofOf(bytes, cid, [nonce, asker, holder].map(String));
    return lie === 'proves nothing' ? randomBytes(32).toString('base64url') : '';
  };
  /** All blocks below a root, in DAG order; undefined without one of the nodes. */
  const list = (cid: string): string[] | undefined => {
    if (CID.parse(cid).code === CODES.raw) return [cid];
    const bytes = nodes.get(cid);
    if (bytes === undefined) return undefined;
    const below = decodeNode(bytes).Links.map(({ Hash }) => list(Hash.toString(base32)));
    return below.some((each) => each === undefined)
      ? undefined
      : [cid, ...below.flatMap((each) => each ?? [])];
  };
  const haveMap = (root: string): Json | undefined => {
    const blocks = list(root)?.length;
    return blocks === undefined ? undefined : { root, blocks, bits: bitsOf(blocks, () => true) };
  };
  const answer = async (request: IncomingMessage): Promise<Json | Uint8Array | undefined> => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://liar');
    const route = `${request.method} ${pathname}`;
    const raw = await bodyOf(request);
    const isJson = request.headers['content-type']?.includes('json') === true;
    const body = (isJson ? JSON.parse(raw.toString()) : {}) as Json;
    const cids = (body['cids'] ?? []) as string[];
    const caller = callerOf(request);
    const [, , part = ''] = pathname.split('/');
    // Its own services are told the truth about manifests, or they would not fetch them.
    const has = (cid: string) =>
      CID.parse(cid).code === CODES['dag-pb'] && caller === peerId ? nodes.has(cid) : true;
    if (route === 'POST /blocks')
      return put(searchParams.get('codec') === 'dag-pb' ? 'dag-pb' : 'raw', raw);
    if (route === 'POST /blocks/batch')
      return { blocks: decodeFrames(raw).map(({ codec, bytes }) => put(codec, bytes)) };
    if (request.method === 'PUT')
      return put(CID.parse(part).code === CODES.raw ? 'raw' : 'dag-pb', raw);
    if (route === 'POST /blocks/have')
      return { bits: bitsOf(cids.length, (at) => has(cids[at] ?? '')) };
    if (route === 'POST /blocks/prove') {
      const who = { nonce: body['nonce'], asker: caller, holder: peerId };
      return { proofs: cids.map((cid) => proof(cid, who)) };
    }
    if (route === 'POST /blocks/expect') return { proofs: cids.map((cid) => proof(cid, body)) };
    if (route === 'POST /dags/blocks') {
      const places = body['places'] as { root: string; index: number }[];
      return { blocks: places.map(({ root, index }) => ({ cid: list(root)?.[index] })) };
    }
    if (pathname.startsWith('/leases/') && request.method === 'POST') {
      // One has everything that it is offered; the other takes it, so as to have it for a while.
      const isHere = (cid: string) => nodes.has(cid) || fresh.has(cid);
      const says = (at: number) => lie === 'proves nothing' || isHere(cids[at] ?? '');
      return { bits: bitsOf(cids.length, says) };
    }
    if (pathname.startsWith('/leases/')) return { deletedBlocks: 0 };
    if (pathname.endsWith('/have-map')) return haveMap(part);
    if (route === 'POST /dags/have-maps')
      return { haveMaps: (body['roots'] as string[]).map((root) => haveMap(root) ?? 'absent') };
    if (pathname.endsWith('/keep')) return { keptBlocks: 0 };
    if (pathname.endsWith('/check')) return { state: 'sound' };
    if (route === 'POST /blocks/retire') return { bits: bitsOf(cids.length, () => false) };
    if (route === 'POST /blocks/drop') return { droppedBlocks: 0 };
    if (route === 'POST /blocks/unretire' || pathname === '/healthz' || pathname === '/readyz')
      return {};
    if (pathname === '/stats' || pathname === '/room')
      return {
        blocks: 1_000_000,
        usedBytes: 0,
        freeBytes: SPACE_MAX_BYTES,
        capacityBytes: SPACE_MAX_BYTES,
        domain: { host: `liar-${peerId.slice(-6)}`, disk: 'sda' },
      };
    return request.method === 'GET' ? (nodes.get(part) ?? fresh.get(part)) : undefined;
  };

  signalProcess(launcherId, 'SIGSTOP');
  const storageId = peer.killOne('storage');
  await eventually('the storage is gone', () => !isRunning(storageId));
  const server = createServer((request, response) => {
    response.on('error', () => undefined); // who asks may hang up
    answer(request).then(
      (said) => {
        if (said === undefined) response.writeHead(404).end();
        else if (said instanceof Uint8Array)
          response.writeHead(200, { 'content-length': said.length }).end(said);
        else
          response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
      },
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  const callerOf = acceptAs(server, peer);
  // A killed process may hold its port a moment longer, until its last thread is gone.
  await eventually('the port is free', async () => {
    server.listen(Number(new URL(peer.storage).port), '127.0.0.1');
    await once(server, 'listening');
    return true;
  });
  return {
    get asked() {
      return asked;
    },
    get thrownAway() {
      return thrownAway;
    },
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearTimeout(timer);
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      signalProcess(launcherId, 'SIGCONT');
      await eventually('the true storage is back', async () => {
        const { ok } = await fetch(`${peer.storage}/readyz`);
        return ok;
      });
    },
  };
}

/** As docs/protocol.md says, from the whole block. */
function proofOf(
  bytes: Uint8Array,
  cid: string,
  [nonce, asker, holder]: readonly string[],
): string {
  const { digest } = CID.parse(cid).multihash;
  const random = createHash('sha256')
    .update(`shoal-copy-ranges-v1\n${nonce}\n`)
    .update(digest)
    .digest();
  const offsets = [0, 6, 12, 18].map((at) => random.readUIntBE(at, 6) % (bytes.length - 4095));
  const parts =
    bytes.length <= 16_384
      ? [bytes]
      : offsets.map((offset) => bytes.subarray(offset, offset + 4096));
  const hash = createHash('sha256');
  hash.update(`shoal-copy-v1\n${nonce}\n${asker}\n${holder}\n${bytes.length}\n`).update(digest);
  for (const part of parts) hash.update(part);
  return hash.digest('base64url');
}

function bitsOf(count: number, has: (index: number) => boolean): string {
  const bits = Buffer.alloc(Math.ceil(count / 8));
  for (let index = 0; index < count; index += 1)
    if (has(index)) bits[index >> 3] = (bits[index >> 3] ?? 0) | (0x80 >> (index & 7));
  return bits.toString('base64url');
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
