/**
 * The routes of `protocol/routes/storage.ts`, put on the store: this file says which call answers which route, in the
 * terms of both. Requests speak of CIDs, the store of digests; how bodies come and go is in `serve/`.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { codecOf, createBits, digestOf, encodeBits, proveWhole, setBit } from '@shoal/blocks';
import { type Log, mount, mountRaw, type Mounting, watchReader } from '@shoal/chassis';
import {
  BLOCK_SIZE_MAX_BYTES,
  BlockCorrupt,
  BlockNotFound,
  type Cid,
  decodeFrames,
  storageRoutes as routes,
} from '@shoal/protocol';
import type { DagListings } from './dags/dag-listing.ts';
import { decidedHaveMapOf, haveMapOf, markDag, nameBlocks } from './dags/dags.ts';
import { haveMapsOf } from './dags/have-maps.ts';
import { type Digest, digestOfCid } from './disk/block-record.ts';
import type { Metrics } from './metrics.ts';
import {
  assertNotEmpty,
  BATCH_SIZE_MAX_BYTES,
  type BodyLimits,
  createBodyReader,
} from './serve/body.ts';
import { createProveBlocks, OWN_WAITING_MAX } from './serve/prove-blocks.ts';
import { createPutOrMakeRoom } from './serve/put-or-make-room.ts';
import { blockHeaders, sendBlock } from './serve/send-block.ts';
import type { Blockstore } from './store/blockstore.ts';
import type { Upkeep } from './upkeep/upkeep.ts';

export interface RouteDeps {
  readonly mounting: Mounting;
  readonly store: Blockstore;
  readonly listings: DagListings;
  readonly upkeep: Upkeep;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limits: BodyLimits;
}

export function mountRoutes(deps: RouteDeps): void {
  mountWrites(deps);
  mountReads(deps);
  mountMarks(deps);
  mountUpkeep(deps);
}

function mountWrites({ mounting, store, upkeep, metrics, limits }: RouteDeps): void {
  const withBody = createBodyReader(limits);
  const put = createPutOrMakeRoom({ store, makeRoom: upkeep.makeRoom });
  mount(mounting, routes.addBlock, ({ request, reply, query: { codec, lease }, caller }) =>
    withBody({ request: request.raw, response: reply.raw, caller }, BLOCK_SIZE_MAX_BYTES, (bytes) =>
      put({ hash: hashOf(bytes), codec, bytes }, { lease }),
    ),
  );
  mount(mounting, routes.putBlock, ({ request, reply, params: { cid }, query, caller }) =>
    withBody(
      { request: request.raw, response: reply.raw, caller },
      BLOCK_SIZE_MAX_BYTES,
      (bytes) => {
        const hash = hashOf(bytes);
        if (!timingSafeEqual(hash, digestOf(cid))) {
          metrics.blocksWritten.inc({ outcome: 'corrupt' });
          throw new BlockCorrupt({ cid, peer: 'the caller' });
        }
        const { lease, yields } = query;
        return put({ hash, codec: codecOf(cid), bytes }, { lease, isYielding: yields });
      },
    ),
  );
  const { self } = mounting;
  mount(mounting, routes.addBlocks, ({ request, reply, query, caller }) =>
    withBody(
      { request: request.raw, response: reply.raw, caller },
      BATCH_SIZE_MAX_BYTES,
      async (body) => {
        const frames = decodeFrames(body);
        assertNotEmpty(frames.length);
        const { lease, replicas, nonce, asker } = query;
        const puts = frames.map(({ codec, bytes }) =>
          put({ hash: hashOf(bytes), codec, bytes }, { lease, replicas }),
        );
        await Promise.allSettled(puts); // the buffer is theirs until the last one is done
        const blocks = await Promise.all(puts);
        if (nonce === undefined || asker === undefined) return { blocks };
        const proofs = blocks.map(({ cid }, at) =>
          proveWhole({ nonce, asker, holder: self, cid }, frames[at]?.bytes ?? new Uint8Array()),
        );
        return { blocks, proofs };
      },
    ),
  );
}

function mountReads({ mounting, store, listings, upkeep, metrics, limits, log }: RouteDeps): void {
  mountRaw(
    mounting,
    routes.getBlock,
    async ({ request, reply, params: { cid }, caller, signal }) => {
      if (request.method === 'HEAD') {
        const sizeBytes = await store.probe(digestOfCid(cid));
        if (sizeBytes === undefined) throw new BlockNotFound({ cid });
        return reply.headers(blockHeaders(sizeBytes)).send();
      }
      const reading = watchReader(reply.raw);
      const { isSlow } = reading;
      reply.raw.once('close', () => reading[Symbol.dispose]());
      const block = await store.read(digestOfCid(cid), { client: caller, mayYield: true, isSlow });
      if (block === undefined) {
        metrics.blocksRead.inc({ outcome: 'absent' });
        throw new BlockNotFound({ cid });
      }
      if (signal.aborted) return block[Symbol.dispose]();
      reply.hijack();
      return sendBlock(reply.raw, block, { metrics, stallTimeoutMs: limits.stallTimeoutMs });
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
      // A copy that is about to be dropped is there until it is: a sample must not take that for a lie. A peer
      // that drops its own asks for copies that stay.
      (digest) => !forGood || isConfirmed(digest, forGood),
    ),
  );
  mount(mounting, routes.expectProofs, ({ body }) => expectProofs(body));
  mount(mounting, routes.nameBlocks, async ({ body: { places } }) => ({
    blocks: await nameBlocks(store, listings, places),
  }));
  mount(mounting, routes.haveMap, ({ params }) => haveMapOf(store, listings, params.cid));
  mount(mounting, routes.haveMaps, async ({ body: { roots }, signal }) => {
    const read = (root: Cid) => decidedHaveMapOf(store, listings, root);
    return { haveMaps: await haveMapsOf(roots, read, { log, signal }) };
  });
  mount(mounting, routes.stats, () => store.stats());
  mount(mounting, routes.makeRoom, async ({ body: { neededBytes } }) => {
    await upkeep.makeRoom({ neededBytes, isRepair: false });
    return store.stats();
  });
}

function mountMarks({ mounting, store, listings }: RouteDeps): void {
  mount(mounting, routes.checkBlock, async ({ params }) => ({
    state: await store.check(digestOfCid(params.cid)),
  }));
  mount(mounting, routes.leaseBlocks, async ({ params, body }) =>
    toBits(await store.join(params.lease, body.cids.map(digestOfCid))),
  );
  mount(mounting, routes.endLease, async ({ params, query }) => ({
    deletedBlocks: await store.endLease(params.lease, query.keep ? 'completed' : 'given-up'),
  }));
  mount(mounting, routes.keepBlocks, async ({ body: { blocks } }) => {
    for (const [replicas, some] of Map.groupBy(blocks, (block) => block.replicas))
      await store.mark(
        some.map(({ cid }) => ({ digest: digestOfCid(cid), isNode: codecOf(cid) === 'dag-pb' })),
        replicas,
      );
    return toBits(blocks.map(({ cid }) => store.findConfirmed(digestOfCid(cid)) !== undefined));
  });
  mount(mounting, routes.keepDag, async ({ params, body }) => ({
    keptBlocks: await markDag(store, listings, params.cid, body.replicas),
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

function mountUpkeep({ mounting, store, upkeep }: RouteDeps): void {
  mount(mounting, routes.losses, async ({ query: { known, waitMs }, signal }) => {
    await store.losses.changed(known, waitMs, signal);
    return { losses: store.losses.count };
  });
  mount(mounting, routes.upkeep, ({ signal }) => upkeep.report({ signal }));
  mount(mounting, routes.scrub, async () => upkeep.scrub());
  mount(mounting, routes.sweep, ({ query }) => upkeep.sweep({ isDryRun: query.dryRun }));
}

const hashOf = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

function toBits(flags: readonly boolean[]): { bits: string } {
  const bits = createBits(flags.length);
  for (const [at, isSet] of flags.entries()) if (isSet) setBit(bits, at);
  return { bits: encodeBits(bits) };
}
