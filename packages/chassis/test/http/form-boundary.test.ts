import { describe, expect, it } from '@jest/globals';
import { boundaryOf } from '../../src/index.ts';

describe('the boundary of a form', () => {
  it('is read from the content type, with quotes or without', () => {
    expect(boundaryOf('multipart/form-data; boundary=abc')).toBe('abc');
    expect(boundaryOf('Multipart/Form-Data; charset=utf-8; boundary="a b"')).toBe('a b');
    expect(boundaryOf('multipart/form-data; boundary=-----------------------------Xy_-1')).toMatch(
      /^-+Xy/,
    );
  });

  it.each([
    undefined,
    'application/json',
    'multipart/form-data',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
  ])('is missed in %s', (type) => {
    expect(boundaryOf(type)).toBeUndefined();
  });
});
