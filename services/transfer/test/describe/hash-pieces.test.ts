import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createLog } from '@shoal/chassis';
import { BlockUnavailable, DescriptionNotReady, MiB, Overloaded, type Pin } from '@shoal/protocol';
import { createHashPieces } from '../../src/describe/hash-pieces.ts';
import type { PieceStore } from '../../src/describe/piece-store.ts';

const log = createLog('test', 'silent');
const sha1 = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest();

const pinOf = (name: string, sizeBytes: number) =>
  ({ root: hashBlock('raw', Buffer.from(name)), name, sizeBytes }) as unknown as Pin; // what is read of it
const want = { algorithm: 'sha1', form: 'torrent' } as const;

/** A hasher over files that a test gives part by part. */
function rig({
  parts = () => [],
  waitMaxMs,
  unwantedMaxMs,
}: {
  parts?: (pin: Pin, signal: AbortSignal) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  waitMaxMs?: number;
  unwantedMaxMs?: number;
}) {
  const kept = new Map<string, Uint8Array>();
  const outcomes: string[] = [];
  const running = new AbortController();
  const reads: { pin: Pin; signal: AbortSignal }[] = [];
  const store: PieceStore = {
    read: async (key, sizeBytes) => {
      const digests = kept.get(key);
      return digests?.length === sizeBytes ? digests : undefined;
    },
    write: async (key, digests) => void kept.set(key, digests),
  };
  const hashPieces = createHashPieces(
    {
      store,
      log,
      metrics: {
        hashings: { inc: ({ outcome }: { outcome: string }) => outcomes.push(outcome) },
      } as unknown as Parameters<typeof createHashPieces>[0]['metrics'], // what is counted on it
      async *readFile(pin, { signal }) {
        reads.push({ pin, signal });
        yield* parts(pin, signal);
      },
      ...(waitMaxMs === undefined ? {} : { waitMaxMs }),
      ...(unwantedMaxMs === undefined ? {} : { unwantedMaxMs }),
      graceMs: 0,
    },
    { signal: running.signal },
  );
  const ask = (pin: Pin, signal = new AbortController().signal, client = 'a') =>
    hashPieces(pin, { ...want, client }, { signal });
  return { ask, hashPieces, kept, outcomes, reads, running };
}

/** Bytes that come when the test says so, or never. */
function tap(bytes: Uint8Array) {
  const opened = Promise.withResolvers<void>();
  async function* parts() {
    yield bytes.subarray(0, 1);
    await opened.promise;
    yield bytes.subarray(1);
  }
  return { open: () => opened.resolve(), fail: (error: Error) => opened.reject(error), parts };
}

describe('hashing pieces', () => {
  const bytes = Buffer.alloc(2 * MiB + 5, 'pieces');
  const pin = pinOf('file', bytes.length);
  const pieces = [0, MiB, 2 * MiB].map((at) => sha1(bytes.subarray(at, at + MiB)));

  it('cuts every MiB, wherever the parts end', async () => {
    for (const partBytes of [MiB, MiB / 4, 2 * MiB, 999_999]) {
      const { ask } = rig({
        *parts() {
          for (let at = 0; at < bytes.length; at += partBytes)
            yield bytes.subarray(at, at + partBytes);
        },
      });
      expect(await ask(pin)).toEqual(Buffer.concat(pieces));
    }
  });

  it('gives an empty file no digest, and one of exactly a piece a single one', async () => {
    expect(await rig({}).ask(pinOf('empty', 0))).toHaveLength(0);
    const whole = bytes.subarray(0, MiB);
    expect(await rig({ parts: () => [whole] }).ask(pinOf('whole', MiB))).toEqual(pieces[0]);
  });

  it('reads a file once for all who ask, and never again', async () => {
    const { open, parts } = tap(bytes);
    const { ask, reads, outcomes } = rig({ parts });
    const answers = [ask(pin), ask(pin), ask(pin)];
    open();
    expect(
      new Set((await Promise.all(answers)).map((answer) => Buffer.from(answer).toString('hex')))
        .size,
    ).toBe(1);
    await ask(pin);
    expect(reads).toHaveLength(1);
    expect(outcomes).toEqual(['done']);
  });

  it('keeps nothing of a file that comes short, and reads it again when asked again', async () => {
    const { ask, kept, reads, outcomes } = rig({ parts: () => [bytes.subarray(0, MiB)] });
    await expect(ask(pin)).rejects.toThrow(/bytes were read/);
    await expect(ask(pin)).rejects.toThrow(/bytes were read/);
    expect(kept.size).toBe(0);
    expect(reads).toHaveLength(2);
    expect(outcomes).toEqual(['failed', 'failed']);
  });

  it('passes on why a file can’t be read', async () => {
    const { fail, parts } = tap(bytes);
    const { ask } = rig({ parts });
    const answer = ask(pin);
    fail(new BlockUnavailable({ cid: pin.root, providersTried: 2 }));
    await expect(answer).rejects.toThrow(BlockUnavailable);
  });

  it('says "not yet" when it takes long, and goes on for who comes back', async () => {
    const { open, parts } = tap(bytes);
    const { ask, reads } = rig({ parts, waitMaxMs: 20 });
    const refused = await ask(pin).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DescriptionNotReady);
    expect(refused).toMatchObject({ fields: { root: pin.root, hashedBytes: 1 } });
    open();
    expect(await ask(pin)).toEqual(Buffer.concat(pieces));
    expect(reads).toHaveLength(1);
  });

  it('stops when nobody comes back, and begins anew for who comes then', async () => {
    const first = tap(bytes);
    const taps = [first, tap(bytes)];
    const { ask, reads } = rig({
      parts: () => taps.shift()?.parts() ?? [],
      waitMaxMs: 10,
      unwantedMaxMs: 10,
    });
    await expect(ask(pin)).rejects.toThrow(DescriptionNotReady);
    const stopped = Promise.withResolvers<void>();
    reads[0]?.signal.addEventListener('abort', () => stopped.resolve());
    await stopped.promise;
    const again = ask(pin);
    await turn();
    expect(reads).toHaveLength(2);
    await expect(again).rejects.toThrow(DescriptionNotReady);
  });

  it('does not stop for one who leaves while another waits', async () => {
    const { open, parts } = tap(bytes);
    const { ask, reads } = rig({ parts, unwantedMaxMs: 0 });
    const leaving = new AbortController();
    const left = ask(pin, leaving.signal);
    const stays = ask(pin);
    await turn();
    leaving.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    await turn();
    expect(reads[0]?.signal.aborted).toBe(false);
    open();
    expect(await stays).toEqual(Buffer.concat(pieces));
  });

  it('hashes two files at a time, and refuses when too many wait', async () => {
    const { open, parts } = tap(bytes);
    const { ask, reads } = rig({ parts });
    const answers = Array.from({ length: 32 }, (_, index) => ask(pinOf(`${index}`, bytes.length)));
    await expect(ask(pinOf('one more', bytes.length))).rejects.toThrow(Overloaded);
    await turn();
    expect(reads).toHaveLength(2);
    open();
    expect(await Promise.all(answers)).toHaveLength(32);
  });

  it('lets everybody go when the service stops', async () => {
    const stopped = new AbortController();
    const { ask, running, outcomes } = rig({
      async *parts() {
        await new Promise((_, reject) => {
          stopped.signal.addEventListener('abort', () => reject(stopped.signal.reason as Error));
        });
        yield bytes;
      },
    });
    running.signal.addEventListener('abort', () => stopped.abort(running.signal.reason));
    const answer = ask(pin);
    const queued = [ask(pinOf('second', 1)), ask(pinOf('third', 1))];
    await turn();
    running.abort(new Error('stopping'));
    for (const each of [answer, ...queued]) await expect(each).rejects.toThrow(DescriptionNotReady);
    expect(outcomes).toEqual(['unwanted', 'unwanted', 'unwanted']);
  });

  it('gives a client that has none a place and a turn, whoever has them all', async () => {
    const mine = pinOf('mine', bytes.length);
    async function* stuck(signal: AbortSignal) {
      yield bytes.subarray(0, 1);
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    }
    const { ask, outcomes } = rig({
      parts: ({ root }, signal) => (root === mine.root ? [bytes] : stuck(signal)),
    });
    // All 32 places, and both of those in which files are read.
    const greedy = Array.from({ length: 32 }, (_, index) =>
      ask(pinOf(`greedy ${index}`, bytes.length)).catch((error: unknown) => error),
    );
    const { signal } = new AbortController();
    expect(await ask(mine, signal, 'b')).toEqual(Buffer.concat(pieces));
    expect(await Promise.race(greedy)).toMatchObject({ type: 'problems/gave-way' });
    expect(outcomes).toContain('done');
  });
});
