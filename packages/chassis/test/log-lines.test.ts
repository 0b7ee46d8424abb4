import { describe, expect, it } from '@jest/globals';
import { writeLogLine } from '../src/process/log-lines.ts';

const failing = (code: string) => () => {
  throw Object.assign(new Error(code), { code });
};

describe('a line of the log', () => {
  it('is written whole, in as many pieces as it takes', () => {
    const pieces: string[] = [];
    const some = (_: number, bytes: NodeJS.ArrayBufferView) => {
      const piece = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(4, bytes.byteLength));
      pieces.push(piece.toString());
      return piece.length;
    };
    writeLogLine('hello there\n', some as never);
    expect(pieces.join('')).toBe('hello there\n');
  });

  it('is lost on a full disk, at once and without an error', () => {
    let calls = 0;
    const full = () => {
      calls += 1;
      return failing('ENOSPC')();
    };
    writeLogLine('lost\n', full as never);
    expect(calls).toBe(1);
  });

  it('is not waited for without end when nobody reads', () => {
    const startedAtMs = performance.now();
    writeLogLine('lost\n', failing('EAGAIN') as never);
    expect(performance.now() - startedAtMs).toBeLessThan(5000);
  });
});
