import { describe, expect, it } from '@jest/globals';
import { FileNameInvalid } from '@shoal/protocol';
import { oneName } from '../src/request/names.ts';

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
