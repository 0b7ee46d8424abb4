import { describe, expect, it } from '@jest/globals';
import { summarise } from '../src/commands/peers.ts';

describe('the sentence below the list of peers', () => {
  it.each([
    [5, 1, '5 peers, 1 disk: survives crashes, not disk loss'],
    [5, 3, '5 peers, 3 disks'],
    [5, 5, '5 peers, 5 disks'],
    [1, 1, '1 peer, 1 disk'],
  ])('for %i peers on %i disks is "%s"', (up, disks, sentence) => {
    expect(summarise(up, disks)).toBe(sentence);
  });
});
