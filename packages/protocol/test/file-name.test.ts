import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FILE_NAME_MAX_BYTES, FileName, fileNameFault } from '../src/index.ts';

describe('a file name', () => {
  it.each(['report.pdf', 'größe.txt', '写真 📷.jpg', '...', '.bashrc', 'a'.repeat(255), ' x'])(
    'may be %j',
    (name) => {
      expect(fileNameFault(name)).toBeUndefined();
    },
  );

  it.each([
    ['', /empty/],
    ['../etc/passwd', /separator/],
    ['a\\b', /separator/],
    ['..', /folder/],
    ['a\u0000b', /control/],
    ['a\nb', /control/],
    ['x\u202egpj.exe', /reverses/],
    ['é'.repeat(128), /longer than 255 bytes/],
    ['x'.repeat(10_240), /longer/],
    ['\ud800', /Unicode/],
  ])('may not be %j', (name, reason) => {
    expect(fileNameFault(name)).toMatch(reason);
    expect(FileName.safeParse(name).success).toBe(false);
  });

  it('that is accepted fits a path segment and a header', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        fc.pre(fileNameFault(name) === undefined);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(FILE_NAME_MAX_BYTES);
        expect(decodeURIComponent(encodeURIComponent(name))).toBe(name);
      }),
      { seed: 20261122 },
    );
  });
});
