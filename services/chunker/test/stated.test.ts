import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { FileNameInvalid, RequestInvalid } from '@shoal/protocol';
import { oneName, statedSha256 } from '../src/request/stated.ts';

const hash = createHash('sha256').update('shoal').digest();
const hex = hash.toString('hex');
const base64 = hash.toString('base64');
const zeros = Buffer.alloc(32).toString('base64');

const repr = (header: string | undefined) =>
  statedSha256(header === undefined ? {} : { 'repr-digest': header }, { isWholeBody: false });

describe('statedSha256', () => {
  it('finds sha-256 among other algorithms', () => {
    expect(repr(`sha-256=:${base64}:`)).toBe(hex);
    expect(repr(`sha-512=:AAAA:, sha-256=:${base64}: , md5=:AA==:`)).toBe(hex);
    expect(repr(`sha-256=:${base64}:;x=1; y="2"`)).toBe(hex);
  });

  it('says nothing without sha-256', () => {
    expect(repr(undefined)).toBeUndefined();
    expect(repr('sha-512=:AAAA:')).toBeUndefined();
  });

  it('lets the last of two count', () => {
    expect(repr(`sha-256=:${zeros}:,sha-256=:${base64}:`)).toBe(hex);
  });

  it.each(['', 'sha-256', `sha-256=${base64}`, 'sha-256=:AAAA:', 'sha-256=:%%:', 'SHA-256=:AAAA:'])(
    'refuses %p',
    (header) => {
      expect(() => repr(header)).toThrow(RequestInvalid);
      const content = { 'content-digest': header };
      expect(() => statedSha256(content, { isWholeBody: true })).toThrow(RequestInvalid);
    },
  );

  it('takes Content-Digest for the file when the body is the file, and only then', () => {
    const headers = { 'content-digest': `sha-256=:${base64}:` };
    expect(statedSha256(headers, { isWholeBody: true })).toBe(hex);
    expect(statedSha256(headers, { isWholeBody: false })).toBeUndefined();
  });

  it('refuses two headers that disagree', () => {
    const headers = {
      'repr-digest': `sha-256=:${base64}:`,
      'content-digest': `sha-256=:${zeros}:`,
    };
    expect(() => statedSha256(headers, { isWholeBody: true })).toThrow(/different/);
  });
});

describe('oneName', () => {
  it('takes the one name that was given, however often', () => {
    expect(oneName(['Größe 雪.txt'])).toBe('Größe 雪.txt');
    expect(oneName([undefined, 'a', 'a'])).toBe('a');
  });

  it.each([
    ['none', []],
    ['two different ones', ['a', 'b']],
    ['an empty one', ['']],
    ['a path', ['../x']],
    ['a path of Windows', ['..\\x']],
    ['NUL', ['a\u0000b']],
    ['one of 10 kB', ['x'.repeat(10_000)]],
    ['a right-to-left override', ['a\u202egpj.exe']],
  ])('refuses %s', (_, given) => {
    expect(() => oneName(given)).toThrow(FileNameInvalid);
  });
});
