import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { RequestInvalid } from '@shoal/protocol';
import { parseReprDigest } from '../src/digest.ts';

const hash = createHash('sha256').update('shoal').digest();
const base64 = hash.toString('base64');

describe('parseReprDigest', () => {
  it('finds sha-256 among other algorithms', () => {
    const hex = hash.toString('hex');
    expect(parseReprDigest(`sha-256=:${base64}:`)).toBe(hex);
    expect(parseReprDigest(`sha-512=:AAAA:, sha-256=:${base64}: , md5=:AA==:`)).toBe(hex);
    expect(parseReprDigest(`sha-256=:${base64}:;x=1; y="2"`)).toBe(hex);
  });

  it('says nothing without sha-256', () => {
    expect(parseReprDigest(undefined)).toBeUndefined();
    expect(parseReprDigest('sha-512=:AAAA:')).toBeUndefined();
  });

  it('lets the last of two count', () => {
    const zeros = Buffer.alloc(32).toString('base64');
    expect(parseReprDigest(`sha-256=:${zeros}:,sha-256=:${base64}:`)).toBe(hash.toString('hex'));
  });

  it.each(['', 'sha-256', `sha-256=${base64}`, 'sha-256=:AAAA:', 'sha-256=:%%:', 'SHA-256=:AAAA:'])(
    'refuses %p',
    (header) => {
      expect(() => parseReprDigest(header)).toThrow(RequestInvalid);
    },
  );
});
