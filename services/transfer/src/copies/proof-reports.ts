/**
 * What came of proofs, told to discovery, which decides whose claims count. Results are gathered for
 * a moment (debounced); those that get lost are found again, since discovery samples by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { batchesOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  discoveryRoutes,
  type PeerId,
  PROOF_REPORTS_MAX,
  type ProofReport,
} from '@shoal/protocol';

/** A result waits this long for more. */
const REPORT_DELAY_MS = 200;
const REPORT_TIMEOUT_MS = 2000;

interface Results {
  proved: number;
  unanswered: number;
  readonly failed: Set<Cid>;
}

export class ProofReports implements AsyncDisposable {
  readonly #client: PeerClient;
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #results = new Map<PeerId, Results>();
  #reporting: Promise<void> | undefined;

  constructor({ client, log }: { readonly client: PeerClient; readonly log: Log }) {
    this.#client = client;
    this.#log = log;
  }

  /** Counts a block that the peer proved, or a question that it did not answer. */
  count(peerId: PeerId, what: 'proved' | 'unanswered'): void {
    this.#resultsOf(peerId)[what] += 1;
  }

  /** Notes a block that the peer did not prove although it says that it holds it. */
  noteFailed(peerId: PeerId, cid: Cid): void {
    this.#resultsOf(peerId).failed.add(cid);
  }

  #resultsOf(peerId: PeerId): Results {
    const known = this.#results.get(peerId);
    const results = known ?? { proved: 0, unanswered: 0, failed: new Set<Cid>() };
    this.#results.set(peerId, results);
    this.#reporting ??= this.#reportSoon();
    return results;
  }

  async #reportSoon(): Promise<void> {
    const { signal: stopping } = this.#stop;
    await sleep(REPORT_DELAY_MS, undefined, { signal: stopping }).catch(() => undefined);
    const reports = [...this.#results].map(([peerId, { proved, failed, unanswered }]) => ({
      peerId,
      proved,
      failed: [...failed].slice(0, CIDS_PER_BATCH_MAX),
      unanswered,
    }));
    this.#results.clear();
    this.#reporting = undefined;
    for (const batch of batchesOf(reports, PROOF_REPORTS_MAX)) await this.#report(batch);
  }

  async #report(reports: ProofReport[]): Promise<void> {
    try {
      const args = { body: { reports } };
      const signal = AbortSignal.timeout(REPORT_TIMEOUT_MS);
      const target = this.#client.own('discovery');
      await this.#client.call(target, discoveryRoutes.noteProofs, args, { signal });
    } catch (err) {
      this.#log.debug({ err }, 'proofs not reported');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'));
    await this.#reporting;
  }
}
