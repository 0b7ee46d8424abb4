/** The pins of the whole swarm, as this peer's discovery knows them. */
import type { PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes } from '@shoal/protocol';

const PINS_PER_PAGE = 500;

/** Some of the pins, in the order of their roots. */
export interface PinPage {
  readonly pins: readonly { readonly root: Cid; readonly replicas: number }[];
  /** False while there may be pins that this peer does not know. */
  readonly isCurrent: boolean;
}

/** All live pins, and those that ended so lately that only a wrong clock may say so. */
export type LivePins = (options: { signal: AbortSignal }) => AsyncIterable<PinPage>;

/** @throws ServiceUnavailable */
export function createLivePins(client: PeerClient): LivePins {
  return async function* livePins({ signal }) {
    for (let after: string | undefined = ''; after !== undefined;) {
      const query = { after, limit: PINS_PER_PAGE, justExpired: 'true' } as const;
      const page: PinPage & { next?: string | undefined } = await client.call(
        client.own('discovery'),
        discoveryRoutes.listPins,
        { query },
        { signal },
      );
      yield page;
      after = page.next;
    }
  };
}
