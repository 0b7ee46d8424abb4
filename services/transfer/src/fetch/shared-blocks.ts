/**
 * One fetch for all who want the same block at the same time, and for whoever wants it a moment
 * later: clients ask HEAD and then GET, and many of them ask for the same file at once.
 *
 * Clients share the fetches, each of which is of whoever asked first. One that several of them wait for
 * gives way to nobody.
 */
import { orAborted, type Place, Shares } from '@shoal/chassis';
import type { Cid } from '@shoal/protocol';
import type { ReceivedBlock } from './receive-block.ts';

/** Fetches under way, each of another block. */
const FETCHES_MAX = 512;
/** How long a block is kept after it came, and how many of them at most: 1 MiB each, as a rule. */
const KEPT_FOR_MS = 2000;
const KEPT_MAX = 16;

export interface SharedBlocks extends Disposable {
  /**
   * The block, from a fetch that is under way or was a moment ago, else from `fetch`; its signal fires
   * when nobody waits any more. Each caller releases what it was given. @throws Overloaded, GaveWay
   */
  get(
    cid: Cid,
    fetch: (options: { signal: AbortSignal }) => Promise<ReceivedBlock>,
    options: { readonly client: string; readonly signal: AbortSignal },
  ): Promise<ReceivedBlock>;
}

/** A fetch, and how many still hold or await its block. */
interface Flight {
  readonly block: Promise<ReceivedBlock>;
  readonly stop: AbortController;
  readonly clients: Set<string>;
  users: number;
}

export function createSharedBlocks(): SharedBlocks {
  const flights = new Map<Cid, Flight>();
  const kept = new Map<Cid, () => void>();
  const shares = new Shares({ what: 'blocks being looked for', placesMax: FETCHES_MAX });

  const leave = (cid: Cid, flight: Flight): void => {
    flight.users -= 1;
    if (flight.users > 0) return;
    if (flights.get(cid) === flight) flights.delete(cid);
    flight.stop.abort(new Error('nobody waits any more'));
    flight.block.then(
      ({ release }) => release(),
      () => {},
    );
  };
  /** The map's own hold on a block that came, for a while. */
  const keep = (cid: Cid, flight: Flight): void => {
    flight.users += 1;
    const forget = () => {
      clearTimeout(timer);
      kept.delete(cid);
      if (flights.get(cid) === flight) flights.delete(cid);
      leave(cid, flight);
    };
    const timer = setTimeout(forget, KEPT_FOR_MS);
    kept.set(cid, forget);
    const [oldest] = kept.values();
    if (kept.size > KEPT_MAX) oldest?.();
  };
  const begin = (
    cid: Cid,
    fetch: (options: { signal: AbortSignal }) => Promise<ReceivedBlock>,
    client: string,
  ): Flight => {
    const stop = new AbortController();
    const { signal } = stop;
    const clients = new Set<string>();
    const options = { signal, mayYield: () => clients.size <= 1 };
    const fetchIn = async (place: Place) => {
      using _place = place;
      place.signal.addEventListener('abort', () => stop.abort(place.signal.reason));
      return await fetch({ signal });
    };
    const free = shares.tryTake(client, options);
    const block = free === undefined ? shares.take(client, options).then(fetchIn) : fetchIn(free);
    const flight: Flight = { block, stop, clients, users: 0 };
    flights.set(cid, flight);
    flight.block.then(
      () => flight.users > 0 && keep(cid, flight),
      () => flights.get(cid) === flight && flights.delete(cid),
    );
    return flight;
  };
  return {
    async get(cid, fetch, { client, signal }) {
      signal.throwIfAborted();
      const flight = flights.get(cid) ?? begin(cid, fetch, client);
      flight.clients.add(client);
      flight.users += 1;
      let isHeld = true;
      const release = () => {
        if (isHeld) leave(cid, flight);
        isHeld = false;
      };
      try {
        const { bytes } = await orAborted(flight.block, signal);
        return { bytes, release };
      } catch (error) {
        release();
        throw error;
      }
    },
    [Symbol.dispose]() {
      for (const forget of kept.values()) forget();
    },
  };
}
