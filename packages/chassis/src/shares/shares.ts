/**
 * Places that clients share: downloads, uploads, listeners, all that is bounded.
 *
 * One client alone may have them all. Once they are taken, a newcomer gets the next place that comes
 * free before any that holds more, and when none comes free another gives way to it: first the slow
 * ones, then the newest of the client that holds most, as long as that one still has more than the
 * newcomer afterwards. So a place is lost only to a client that has fewer, and a client that has just one
 * keeps it unless it stands still.
 *
 * Rejected: a fixed number for each client, which leaves places empty, or is no bound for several
 * clients; keeping some places back, which a client with eight addresses takes as well.
 */
import { GaveWay, Overloaded } from '@shoal/protocol';

/**
 * Time for places to come free by themselves before a request that isn't slow gives way.
 * Past it: 503 `gave-way` to the one, 503 `overloaded` to a client that has as many as others.
 */
const GRACE_MS = 1000;
/**
 * Time for the request that gives way to clean up, before the newcomer is refused after all.
 * Past it: 503 `gave-way` to the one, 503 `overloaded` to a client that has as many as others.
 */
const RELEASE_MAX_MS = 10_000;
/** How often it is looked at who could give way. */
const LOOK_MS = 250;

/** A place that is held until it is disposed. */
export interface Place extends Disposable {
  /** Fires with a `GaveWay` when others need the place more; its holder then ends what it does. */
  readonly signal: AbortSignal;
}

export interface SharesOptions {
  /** The name of what is bounded, for `Overloaded`. */
  readonly what: string;
  readonly placesMax: number;
  /** How long a request waits that no other has to give way to; 0 refuses at once. */
  readonly waitMs?: number;
  /** How many may wait. Default: as many as there are places. */
  readonly waitingMax?: number;
  readonly graceMs?: number;
}

export interface TakeOptions {
  /** Fires when the newcomer leaves. */
  readonly signal: AbortSignal;
  /** Whether this place, once held, stands still or moves too slowly while others wait. */
  readonly isSlow?: () => boolean;
  /** Whether it may be taken away at all; false once what was done for it would be lost to no use. */
  readonly mayYield?: () => boolean;
}

interface Held {
  readonly client: string;
  readonly options: TakeOptions;
  readonly end: AbortController;
}

interface Waiter {
  readonly client: string;
  readonly options: TakeOptions;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly resolve: (place: Place) => void;
  readonly reject: (error: Error) => void;
}

export class Shares {
  readonly #what: string;
  readonly #placesMax: number;
  readonly #waitMs: number;
  readonly #waitingMax: number;
  readonly #graceMs: number;
  /** The oldest of a client's places first. */
  readonly #held = new Map<string, Set<Held>>();
  /** In the order in which they came. */
  readonly #waiting: Waiter[] = [];
  #size = 0;
  #looking: NodeJS.Timeout | undefined;

  constructor({
    what,
    placesMax,
    waitMs = 0,
    waitingMax = placesMax,
    graceMs = GRACE_MS,
  }: SharesOptions) {
    this.#what = what;
    this.#placesMax = placesMax;
    this.#waitMs = waitMs;
    this.#waitingMax = waitingMax;
    this.#graceMs = graceMs;
  }

  /** Places that are held. */
  get size(): number {
    return this.#size;
  }

  /** Clients that hold some. */
  get clients(): number {
    return this.#held.size;
  }

  /** Places that this client holds. */
  heldBy(client: string): number {
    return this.#held.get(client)?.size ?? 0;
  }

  /** A place, if one is free at once. */
  tryTake(client: string, options: TakeOptions): Place | undefined {
    return this.#size < this.#placesMax ? this.#hold(client, options) : undefined;
  }

  /** A place, at once or as soon as one comes free. @throws Overloaded; the signal's reason. */
  async take(client: string, options: TakeOptions): Promise<Place> {
    options.signal.throwIfAborted();
    const free = this.tryTake(client, options);
    if (free !== undefined) return free;
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    const sinceMs = performance.now();
    const own = this.heldBy(client);
    const hasClaim = this.#victimFor(client, own, { isPatient: false }) !== undefined;
    const waitMs = hasClaim ? Math.max(this.#waitMs, this.#graceMs + RELEASE_MAX_MS) : this.#waitMs;
    if (waitMs === 0 || !this.#mayWait(client)) throw this.#overloaded();
    const waiter = { client, options, sinceMs, untilMs: sinceMs + waitMs, resolve, reject };
    this.#waiting.push(waiter);
    const leave = () => {
      this.#forget(waiter);
      reject(options.signal.reason as Error);
    };
    options.signal.addEventListener('abort', leave, { once: true });
    this.#look();
    try {
      return await promise;
    } finally {
      options.signal.removeEventListener('abort', leave);
    }
  }

  /** Takes a place for what is here already, after a restart say, whether or not there is one. */
  restore(client: string, options: TakeOptions): Place {
    return this.#hold(client, options);
  }

  /** When too many wait, one of the client of whom most wait goes. */
  #mayWait(client: string): boolean {
    if (this.#waiting.length < this.#waitingMax) return true;
    const counts = new Map<string, number>();
    for (const waiter of this.#waiting)
      counts.set(waiter.client, (counts.get(waiter.client) ?? 0) + 1);
    const [most, count] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
    if (count < (counts.get(client) ?? 0) + 2) return false;
    const last = this.#waiting.findLast((waiter) => waiter.client === most);
    if (last !== undefined) this.#refuse(last);
    return true;
  }

  #hold(client: string, options: TakeOptions): Place {
    const held: Held = { client, options, end: new AbortController() };
    const own = this.#held.get(client) ?? new Set();
    this.#held.set(client, own.add(held));
    this.#size += 1;
    return {
      signal: held.end.signal,
      [Symbol.dispose]: () => {
        if (!own.delete(held)) return;
        if (own.size === 0) this.#held.delete(client);
        this.#size -= 1;
        this.#serve();
      },
    };
  }

  /** Gives a place that came free to the client that holds fewest, and of those to the first. */
  #serve(): void {
    if (this.#size >= this.#placesMax) return;
    const [next] = this.#inTurn();
    if (next === undefined) return;
    this.#forget(next);
    next.resolve(this.#hold(next.client, next.options));
  }

  #inTurn(): Waiter[] {
    return this.#waiting.toSorted((a, b) => this.heldBy(a.client) - this.heldBy(b.client));
  }

  /** Makes as many give way as wait and have a claim; refuses those that waited long enough. */
  #look(): void {
    const nowMs = performance.now();
    for (const waiter of this.#waiting.filter(({ untilMs }) => untilMs <= nowMs))
      this.#refuse(waiter);
    const places = [...this.#held.values()].flatMap((own) => [...own]);
    let comingFree = places.filter(({ end }) => end.signal.aborted).length;
    /** The places that clients will hold once those before were served. */
    const owns = new Map<string, number>();
    for (const { client, sinceMs } of this.#inTurn()) {
      const own = owns.get(client) ?? this.heldBy(client);
      if (comingFree > 0) comingFree -= 1;
      else {
        const isPatient = nowMs - sinceMs < this.#graceMs;
        const victim = this.#victimFor(client, own, { isPatient });
        if (victim === undefined) continue;
        const { held, reason } = victim;
        held.end.abort(new GaveWay({ what: this.#what, limit: this.#placesMax, reason }));
      }
      owns.set(client, own + 1);
    }
    if (this.#waiting.length === 0) return this.#rest();
    this.#looking ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** The request that gives way to a client with `own` places, if any has to; only a slow one as long as `isPatient`. */
  #victimFor(
    client: string,
    own: number,
    { isPatient }: { readonly isPatient: boolean },
  ): { readonly held: Held; readonly reason: 'slow' | 'share' } | undefined {
    const others = [...this.#held]
      .map(([name, places]) => ({
        name,
        places: [...places].filter(
          ({ end, options }) => !end.signal.aborted && (options.mayYield?.() ?? true),
        ),
      }))
      .filter(({ name, places }) => places.length > own || name === client)
      .toSorted((a, b) => b.places.length - a.places.length);
    for (const { places } of others) {
      const held = places.find(({ options }) => options.isSlow?.() ?? false);
      if (held !== undefined) return { held, reason: 'slow' };
    }
    const most = isPatient ? undefined : others[0];
    const newest = most?.places.at(-1);
    if (most === undefined || newest === undefined || most.places.length < own + 2)
      return undefined;
    return { held: newest, reason: 'share' };
  }

  #refuse(waiter: Waiter): void {
    this.#forget(waiter);
    waiter.reject(this.#overloaded());
  }

  #overloaded(): Error {
    return new Overloaded({ what: this.#what, limit: this.#placesMax });
  }

  #forget(waiter: Waiter): void {
    const at = this.#waiting.indexOf(waiter);
    if (at >= 0) this.#waiting.splice(at, 1);
    if (this.#waiting.length === 0) this.#rest();
  }

  #rest(): void {
    clearInterval(this.#looking);
    this.#looking = undefined;
  }
}
