/** Calls to peers that we are not connected to: one at a time for each, with a back-off after a failure. */
import type { Log } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { Wire } from '../network/wire.ts';
import type { Membership } from './membership.ts';

const CALL_TIMEOUT_MS = 5000;
/** Wait after a failed call, doubled each time up to the maximum; the same for rounds of seeds. */
export const RETRY_MIN_MS = 1000;
export const RETRY_MAX_MS = 15_000;
/** A sign of life younger than this outweighs a refusal: it may be starting. */
const HEARD_NOW_MS = 1000;
const KNOCK_TIMEOUT_MS = 1000;
/** Peers whose failed calls are remembered. */
const RETRIES_MAX = 2048;

export class Calls {
  readonly #deps: {
    readonly membership: Membership;
    readonly wire: Wire;
    readonly signal: AbortSignal;
    readonly log: Log;
  };
  readonly #retries = new Map<string, { atMs: number; delayMs: number }>();
  readonly #calling = new Set<string>();

  /** @param deps `signal` ends the calls under way, and lets none begin. */
  constructor(deps: {
    readonly membership: Membership;
    readonly wire: Wire;
    readonly signal: AbortSignal;
    readonly log: Log;
  }) {
    this.#deps = deps;
  }

  /** Dials a peer, unless a dial is under way or was tried a moment ago. */
  async call(name: string, addresses: readonly string[], peerId?: PeerId): Promise<void> {
    const { membership, wire, signal: stop, log } = this.#deps;
    if (this.#calling.has(name) || addresses.length === 0 || stop.aborted) return;
    const last = this.#retries.get(name);
    if (last !== undefined && last.atMs > membership.clock()) return;
    this.#calling.add(name);
    try {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
      await wire.engine().dial(addresses, { ...(peerId === undefined ? {} : { peerId }), signal });
      this.#retries.delete(name);
    } catch (err) {
      if (stop.aborted) return;
      log.debug({ err, to: name }, 'call failed');
      const delayMs = Math.min(RETRY_MAX_MS, (last?.delayMs ?? RETRY_MIN_MS / 2) * 2);
      this.#waitWith(name, { afterMs: delayMs, delayMs });
      if (peerId !== undefined) await this.#doubt(peerId);
    } finally {
      this.#calling.delete(name);
    }
  }

  /** Suspends calls to this name for a while; its back-off begins anew after that. */
  holdBack(name: string, afterMs: number): void {
    this.#waitWith(name, { afterMs, delayMs: RETRY_MIN_MS / 2 });
  }

  /** It is connected. */
  forget(name: string): void {
    this.#retries.delete(name);
  }

  #waitWith(
    name: string,
    { afterMs, delayMs }: { readonly afterMs: number; readonly delayMs: number },
  ): void {
    if (this.#retries.size >= RETRIES_MAX) this.#retries.clear();
    this.#retries.set(name, { atMs: this.#deps.membership.clock() + afterMs, delayMs });
  }

  /** A member that refuses us is gone, if we know it from others alone, and not from just now. */
  async #doubt(peerId: PeerId): Promise<void> {
    const { membership, wire } = this.#deps;
    const { table, clock } = membership;
    const member = table.get(peerId);
    if (member === undefined || member.downAtMs !== undefined) return;
    if (clock() - member.heardAtMs < HEARD_NOW_MS) return;
    const { libp2p: addresses, incarnation } = member.record;
    const knock = await wire.engine().knock(addresses, { timeoutMs: KNOCK_TIMEOUT_MS });
    if (knock !== 'refused' || wire.isConnected(peerId)) return;
    membership.declareDown(peerId, incarnation);
  }
}
