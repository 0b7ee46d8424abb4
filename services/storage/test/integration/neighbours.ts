/** The services that storage talks to: a discovery with pins, and a transfer that has every block. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createLog,
  createProver,
  createRegistry,
  createServer,
  mount,
  readLocalSecret,
  readSwarmKey,
} from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  PeerId,
  type Pin,
  Sha256,
  transferRoutes,
} from '@shoal/protocol';
import type { PeerFolder } from './harness.ts';

const PINS_PER_PAGE = 2;

export async function startNeighbours(peer: PeerFolder) {
  const { PEER_ID, SWARM_KEY_FILE, PEER_DATA_DIR } = peer.env();
  const self = PeerId.parse(PEER_ID);
  const prover = createProver(readSwarmKey(SWARM_KEY_FILE), self, readLocalSecret(PEER_DATA_DIR));
  const app = createServer({
    service: 'discovery',
    log: createLog('discovery', 'silent'),
    registry: createRegistry('discovery'),
    whyNotReady: () => undefined,
    hostNames: [],
  });
  const state = {
    // ── discovery ──
    pins: new Map<Cid, number>(),
    /** Deleted files that can be brought back, the one that is purged next first. */
    deleted: [] as Cid[],
    purged: [] as Cid[],
    isCurrent: true,
    /** Every page of pins takes so long. */
    delayMs: 0,
    queries: [] as { after: string; justExpired: boolean }[],
    concurrentMax: 0,
    // ── transfer ──
    settled: [] as Cid[][],
    /** Blocks that other members have. */
    blocks: new Map<Cid, { bytes: Uint8Array<ArrayBuffer> }>(),
    isGiving: true,
    copied: [] as Cid[][],
    /** Where storage answers, so that copies can be put there. */
    put: async (_cid: Cid, _bytes: Uint8Array<ArrayBuffer>): Promise<unknown> => undefined,
  };
  const mounting = { app, prover, self };
  let concurrent = 0;

  mount(mounting, discoveryRoutes.listPins, async ({ query, signal }) => {
    state.queries.push(query);
    concurrent += 1;
    state.concurrentMax = Math.max(state.concurrentMax, concurrent);
    try {
      await sleep(state.delayMs, undefined, { signal });
    } finally {
      concurrent -= 1;
    }
    const all = [...state.pins.keys(), ...(query.deleted ? state.deleted : [])];
    const roots = all.toSorted().filter((root) => root > query.after);
    const pins = roots.slice(0, PINS_PER_PAGE).map((root): Pin => ({
      v: 1,
      root,
      kind: 'file',
      name: 'a',
      sizeBytes: 1,
      sha256: Sha256.parse('0'.repeat(64)),
      blocks: 1,
      replicas: state.pins.get(root) ?? 1,
      createdAtMs: 1,
      epoch: 1,
      deleted: state.deleted.includes(root),
      clock: 1,
      origin: self,
    }));
    const next = roots.length > PINS_PER_PAGE ? pins.at(-1)?.root : undefined;
    return { pins, next, isCurrent: state.isCurrent };
  });
  mount(mounting, discoveryRoutes.listPurgeable, async () => ({ roots: state.deleted }));
  mount(mounting, discoveryRoutes.purgeForRoom, async ({ body: { roots } }) => {
    state.purged.push(...roots);
    state.deleted = state.deleted.filter((root) => !roots.includes(root));
    return { purged: roots.length };
  });
  mount(mounting, transferRoutes.settleFiles, async ({ body }) => {
    state.settled.push(body.roots);
    return {};
  });
  mount(mounting, transferRoutes.copyBlocks, async ({ body: { cids } }) => {
    state.copied.push(cids);
    for (const cid of state.isGiving ? cids : []) {
      const block = state.blocks.get(cid);
      if (block !== undefined) await state.put(cid, block.bytes);
    }
    return { bits: '' };
  });
  const origin = await app.listen({ port: 0, host: '127.0.0.1' });
  return Object.assign(state, {
    origin,
    [Symbol.asyncDispose]: async () => {
      await app.close();
    },
  });
}
export type Neighbours = Awaited<ReturnType<typeof startNeighbours>>;
