/** The routes of `protocol/routes/storage.ts`, put on the store. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { cidOf, codecOf, createBits, digestOf, encodeBits, setBit } from '@shoal/blocks';
import { type Log, mount, mountRaw, type Mounting, watchReader } from '@shoal/chassis';
import {
  BLOCK_SIZE_MAX_BYTES,
  BlockCorrupt,
  BlockNotFound,
  type Cid,
  type Codec,
  decodeFrames,
  type Lease,
  MiB,
  type PeerId,
  type PutReply,
  StorageFull,
  storageRoutes as routes,
} from '@shoal/protocol';
import { type Digest, digestOfCid, digestOfHash } from './disk/block-record.ts';
import { type Blockstore } from './store/blockstore.ts';
import { announcedSize, assertNotEmpty, readBody } from './serve/body.ts';
import { createBufferPool } from './disk/buffers.ts';
import type { DagListings } from './dags/dag-listing.ts';
import { haveMapOf, keepDag, nameBlocks } from './dags/dags.ts';
import { haveMapsOf } from './dags/have-maps.ts';
import type { Metrics } from './metrics.ts';
import { createProveBlocks, OWN_WAITING_MAX } from './serve/prove-blocks.ts';
import type { Upkeep } from './upkeep/upkeep.ts';

/** Largest body of `POST /blocks/batch`. */
export const BATCH_SIZE_MAX_BYTES = 4 * MiB;
/** Bodies above a MiB, or of unknown size, at once. */
const LARGE_BODIES_MAX = 4;
/** Longest wait of a put for room to be made: its caller waits a little longer. */
const ROOM_WAIT_MAX_MS = 10_000;

export interface RouteDeps {
  readonly mounting: Mounting;
  readonly store: Blockstore;
  readonly listings: DagListings;
  readonly upkeep: Upkeep;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limits: {
    readonly writesMax: number;
    readonly waitingMax: number;
    readonly stallTimeoutMs: number;
  };
}

export function mountRoutes(deps: RouteDeps): void {
  mountWrites(deps);
  mountReads(deps);
  mountKeeping(deps);
  mountUpkeep(deps);
}

function mountWrites({ mounting, store, upkeep, metrics, limits }: RouteDeps): void {
  const withBody = createBodyReader(limits);
  const put = async (
    bytes: Uint8Array,
    hash: Uint8Array,
    codec: Codec,
    lease?: Lease,
    isYielding = false,
  ) => {
    const putNow = () => store.put(digestOfHash(hash), bytes, lease, { isYielding });
    const { isNew } = await putNow().catch(async (error: unknown) => {
      if (isYielding || !(error instanceof StorageFull)) throw error;
      const wish = { neededBytes: bytes.length, isRepair: lease === undefined };
      const wait = sleep(ROOM_WAIT_MAX_MS, false, { ref: false });
      if (!(await Promise.race([upkeep.makeRoom(wish), wait]))) throw error;
      return putNow();
    });
    return { cid: cidOf(codec, hash), sizeBytes: bytes.length, isNew };
  };
  mount(mounting, routes.addBlock, ({ request, reply, query, caller }) =>
    withBody({ request: request.raw, response: reply.raw, caller }, BLOCK_SIZE_MAX_BYTES, (bytes) =>
      put(bytes, hash(bytes), query.codec, query.lease),
    ),
  );
  mount(mounting, routes.putBlock, ({ request, reply, params: { cid }, query, caller }) =>
    withBody(
      { request: request.raw, response: reply.raw, caller },
      BLOCK_SIZE_MAX_BYTES,
      (bytes) => {
        const actual = hash(bytes);
        if (!timingSafeEqual(actual, digestOf(cid))) {
          metrics.blocksWritten.inc({ outcome: 'corrupt' });
          throw new BlockCorrupt({ cid, peer: 'the caller' });
        }
        return put(bytes, actual, codecOf(cid), query.lease, query.yields);
      },
    ),
  );
  mount(mounting, routes.addBlocks, ({ request, reply, query, caller }) =>
    withBody(
      { request: request.raw, response: reply.raw, caller },
      BATCH_SIZE_MAX_BYTES,
      async (body): Promise<{ blocks: PutReply[] }> => {
        const frames = decodeFrames(body);
        assertNotEmpty(frames.length);
        const puts = frames.map(({ codec, bytes }) => put(bytes, hash(bytes), codec, query.lease));
        await Promise.allSettled(puts); // the buffer is theirs until the last one is done
        return { blocks: await Promise.all(puts) };
      },
    ),
  );
}

function mountReads({ mounting, store, listings, upkeep, metrics, limits, log }: RouteDeps): void {
  mountRaw(
    mounting,
    routes.getBlock,
    async ({ request, reply, params: { cid }, caller, signal }) => {
      const headers = (sizeBytes: number) => ({
        'content-type': 'application/octet-stream',
        'content-length': sizeBytes,
        'x-content-type-options': 'nosniff',
      });
      if (request.method === 'HEAD') {
        const sizeBytes = await store.probe(digestOfCid(cid));
        if (sizeBytes === undefined) throw new BlockNotFound({ cid });
        return reply.headers(headers(sizeBytes)).send();
      }
      const reading = watchReader(reply.raw);
      const { isSlow } = reading;
      const stopWatching = () => reading[Symbol.dispose]();
      reply.raw.once('close', stopWatching);
      const block = await store.read(digestOfCid(cid), { client: caller, mayYield: true, isSlow });
      if (block === undefined) {
        metrics.blocksRead.inc({ outcome: 'absent' });
        throw new BlockNotFound({ cid });
      }
      if (signal.aborted) return block[Symbol.dispose]();
      reply.hijack();
      const { raw } = reply;
      // A caller that stops reading would keep the buffer for ever.
      const late = setTimeout(() => raw.destroy(), limits.stallTimeoutMs);
      block.signal?.addEventListener('abort', () => raw.destroy()); // its peer asks again, or another one
      // Not before `close`: until then the socket may still read the buffer.
      raw.once('close', () => {
        clearTimeout(late);
        const isSent = raw.writableFinished;
        metrics.blocksRead.inc({ outcome: isSent ? 'sent' : 'aborted' });
        if (isSent) metrics.bytesRead.inc(block.bytes.length);
        block[Symbol.dispose]();
      });
      raw.writeHead(200, headers(block.bytes.length));
      raw.end(block.bytes);
      return undefined;
    },
  );
  const isConfirmed = (digest: Digest, forGood: boolean) =>
    store.findConfirmed(digest) !== undefined && (!forGood || store.isForGood(digest));
  mount(mounting, routes.haveBlocks, async ({ body: { cids }, query: { forGood } }) =>
    toBits(cids.map(digestOfCid).map((digest) => isConfirmed(digest, forGood))),
  );
  const proveBlocks = createProveBlocks({ store, metrics, waitingMax: 0 });
  const expectProofs = createProveBlocks({ store, metrics, waitingMax: OWN_WAITING_MAX });
  mount(mounting, routes.proveBlocks, async ({ body, query: { forGood }, caller }) =>
    proveBlocks(
      { nonce: body.nonce, asker: caller, holder: mounting.self, cids: body.cids },
      (digest) => isConfirmed(digest, forGood),
    ),
  );
  mount(mounting, routes.expectProofs, ({ body }) => expectProofs(body));
  mount(mounting, routes.nameBlocks, async ({ body: { places } }) => ({
    blocks: await nameBlocks(store, listings, places),
  }));
  mount(mounting, routes.haveMap, ({ params }) => haveMapOf(store, listings, params.cid));
  mount(mounting, routes.haveMaps, async ({ body: { roots }, signal }) => {
    const read = (root: Cid) => haveMapOf(store, listings, root);
    return { haveMaps: await haveMapsOf(roots, read, { log, signal }) };
  });
  mount(mounting, routes.stats, () => store.stats());
  mount(mounting, routes.makeRoom, async ({ body: { neededBytes } }) => {
    await upkeep.makeRoom({ neededBytes, isRepair: false });
    return store.stats();
  });
}

function mountKeeping({ mounting, store, listings }: RouteDeps): void {
  mount(mounting, routes.checkBlock, async ({ params }) => ({
    state: await store.check(digestOfCid(params.cid)),
  }));
  mount(mounting, routes.leaseBlocks, async ({ params, body }) =>
    toBits(await store.join(params.lease, body.cids.map(digestOfCid))),
  );
  mount(mounting, routes.endLease, async ({ params, query }) => ({
    deletedBlocks: await store.endLease(params.lease, query.keep),
  }));
  mount(mounting, routes.keepDag, async ({ params, body }) => ({
    keptBlocks: await keepDag(store, listings, params.cid, body.replicas),
  }));
  mount(mounting, routes.retireBlocks, async ({ body: { cids, replicas } }) => {
    const entries = cids.map((cid) => ({
      digest: digestOfCid(cid),
      isNode: codecOf(cid) === 'dag-pb',
    }));
    return toBits(await store.retire(entries, replicas));
  });
  mount(mounting, routes.unretireBlocks, async ({ body }) => {
    await store.unretire(body.cids.map(digestOfCid));
    return {};
  });
  mount(mounting, routes.dropBlocks, async ({ body }) => ({
    droppedBlocks: await store.drop(body.cids.map(digestOfCid)),
  }));
}

function mountUpkeep({ mounting, upkeep }: RouteDeps): void {
  mount(mounting, routes.upkeep, ({ signal }) => upkeep.report({ signal }));
  mount(mounting, routes.scrub, async () => upkeep.scrub());
  mount(mounting, routes.sweep, ({ query }) => upkeep.sweep({ isDryRun: query.dryRun }));
}

/** Reads bodies into pooled buffers: the usual block in one of a MiB, the rest in a few large ones. */
function createBodyReader({ writesMax, waitingMax, stallTimeoutMs }: RouteDeps['limits']) {
  const what = 'block writes in flight';
  const usual = createBufferPool({ sizeBytes: MiB, buffersMax: writesMax, waitingMax, what });
  const large = createBufferPool({
    sizeBytes: BATCH_SIZE_MAX_BYTES,
    buffersMax: LARGE_BODIES_MAX,
    waitingMax,
    what,
  });
  return async <T>(
    {
      request,
      response,
      caller,
    }: { request: IncomingMessage; response: ServerResponse; caller: PeerId },
    sizeMaxBytes: number,
    use: (bytes: Uint8Array) => Promise<T>,
  ): Promise<T> => {
    try {
      const sizeBytes = announcedSize(request, sizeMaxBytes);
      const pool = sizeBytes !== undefined && sizeBytes <= MiB ? usual : large;
      using pooled = await pool.take({ client: caller });
      const bytes = await readBody(request, pooled.buffer, { sizeMaxBytes, stallTimeoutMs });
      return await use(bytes);
    } catch (error) {
      // What is left of the body would be taken for the next request.
      if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
      throw error;
    }
  };
}

const hash = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

function toBits(flags: readonly boolean[]): { bits: string } {
  const bits = createBits(flags.length);
  for (const [at, isSet] of flags.entries()) if (isSet) setBit(bits, at);
  return { bits: encodeBits(bits) };
}

/** Reads a manifest node into memory of its own; undefined when it is not held. */
export async function readNodeFrom(store: Blockstore, cid: Cid): Promise<Uint8Array | undefined> {
  using block = await store.read(digestOfCid(cid));
  return block === undefined ? undefined : Uint8Array.from(block.bytes);
}
