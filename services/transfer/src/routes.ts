/** The HTTP face of transfer: every route of the contract, each a line over its mechanism. */
import {
  type BufferPool,
  type Log,
  mount,
  type Mounting,
  mountRaw,
  type PeerClient,
} from '@shoal/chassis';
import { transferRoutes } from '@shoal/protocol';
import { createAcceptReplicas, endLease } from './copies/accept-replicas.ts';
import type { BlockReader, ReadOptions } from './fetch/block-reader.ts';
import type { BlockSource } from './fetch/listed-blocks.ts';
import type { TransferConfig } from './config.ts';
import type { Limit } from './copies/copy.ts';
import { createCopyBlocks } from './copies/copy-blocks.ts';
import { createGetMetalink, createGetTorrent } from './describe/describe-file.ts';
import { createDownload } from './download.ts';
import type { Drain } from './leave/drain.ts';
import type { HashPieces } from './describe/hash-pieces.ts';
import type { Incoming } from './copies/incoming.ts';
import { mountIpfs } from './ipfs/gateway.ts';
import type { Manifests } from './file/manifests.ts';
import type { MemberView } from './peers/member-view.ts';
import type { Metrics } from './metrics.ts';
import type { ReleasedLeases } from './copies/released-leases.ts';
import type { Repairs } from './copies/repairs.ts';
import type { ReportCorrupt } from './peers/report-corrupt.ts';
import type { Sender } from './answer/send-body.ts';
import type { SettleLoop } from './settle/settle-loop.ts';

export function mountRoutes(
  mounting: Mounting,
  deps: {
    readonly client: PeerClient;
    readonly config: TransferConfig;
    readonly view: MemberView;
    readonly source: BlockSource;
    readonly readerFor: (options: ReadOptions) => BlockReader;
    readonly sender: Sender;
    readonly manifests: Manifests;
    readonly hashPieces: HashPieces;
    readonly repairs: Repairs;
    readonly incoming: Incoming;
    readonly reportCorrupt: ReportCorrupt;
    readonly released: ReleasedLeases;
    readonly loop: SettleLoop;
    readonly drain: Drain;
    readonly limit: Limit;
    readonly pool: BufferPool;
    readonly stallMs: number;
    readonly timeoutMs: number;
    readonly metrics: Metrics;
    readonly log: Log;
  },
): void {
  const { client, loop, drain, released } = deps;

  mountRaw(mounting, transferRoutes.getFile, createDownload(deps));
  mountRaw(mounting, transferRoutes.getTorrent, createGetTorrent(deps));
  mountRaw(mounting, transferRoutes.getMetalink, createGetMetalink(deps));
  mountIpfs(mounting, deps);
  mount(mounting, transferRoutes.offerReplicas, createAcceptReplicas(deps));
  mount(mounting, transferRoutes.releaseReplicas, ({ params, query, signal }) => {
    released.note(params.lease, query.keep);
    return endLease(params.lease, query.keep, client, { signal });
  });
  mount(mounting, transferRoutes.copyBlocks, createCopyBlocks(deps));
  mount(mounting, transferRoutes.settleFiles, async ({ body }) => {
    loop.lookAgain(body.roots);
    return {};
  });
  mount(mounting, transferRoutes.drainState, ({ signal }) => drain.state({ signal }));
  mount(mounting, transferRoutes.startDrain, ({ signal }) => drain.start({ signal }));
  mount(mounting, transferRoutes.cancelDrain, ({ signal }) => drain.cancel({ signal }));
}
