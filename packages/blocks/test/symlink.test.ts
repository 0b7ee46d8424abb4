import { expect, it } from '@jest/globals';
import { leadsOut } from '../src/dag/symlink.ts';

it.each([
  ['a', 0, false],
  ['a/b', 0, false],
  ['./a', 0, false],
  ['../a', 1, false],
  ['..', 1, false],
  ['../../a', 2, false],
  ['../a', 0, true],
  ['..', 0, true],
  ['/etc', 5, true],
  ['./../..', 1, true],
  ['a/../..', 0, true],
  ['up/../x', 3, true], // "up" may be a link itself
])('a symlink to %j, %d folders down, may lead out: %j', (target, depth, is) => {
  expect(leadsOut(Buffer.from(target), depth)).toBe(is);
});
