/** The background loops of all services of this peer: each is asked for its own. */
import type { Loops, PeerClient } from '@shoal/chassis';
import { loopRoutes, SERVICES, type ServiceLoops } from '@shoal/protocol';

/**
 * A list from memory is here at once; a service that is starting or hangs must not hold the report up.
 * Past it: it is named as silent.
 */
const LOOPS_TIMEOUT_MS = 2000;

export type GatherLoops = (options: { signal: AbortSignal }) => Promise<ServiceLoops[]>;

/** Names a service that does not answer as silent. */
export const createGatherLoops =
  (client: PeerClient, own: Loops): GatherLoops =>
  ({ signal }) =>
    Promise.all(
      SERVICES.map(async (service): Promise<ServiceLoops> => {
        if (service === 'storage') return { service, isSilent: false, loops: own.report() };
        try {
          const { loops } = await client.call(
            client.own(service),
            loopRoutes[service],
            {},
            { signal, timeoutMs: LOOPS_TIMEOUT_MS },
          );
          return { service, isSilent: false, loops };
        } catch {
          signal.throwIfAborted();
          return { service, isSilent: true, loops: [] };
        }
      }),
    );
