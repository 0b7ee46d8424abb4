/**
 * Where blocks come from: our own storage and those of the members, with one memory of how each
 * peer answered. Everything in this process that needs a block gets it here.
 */
import type { BufferPool, Log, PeerClient } from '@shoal/chassis';
import {
  BlockCorrupt,
  type Cid,
  discoveryRoutes,
  type Member,
  type PeerId,
  storageRoutes,
} from '@shoal/protocol';
import { decodeBits, getBit, partitionOf } from '@shoal/blocks';
import { createRanking } from '@shoal/swarm';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchBlock } from './fetch.ts';
import { type MemberView, targetOf } from './member-view.ts';
import type { Metrics } from './metrics.ts';
import { receiveBlock, type ReceivedBlock } from './receive-block.ts';

/** How long the swarm may take to answer a want; most answer within tens of milliseconds. */
const WANT_TIMEOUT_MS = 1000;
/** A want is repeated at most this often for one DAG. */
const WANT_INTERVAL_MS = 500;
/** A block that nobody gives is asked for again this long: a crashed service is back within seconds. */
const RETRY_FOR_MS = 6000;
const RETRY_DELAY_MS = 250;

export interface BlockSource {
  /**
   * Gets blocks of one DAG. Asks the swarm who holds what, without waiting for the answers.
   * @param signal Ends the watching of members; fetches have signals of their own.
   */
  open(root: Cid, options: { signal: AbortSignal }): DagSource;
  /** Who this process has banned for wrong bytes, for the log and the tests. */
  isBanned(peerId: PeerId): boolean;
}

export interface DagSource {
  /**
   * One verified block; the caller releases it.
   * @param index Its place in DAG order; undefined while the order is not known.
   * @throws BlockUnavailable
   */
  fetch(
    want: { cid: Cid; index: number | undefined; sizeBytes: number | undefined },
    options: { signal: AbortSignal },
  ): Promise<ReceivedBlock>;
}

/** @param signal Ends the watching of members. */
export function createBlockSource(
  deps: {
    readonly client: PeerClient;
    readonly pool: BufferPool;
    readonly view: MemberView;
    readonly metrics: Metrics;
    readonly log: Log;
    readonly stallMs: number;
    readonly timeoutMs: number;
  },
  { signal: running }: { signal: AbortSignal },
): BlockSource {
  const { client, view, metrics, log } = deps;
  const ranking = createRanking();
  let askedBefore = new Set<PeerId>();
  view.onChange(
    () => {
      const asked = view.asked().map(({ peerId }) => peerId);
      for (const peerId of asked) if (!askedBefore.has(peerId)) ranking.forgive(peerId);
      askedBefore = new Set(asked);
    },
    { signal: running },
  );

  const open: BlockSource['open'] = (root, { signal }) => {
    const holds = new Map<PeerId, { bits: Uint8Array; blocks: number }>();
    let asking: Promise<void> | undefined;
    let askedAtMs = -Infinity;

    const askOwn = async (): Promise<void> => {
      const haveMap = await client.call(
        client.own('storage'),
        storageRoutes.haveMap,
        { params: { cid: root } },
        { signal },
      );
      const bits = decodeBits(haveMap.bits, haveMap.blocks);
      holds.set(view.self, { bits, blocks: haveMap.blocks });
    };
    const askSwarm = async (): Promise<void> => {
      const { answers } = await client.call(
        client.own('discovery'),
        discoveryRoutes.want,
        { body: { roots: [root], timeoutMs: WANT_TIMEOUT_MS } },
        { signal },
      );
      for (const { peerId, haveMap } of answers) {
        // Another root, or bits that do not fit: not an answer to this want.
        if (haveMap.root !== root) continue;
        const bits = decodeBits(haveMap.bits, haveMap.blocks);
        holds.set(peerId, { bits, blocks: haveMap.blocks });
      }
    };
    /** Asks anew, unless that was done a moment ago. A failure leaves what was known. */
    const ask = (): Promise<void> => {
      if (asking !== undefined) return asking;
      if (performance.now() - askedAtMs < WANT_INTERVAL_MS) return Promise.resolve();
      asking = Promise.allSettled([askOwn(), askSwarm()]).then((results) => {
        for (const result of results)
          if (result.status === 'rejected' && !signal.aborted)
            log.debug({ err: result.reason as unknown, root }, 'holders not learned');
        askedAtMs = performance.now();
        asking = undefined;
      });
      return asking;
    };
    void ask();
    view.onChange(() => void ask(), { signal }); // a peer that joins during a transfer is used in it

    /** Who said they have it, then who should have it, then who did not say. */
    const providersOf = (cid: Cid, index: number | undefined): Member[] => {
      const has = ({ peerId }: Member): boolean | undefined => {
        const map = holds.get(peerId);
        if (map === undefined || index === undefined || index >= map.blocks) return undefined;
        return getBit(map.bits, index);
      };
      const asked = view.asked();
      const holders = asked.filter((member) => has(member) === true);
      const unsure = asked.filter((member) => has(member) === undefined);
      const placed = view.placement(partitionOf(cid)).filter((member) => unsure.includes(member));
      return [...new Set([...holders, ...placed, ...unsure])];
    };

    return {
      async fetch({ cid, index, sizeBytes }, options) {
        const startedAtMs = performance.now();
        const sourceOf = (member: Member) => (member.isSelf ? 'own' : 'peer');
        const block = await fetchBlock<Member, ReceivedBlock>(
          cid,
          {
            ranking,
            nowMs: () => performance.now(),
            async receive(member, { signal: wanted }) {
              const target = targetOf(member, 'storage', client);
              const block = await receiveBlock(deps, target, cid, sizeBytes, { signal: wanted });
              metrics.bytesFetched.inc({ source: sourceOf(member) }, block.bytes.length);
              return block;
            },
            providers: () => providersOf(cid, index),
            // A copy on our own disk is the nearest there is, however busy.
            order: (members) => [
              ...members.filter(({ isSelf }) => isSelf),
              ...ranking.order(
                members.filter(({ isSelf }) => !isSelf),
                performance.now(),
              ),
            ],
            async findMore({ signal: wanted }) {
              if (performance.now() - startedAtMs > RETRY_FOR_MS) return false;
              await ask();
              await sleep(RETRY_DELAY_MS, undefined, { signal: wanted }).catch(() => undefined);
              return !wanted.aborted;
            },
            onEnd(member, outcome, err) {
              metrics.blocksFetched.inc({ source: sourceOf(member), outcome });
              if (err === undefined) return;
              metrics.retries.inc();
              if (err instanceof BlockCorrupt) {
                metrics.corruptBlocks.inc({ source: sourceOf(member) });
                log.warn({ cid, peer: member.peerId, err }, 'peer sent wrong bytes');
                if (member.isSelf) void checkOwn(cid);
              } else log.debug({ cid, peer: member.peerId, err }, 'block not received');
            },
            onHedge: () => metrics.hedges.inc(),
          },
          options,
        );
        metrics.fetchDuration.observe((performance.now() - startedAtMs) / 1000);
        return block;
      },
    };
  };

  /** Our own storage gave wrong bytes: it looks for itself, and no longer counts the block. */
  const checkOwn = async (cid: Cid): Promise<void> => {
    try {
      await client.call(
        client.own('storage'),
        storageRoutes.checkBlock,
        { params: { cid } },
        { signal: AbortSignal.timeout(10_000) },
      );
    } catch (err) {
      log.warn({ err, cid }, 'own storage could not check a block');
    }
  };

  return { open, isBanned: (peerId) => ranking.isBanned(peerId, performance.now()) };
}
