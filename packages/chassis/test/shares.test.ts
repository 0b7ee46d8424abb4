import { describe, expect, it } from '@jest/globals';
import { GaveWay, Overloaded } from '@shoal/protocol';
import fc from 'fast-check';
import { type Place, Shares, type TakeOptions } from '@shoal/chassis';

const signal = new AbortController().signal;

/** A holder that ends as soon as it is asked to, as a good one does. */
async function take(shares: Shares, client: string, options: Partial<TakeOptions> = {}) {
  const place = await shares.take(client, { signal, ...options });
  place.signal.addEventListener('abort', () => place[Symbol.dispose]());
  return place;
}

const open = (placesMax: number, waitMs = 0) =>
  new Shares({ what: 'things', placesMax, waitMs, graceMs: 0 });

const reasonOf = ({ signal: { reason } }: Place) =>
  (reason as InstanceType<typeof GaveWay> | undefined)?.fields;

describe('places that clients share', () => {
  it('are all for one while nobody else comes, and no more than there are', async () => {
    const shares = open(4);
    const places = await Promise.all([1, 2, 3, 4].map(() => take(shares, 'a')));
    await expect(take(shares, 'a')).rejects.toThrow(Overloaded);
    places[0]?.[Symbol.dispose]();
    places[0]?.[Symbol.dispose](); // twice is once
    await take(shares, 'a');
    await expect(take(shares, 'a')).rejects.toThrow(Overloaded);
    expect([shares.size, shares.clients, shares.heldBy('a')]).toEqual([4, 1, 4]);
  });

  it('are given up, the newest first, to whoever has fewer; never the last one', async () => {
    const shares = open(3);
    const places = [await take(shares, 'a'), await take(shares, 'a'), await take(shares, 'a')];
    await take(shares, 'b');
    expect(places.map(reasonOf)).toEqual([
      undefined,
      undefined,
      { what: 'things', limit: 3, reason: 'share' },
    ]);
    await take(shares, 'c');
    await expect(take(shares, 'd')).rejects.toThrow(Overloaded);
    await expect(take(shares, 'b')).rejects.toThrow(Overloaded);
    expect(['a', 'b', 'c'].map((client) => shares.heldBy(client))).toEqual([1, 1, 1]);
  });

  it('are given up by the slow first, also to their own client', async () => {
    const shares = open(3);
    const slow = await take(shares, 'a', { isSlow: () => true });
    const quick = [await take(shares, 'a'), await take(shares, 'a')];
    await take(shares, 'a');
    expect([slow, ...quick].map((place) => reasonOf(place)?.reason)).toEqual([
      'slow',
      undefined,
      undefined,
    ]);
    await expect(take(shares, 'a')).rejects.toThrow(Overloaded);
  });

  it('are kept by who may not yield, however slow', async () => {
    const shares = open(2);
    const kept = { isSlow: () => true, mayYield: () => false };
    await take(shares, 'a', kept);
    await take(shares, 'a', kept);
    await expect(take(shares, 'b')).rejects.toThrow(Overloaded);
  });

  it('that come free go to whoever holds fewest, and nobody gives way who need not', async () => {
    const shares = new Shares({ what: 'things', placesMax: 2, waitMs: 60_000, graceMs: 60_000 });
    const places = [await take(shares, 'a'), await take(shares, 'a')];
    const served: string[] = [];
    const more = take(shares, 'a').then(() => served.push('a'));
    const other = take(shares, 'b').then(() => served.push('b'));
    places[0]?.[Symbol.dispose]();
    await other;
    places[1]?.[Symbol.dispose]();
    await more;
    expect([served, places.map((place) => place.signal.aborted)]).toEqual([
      ['b', 'a'],
      [false, false],
    ]);
  });

  it('are not waited for by who left, nor longer than said', async () => {
    const shares = open(1, 300);
    await take(shares, 'a');
    const gone = new AbortController();
    const left = take(shares, 'a', { signal: gone.signal });
    gone.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    await expect(take(shares, 'a')).rejects.toThrow(Overloaded);
  });

  it('can’t be waited for by one client alone', async () => {
    const shares = new Shares({ what: 'things', placesMax: 2, waitMs: 60_000, graceMs: 60_000 });
    const places = [await take(shares, 'a'), await take(shares, 'a')];
    const waiting = [take(shares, 'a'), take(shares, 'a')];
    await expect(take(shares, 'a')).rejects.toThrow(Overloaded);
    const other = take(shares, 'b'); // the newest of those that wait makes room
    await expect(waiting[1]).rejects.toThrow(Overloaded);
    places[0]?.[Symbol.dispose]();
    await other;
    places[1]?.[Symbol.dispose]();
    await waiting[0];
  });

  it('come out even, whoever came first, and are never more than there are', async () => {
    const crowds = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 30, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(crowds, async (clients) => {
        const shares = open(8);
        for (const client of clients) {
          await take(shares, `client ${client}`).catch((error: unknown) => {
            if (!(error instanceof Overloaded)) throw error;
          });
          expect(shares.size).toBeLessThanOrEqual(8);
        }
        const counts = new Map<number, number>();
        for (const client of clients) counts.set(client, (counts.get(client) ?? 0) + 1);
        const often = [...counts].filter(([, count]) => count >= 8).map(([client]) => client);
        const held = often.map((client) => shares.heldBy(`client ${client}`));
        expect(Math.min(...held, 8)).toBeGreaterThanOrEqual(1);
        expect(shares.size).toBe(8);
      }),
      { seed: 13, numRuns: 50 },
    );
  });
});
