import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { BodyIncomplete } from '@shoal/protocol';
import { readStream } from '../src/request/read-body.ts';

const signal = new AbortController().signal;

async function collect(source: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

describe('readStream', () => {
  it('gives every byte in order', async () => {
    const stream = new PassThrough();
    const text = collect(readStream(stream, { signal }));
    for (let index = 0; index < 1000; index += 1) stream.write(`${index},`);
    stream.end();
    expect(await text).toBe(Array.from({ length: 1000 }, (_, index) => `${index},`).join(''));
  });

  it('says how much came of a stream that closed too early', async () => {
    const stream = new PassThrough();
    const text = collect(readStream(stream, { signal, expectedBytes: 10 }));
    stream.write('abc', () => stream.destroy());
    const error: unknown = await text.catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(BodyIncomplete);
    expect((error as InstanceType<typeof BodyIncomplete>).fields).toEqual({
      receivedBytes: 3,
      expectedBytes: 10,
    });
  });

  it('stops with the reason of the signal and leaves the stream whole', async () => {
    const stream = new PassThrough();
    const stop = new AbortController();
    const text = collect(readStream(stream, { signal: stop.signal }));
    stop.abort(new Error('enough'));
    await expect(text).rejects.toThrow('enough');
    expect(stream.destroyed).toBe(false);
    expect(stream.isPaused()).toBe(true);
  });

  it('holds the stream back while nobody takes', async () => {
    const stream = new PassThrough({ highWaterMark: 64 * 1024 });
    const pieces = readStream(stream, { signal });
    let writtenBytes = 0;
    const piece = Buffer.alloc(16 * 1024);
    const first = pieces.next();
    // Writes as long as it may: a stream that is not held back would take it all.
    for (let index = 0; index < 1000 && stream.write(piece); index += 1) {
      writtenBytes += piece.length;
      await Promise.resolve();
    }
    await first;
    expect(writtenBytes).toBeLessThan(1000 * piece.length);
    await pieces.return();
  });
});
