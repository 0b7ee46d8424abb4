import type { ConditionalRequest } from '@shoal/chassis';
import { describe, expect, it } from '@jest/globals';
import { PreconditionFailed } from '@shoal/protocol';
import fc from 'fast-check';
import { select } from '../../src/answer/range.ts';

const etag = '"bafk"';
const asked = (headers: ConditionalRequest['headers'], method = 'GET') =>
  select({ method, headers }, etag, 9);
const of = (range: string, sizeBytes = 100) =>
  select({ method: 'GET', headers: { range } }, etag, sizeBytes);

describe('select', () => {
  it.each([
    ['bytes=0-0', { kind: 'range', start: 0, end: 0 }],
    ['bytes=10-', { kind: 'range', start: 10, end: 99 }],
    ['bytes=90-200', { kind: 'range', start: 90, end: 99 }],
    ['bytes=-1', { kind: 'range', start: 99, end: 99 }],
    ['bytes=-500', { kind: 'range', start: 0, end: 99 }],
    ['BYTES=5-6', { kind: 'range', start: 5, end: 6 }],
    ['bytes=100-', { kind: 'unsatisfiable' }],
    ['bytes=-0', { kind: 'unsatisfiable' }],
    ['bytes=9-5', { kind: 'whole' }],
    ['bytes=-', { kind: 'whole' }],
    ['bytes=0-1,5-6', { kind: 'range', start: 0, end: 1 }],
    ['bytes=6-16, -4', { kind: 'range', start: 6, end: 16 }],
    ['bytes=0-1,x', { kind: 'whole' }],
    ['items=0-1', { kind: 'whole' }],
    ['bytes=a-b', { kind: 'whole' }],
  ])('reads %s', (range, expected) => {
    expect(of(range)).toEqual(expected);
  });

  it('never selects a byte outside the file', () => {
    fc.assert(
      fc.property(
        fc.option(fc.nat(), { nil: '' }),
        fc.option(fc.nat(), { nil: '' }),
        fc.nat(1_000_000),
        (first, last, sizeBytes) => {
          const selection = of(`bytes=${first}-${last}`, sizeBytes);
          if (selection.kind !== 'range') return;
          expect(selection.start).toBeGreaterThanOrEqual(0);
          expect(selection.end).toBeLessThan(sizeBytes);
          expect(selection.start).toBeLessThanOrEqual(selection.end);
        },
      ),
      { seed: 20261122 },
    );
  });

  it('has no range in an empty file', () => {
    expect(of('bytes=0-', 0)).toEqual({ kind: 'unsatisfiable' });
  });

  it('sends the whole file when If-Range names another', () => {
    const range = 'bytes=1-2';
    expect(asked({ range, 'if-range': etag }).kind).toBe('range');
    expect(asked({ range, 'if-range': '"other"' }).kind).toBe('whole');
    expect(asked({ range, 'if-range': `W/${etag}` }).kind).toBe('whole');
  });

  it('sends nothing when the reader has it already', () => {
    for (const list of [etag, `W/${etag}`, `"x", ${etag}`, '*'])
      expect(asked({ 'if-none-match': list, range: 'bytes=0-1' }).kind).toBe('not-modified');
    expect(asked({ 'if-none-match': '"x"' }).kind).toBe('whole');
  });

  it('has ranges for GET alone', () => {
    for (const range of ['bytes=0-1', 'bytes=99-'])
      expect(asked({ range }, 'HEAD')).toEqual({ kind: 'whole' });
  });

  it('sends nothing of what is not what If-Match names', () => {
    for (const list of ['"x"', `W/${etag}`, `"x", W/${etag}`])
      for (const method of ['GET', 'HEAD'])
        expect(() => asked({ 'if-match': list }, method)).toThrow(PreconditionFailed);
    for (const list of [etag, `"x", ${etag}`, '*'])
      expect(asked({ 'if-match': list })).toEqual({ kind: 'whole' });
  });

  it('looks at If-Match, then If-None-Match, then If-Range', () => {
    const range = 'bytes=1-2';
    const all = { 'if-match': '"x"', 'if-none-match': etag, 'if-range': etag, range };
    expect(() => asked(all)).toThrow(PreconditionFailed);
    expect(asked({ ...all, 'if-match': etag }).kind).toBe('not-modified');
    expect(asked({ ...all, 'if-match': etag, 'if-none-match': '"x"' }).kind).toBe('range');
    expect(
      asked({ ...all, 'if-match': etag, 'if-none-match': '"x"', 'if-range': '"x"' }).kind,
    ).toBe('whole');
  });
});
