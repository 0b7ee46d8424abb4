/**
 * Looking into proofs that are wrong: before a peer is reported for a block, our own copy of it is re-hashed,
 * since it may be our bytes that are wrong. No caller waits for that.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, type PeerId, storageRoutes } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import type { ProofReports } from './proof-reports.ts';

/** Blocks that a peer is blamed for after one question: each costs us a read of all of it. */
const BLAMED_MAX = 8;
/** Questions whose wrong proofs are looked into at once; past that nobody is blamed, and nothing counts. */
const BLAMINGS_MAX = 8;
const CHECK_TIMEOUT_MS = 5000;

export interface BlameDeps {
  readonly client: PeerClient;
  readonly reports: ProofReports;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class Blame implements AsyncDisposable {
  readonly #deps: BlameDeps;
  readonly #underWay = new Set<Promise<void>>();

  constructor(deps: BlameDeps) {
    this.#deps = deps;
  }

  /** Blames a peer for blocks that it did not prove although it says that it holds them. */
  soon(peerId: PeerId, cids: readonly Cid[]): void {
    if (cids.length === 0 || this.#underWay.size >= BLAMINGS_MAX) return;
    const blaming = this.#blame(peerId, cids).finally(() => this.#underWay.delete(blaming));
    this.#underWay.add(blaming);
  }

  async #blame(peerId: PeerId, cids: readonly Cid[]): Promise<void> {
    const { client, reports, metrics, log } = this.#deps;
    metrics.copyProofs.inc({ outcome: 'failed' }, cids.length);
    for (const cid of cids.slice(0, BLAMED_MAX))
      try {
        const args = { params: { cid } };
        const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
        const target = client.own('storage');
        const { state } = await client.call(target, storageRoutes.checkBlock, args, { signal });
        if (state !== 'sound') continue;
        log.warn({ peer: peerId, cid }, 'peer did not prove a block that it says it holds');
        reports.noteFailed(peerId, cid);
      } catch (err) {
        log.debug({ err, cid }, 'own block not checked');
      }
  }

  /** Waits for what is under way: its results still go into the last report. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#underWay);
  }
}
