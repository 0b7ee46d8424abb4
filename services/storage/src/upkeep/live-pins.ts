/**
 * The pins of the whole swarm, as this peer's discovery knows them. Those of deleted files that can be
 * brought back are among them, as long as nothing needs their room.
 */
import type { PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes } from '@shoal/protocol';

const PINS_PER_PAGE = 500;

/** Some of the pins, in the order of their roots. */
export interface PinPage {
  readonly pins: readonly {
    readonly root: Cid;
    readonly replicas: number;
    /** Its file was deleted, and can be brought back. */
    readonly deleted?: boolean;
  }[];
  /** False while there may be pins that this peer does not know. */
  readonly isCurrent: boolean;
}

/** All live pins, and those that expired so recently that a wrong clock may be why. */
export type LivePins = (options: { signal: AbortSignal }) => AsyncIterable<PinPage>;

/** @throws ServiceUnavailable */
export function createLivePins(
  client: PeerClient,
  { orDeleted }: { readonly orDeleted: boolean },
): LivePins {
  return async function* livePins({ signal }) {
    for (let after: string | undefined = ''; after !== undefined;) {
      const deleted = orDeleted ? 'true' : 'false';
      const query = { after, limit: PINS_PER_PAGE, justExpired: 'true', deleted } as const;
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
