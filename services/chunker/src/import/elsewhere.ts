/** Blocks that are not here, for one request: the swarm is asked first, then gateways, in their order. */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, Problem } from '@shoal/protocol';
import { readFromSwarm } from './block-reads.ts';
import { type Gateway, GatewayLied } from './gateways.ts';

/** A gateway that fails so often in a row is not asked again: each time may take ten seconds. */
const FAILURES_MAX = 3;

/** The outcome of asking a gateway, in a few words. */
export interface Tried {
  readonly gateway: string;
  readonly outcome: string;
}

export interface Elsewhere {
  /** The block, verified; or the sources that were asked and don't have it. */
  find(
    cid: Cid,
    options: { signal: AbortSignal },
  ): Promise<{ readonly bytes: Uint8Array } | { readonly tried: readonly Tried[] }>;
}

export function createElsewhere({
  client,
  gateways,
  log,
}: {
  readonly client: PeerClient;
  readonly gateways: readonly Gateway[];
  readonly log: Log;
}): Elsewhere {
  const failures = new Map<Gateway, { inARow: number; last: string }>();

  const ask = async (
    gateway: Gateway,
    cid: Cid,
    { signal }: { signal: AbortSignal },
  ): Promise<Uint8Array | string> => {
    const before = failures.get(gateway) ?? { inARow: 0, last: '' };
    if (before.inARow >= FAILURES_MAX) return `given up, ${before.last}`;
    try {
      const bytes = await gateway.fetch(cid, { signal });
      failures.delete(gateway);
      return bytes;
    } catch (error) {
      signal.throwIfAborted();
      log.debug({ err: error, cid, gateway: gateway.origin }, 'gateway did not give a block');
      const last = wordsOf(error);
      const isLie = error instanceof GatewayLied;
      const { inARow } = failures.get(gateway) ?? before;
      // "Not here" is a good answer; a gateway that sent wrong bytes once is not asked again.
      if (last !== 'it answered 404')
        failures.set(gateway, { inARow: isLie ? FAILURES_MAX : inARow + 1, last });
      return last;
    }
  };
  return {
    async find(cid, options) {
      const bytes = await readFromSwarm(cid, client, options);
      if (bytes !== undefined) return { bytes };
      const tried: Tried[] = [];
      for (const gateway of gateways) {
        const answer = await ask(gateway, cid, options);
        if (typeof answer !== 'string') return { bytes: answer };
        tried.push({ gateway: gateway.origin, outcome: answer });
      }
      return { tried };
    },
  };
}

/** A line for a person: undici hides what happened in causes and codes. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error) || error instanceof Problem) return String(error);
  if (error.name === 'TimeoutError') return 'it was too slow';
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return 'it did not answer in time';
  return error.message === '' ? (code ?? error.name) : error.message;
}
