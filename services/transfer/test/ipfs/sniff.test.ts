import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { sniff } from '../../src/ipfs/sniff.ts';

const of = (text: string) => sniff(Buffer.from(text, 'latin1'));

describe('sniff', () => {
  it.each([
    ['\x89PNG\r\n\x1a\n....', 'image/png'],
    ['\xff\xd8\xff\xe0..JFIF', 'image/jpeg'],
    ['GIF89a..', 'image/gif'],
    ['RIFF....WEBPVP8 ', 'image/webp'],
    ['\0\0\0\x18ftypmp42', 'video/mp4'],
    ['\x1aE\xdf\xa3....', 'video/webm'],
    ['%PDF-1.7\n', 'application/pdf'],
    ['PK\x03\x04....', 'application/zip'],
    ['\x1f\x8b\x08', 'application/gzip'],
    [`${'x'.repeat(257)}ustar`, 'application/x-tar'],
    ['\x00\x01\x02', 'application/octet-stream'],
    ['\xff\xfe', 'application/octet-stream'],
    ['plain words\r\n\tand more', 'text/plain; charset=utf-8'],
    ['', 'text/plain; charset=utf-8'],
  ])('tells %j', (text, type) => {
    expect(of(text)).toBe(type);
  });

  it('reads text that is cut within a character', () => {
    const text = Buffer.from('ä'.repeat(400));
    expect(sniff(text)).toBe('text/plain; charset=utf-8');
    expect(sniff(text.subarray(0, 511))).toBe('text/plain; charset=utf-8');
  });

  it('makes no page, script or drawing of any bytes', () => {
    const tempting = [
      '<!doctype html><script>',
      '<?xml version="1.0"?>',
      '<svg xmlns=""/>',
      '#!/bin/sh',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...tempting), fc.string(), (head, rest) => {
        expect(sniff(Buffer.from(head + rest))).not.toMatch(/html|xml|svg|script/);
      }),
      { seed: 20261122 },
    );
  });
});
