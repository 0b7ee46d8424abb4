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
import { type MemberView, targetOf } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import { receiveBlock, type ReceivedBlock } from './receive-block.ts';
import type { ReportCorrupt } from '../peers/report-corrupt.ts';

/** How long the swarm may take to answer a want; most answer within tens of milliseconds. */
const WANT_TIMEOUT_MS = 1000;
/** A want is repeated at most this often for one DAG. */
const WANT_INTERVAL_MS = 500;
/** A block that nobody gives is asked for again this long: a crashed service is back within seconds. */
const RETRY_FOR_MS = 6000;
const RETRY_DELAY_MS = 250;

export interface BlockSource {
  /**
   * Gets blocks of one DAG. Asks the swarm who holds what, without waiting for the answers; with
   * `asksAtOnce: false` only when that is needed.
   * @param signal Ends the watching of members; fetches have signals of their own.
   */
  open(root: Cid, options: { signal: AbortSignal; asksAtOnce?: boolean }): DagSource;
  /**
   * One verified block from these members, whatever DAG it is of; the caller releases it.
   * @throws BlockUnavailable
   */
  fetchFrom(
    cid: Cid,
    members: readonly Member[],
    options: { signal: AbortSignal },
  ): Promise<ReceivedBlock>;
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
  /** Asks who holds what, unless that was done a moment ago, and waits for the answers. */
  learn(): Promise<void>;
  /** How many of the others are known to hold the block at this place in DAG order. */
  holders(index: number): number;
}

/** What a fetch needs to know of its block, and where it may come from. */
interface Order {
  readonly cid: Cid;
  readonly sizeBytes: number | undefined;
  readonly providers: () => readonly Member[];
  /** Learns of more providers; called when all of them failed. */
  readonly learn: () => Promise<void>;
  /** How long a block that nobody gives is asked for again. */
  readonly retryForMs: number;
}

/** @param signal Ends the watching of members. */
export function createBlockSource(
  deps: {
    readonly client: PeerClient;
    readonly pool: BufferPool;
    readonly view: MemberView;
    readonly metrics: Metrics;
    readonly reportCorrupt: ReportCorrupt;
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

  const fetchFor = async (
    { cid, sizeBytes, providers, learn, retryForMs }: Order,
    options: { signal: AbortSignal },
  ): Promise<ReceivedBlock> => {
    const startedAtMs = performance.now();
    const sourceOf = (member: Member) => (member.isSelf ? 'own' : 'peer');
    const block = await fetchBlock<Member, ReceivedBlock>(
      cid,
      {
        ranking,
        nowMs: () => performance.now(),
        async receive(member, { signal: wanted }) {
          const target = targetOf(member, 'storage', client);
          const received = await receiveBlock(deps, target, cid, sizeBytes, { signal: wanted });
          metrics.bytesFetched.inc({ source: sourceOf(member) }, received.bytes.length);
          return received;
        },
        providers,
        // A copy on our own disk is the nearest there is, however busy.
        order: (members) => [
          ...members.filter(({ isSelf }) => isSelf),
          ...ranking.order(
            members.filter(({ isSelf }) => !isSelf),
            performance.now(),
          ),
        ],
        async findMore({ signal: wanted }) {
          if (performance.now() - startedAtMs > retryForMs) return false;
          await learn();
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
            deps.reportCorrupt(member, cid);
          } else log.debug({ cid, peer: member.peerId, err }, 'block not received');
        },
        onHedge: () => metrics.hedges.inc(),
      },
      options,
    );
    metrics.fetchDuration.observe((performance.now() - startedAtMs) / 1000);
    return block;
  };

  const open: BlockSource['open'] = (root, { signal, asksAtOnce = true }) => {
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
    if (asksAtOnce) {
      void ask();
      view.onChange(() => void ask(), { signal }); // a peer that joins during a transfer is used in it
    }

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
      fetch: ({ cid, index, sizeBytes }, options) => {
        const providers = () => providersOf(cid, index);
        return fetchFor(
          { cid, sizeBytes, providers, learn: ask, retryForMs: RETRY_FOR_MS },
          options,
        );
      },
      learn: ask,
      holders: (index) =>
        view.asked().filter(({ peerId, isSelf }) => {
          const map = holds.get(peerId);
          return !isSelf && map !== undefined && index < map.blocks && getBit(map.bits, index);
        }).length,
    };
  };

  return {
    open,
    fetchFrom: (cid, members, options) =>
      fetchFor(
        {
          cid,
          sizeBytes: undefined,
          providers: () => members,
          learn: () => Promise.resolve(), // whoever has it was asked just now
          retryForMs: 0,
        },
        options,
      ),
    isBanned: (peerId) => ranking.isBanned(peerId, performance.now()),
  };
}
