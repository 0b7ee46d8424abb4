import { describe, expect, it } from '@jest/globals';
import type { FastifyRequest } from 'fastify';
import { readHeaders, readMetadata, TusRefusal, writeMetadata } from '../src/tus/headers.ts';

const requestOf = (headers: Record<string, string>) => ({ headers }) as unknown as FastifyRequest; // all that is read

describe('the metadata of an upload', () => {
  it.each([
    ['filename w6QuYmlu,flag', { filename: 'ä.bin', flag: null }],
    ['a YQ==,b ', { a: 'a', b: null }],
    ['__proto__ eA==', { ['__proto__']: 'x' }],
  ])('is read: %s', (text, metadata) => {
    expect(Object.entries(readMetadata(text))).toEqual(Object.entries(metadata));
  });

  it('comes back as it was given', () => {
    const text = 'filename w6QuYmlu,flag,name eA==';
    expect(writeMetadata(readMetadata(text))).toBe(text);
  });

  it.each(['', ' ', 'ä eA==', 'a eA', 'a e A==', 'a eA==,a eA==', 'a eA==,', 'a !A==', 'a /w=='])(
    'is refused: "%s"',
    (text) => {
      expect(() => readMetadata(text)).toThrow(TusRefusal);
    },
  );
});

describe('the headers of tus', () => {
  it.each(['-1', '1.5', '01', '+1', ' 1', '1e3', 'x', '', 'Infinity', '9'.repeat(20)])(
    'count in whole numbers, which "%s" is none of',
    (text) => {
      for (const name of ['upload-offset', 'upload-length'])
        expect(() => readHeaders(requestOf({ [name]: text }), 'PATCH')).toThrow(`Invalid ${name}`);
    },
  );

  it('leave out what was not said', () => {
    expect(readHeaders(requestOf({}), 'HEAD')).toEqual({
      offset: undefined,
      length: undefined,
      isLengthDeferred: false,
      metadata: undefined,
      isConcat: false,
      hasPart: false,
      contentLength: undefined,
    });
  });

  it('state the type of every PATCH, and of a creation that has a body', () => {
    const body = { 'content-length': '1' };
    const wrong = 'this route takes application/offset+octet-stream';
    for (const headers of [{}, { 'content-type': 'text/plain' }]) {
      expect(() => readHeaders(requestOf(headers), 'PATCH')).toThrow(wrong);
      expect(() => readHeaders(requestOf({ ...headers, ...body }), 'POST')).toThrow(wrong);
      const chunked = { ...headers, 'transfer-encoding': 'chunked' };
      expect(() => readHeaders(requestOf(chunked), 'POST')).toThrow(wrong);
      const empty = { ...headers, 'content-length': '0' };
      expect(readHeaders(requestOf(empty), 'POST').hasPart).toBe(false);
      expect(readHeaders(requestOf(headers), 'DELETE').hasPart).toBe(false);
    }
  });

  it('state it in either case, and with parameters', () => {
    const type = 'Application/Offset+Octet-Stream; charset=binary';
    for (const method of ['PATCH', 'POST'])
      expect(readHeaders(requestOf({ 'content-type': type }), method).hasPart).toBe(true);
  });

  it.each([{ 'upload-defer-length': '0' }, { 'upload-concat': 'whole' }])(
    'have no other values: %p',
    (headers) => {
      expect(() => readHeaders(requestOf(headers), 'POST')).toThrow(TusRefusal);
    },
  );
});
