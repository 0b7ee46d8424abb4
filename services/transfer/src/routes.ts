/** The HTTP face of transfer beside `/ipfs/`: every route of the contract, each a line over its mechanism. */
import { mount, type Mounting, mountRaw, type PeerClient } from '@shoal/chassis';
import { SMALL_BLOCKS_MAX, transferRoutes } from '@shoal/protocol';
import type { createAcceptReplicas } from './copies/accept-replicas.ts';
import type { createCopyBlocks } from './copies/copy-blocks.ts';
import { readSentBlocks, type SentBlock } from './copies/sent-blocks.ts';
import type { SpreadBlock, SpreadWishes } from './copies/spread-blocks.ts';
import type { createTakeBlocks } from './copies/take-blocks.ts';
import { endLease, type ReleasedLeases } from './copies/end-leases.ts';
import type { createGetMetalink, createGetTorrent } from './describe/describe-file.ts';
import type { createDownload } from './download.ts';
import type { Drain } from './leave/drain.ts';
import type { PinCache } from './peers/pin-cache.ts';
import type { SettleLoop } from './settle/settle-loop.ts';

export interface Handlers {
  readonly download: ReturnType<typeof createDownload>;
  readonly getTorrent: ReturnType<typeof createGetTorrent>;
  readonly getMetalink: ReturnType<typeof createGetMetalink>;
  readonly acceptReplicas: ReturnType<typeof createAcceptReplicas>;
  readonly takeBlocks: ReturnType<typeof createTakeBlocks>;
  readonly spread: (blocks: readonly SentBlock[], wishes: SpreadWishes) => Promise<SpreadBlock[]>;
  readonly copyBlocks: ReturnType<typeof createCopyBlocks>;
  readonly loop: Pick<SettleLoop, 'lookAgain'>;
  readonly cache: Pick<PinCache, 'forget'>;
  readonly drain: Drain;
  readonly released: Pick<ReleasedLeases, 'note'>;
  readonly client: PeerClient;
}

export function mountRoutes(mounting: Mounting, handlers: Handlers): void {
  const { loop, cache, drain, released, client } = handlers;

  mountRaw(mounting, transferRoutes.getFile, handlers.download);
  mountRaw(mounting, transferRoutes.getTorrent, handlers.getTorrent);
  mountRaw(mounting, transferRoutes.getMetalink, handlers.getMetalink);
  mount(mounting, transferRoutes.spreadBlocks, async ({ request, reply, query }) => {
    const blocks = await readSentBlocks({
      request: request.raw,
      response: reply.raw,
      blocksMax: SMALL_BLOCKS_MAX,
    });
    return { blocks: await handlers.spread(blocks, query) };
  });
  mount(mounting, transferRoutes.takeBlocks, handlers.takeBlocks);
  mount(mounting, transferRoutes.offerReplicas, handlers.acceptReplicas);
  mount(mounting, transferRoutes.releaseReplicas, ({ params, query, signal }) => {
    released.note(params.lease, query.keep);
    return endLease(params.lease, query.keep, client, { signal });
  });
  mount(mounting, transferRoutes.copyBlocks, handlers.copyBlocks);
  mount(mounting, transferRoutes.settleFiles, async ({ body }) => {
    loop.lookAgain(body.roots);
    return {};
  });
  mount(mounting, transferRoutes.forgetPins, async ({ body }) => {
    cache.forget(body.roots, body);
    return {};
  });
  mount(mounting, transferRoutes.drainState, ({ signal }) => drain.state({ signal }));
  mount(mounting, transferRoutes.startDrain, ({ signal }) => drain.start({ signal }));
  mount(mounting, transferRoutes.cancelDrain, ({ signal }) => drain.cancel({ signal }));
}
