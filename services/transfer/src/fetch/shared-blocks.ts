/**
 * Single-flight: one fetch for all callers that want the same block at the same time, or a moment later:
 * clients ask HEAD and then GET, and many of them ask for the same file at once.
 *
 * Clients share the places for fetches; each counts for the client that asked first. One for which several
 * clients wait gives way to none.
 */
import { orAborted, type Place, Shares } from '@shoal/chassis';
import type { Cid } from '@shoal/protocol';
import type { ReceivedBlock } from './receive-block.ts';

/** Fetches under way, each of another block. */
const FETCHES_MAX = 512;
/** How long a block stays in memory after it came. */
const LINGER_MS = 2000;
/** Such blocks, of 1 MiB each as a rule. Past it: the next is not kept, and fetched again when it is asked for. */
const LINGERING_MAX = 16;

export interface SharedBlocks extends Disposable {
  /**
   * The block, from a fetch that is under way or was a moment ago, else from `fetch`; its signal fires
   * when no caller waits any more. Each caller releases what it was given. @throws Overloaded, GaveWay
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
  const lingering = new Map<Cid, () => void>();
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
  const linger = (cid: Cid, flight: Flight): void => {
    flight.users += 1;
    const forget = () => {
      clearTimeout(timer);
      lingering.delete(cid);
      if (flights.get(cid) === flight) flights.delete(cid);
      leave(cid, flight);
    };
    const timer = setTimeout(forget, LINGER_MS);
    lingering.set(cid, forget);
    const [oldest] = lingering.values();
    if (lingering.size > LINGERING_MAX) oldest?.();
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
      () => flight.users > 0 && linger(cid, flight),
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
      for (const forget of lingering.values()) forget();
    },
  };
}
