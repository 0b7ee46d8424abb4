import { describe, expect, it } from '@jest/globals';
import type { FailureDomain } from '@shoal/protocol';
import fc from 'fast-check';
import { createPlacement, describeSurvival, spreadOf, survivalOf } from '../src/index.ts';

const on = (host: string, ...disks: string[]): FailureDomain[] =>
  disks.map((disk) => ({ host, disk }));

describe('what an accident takes', () => {
  it.each([
    ['one disk, whoever shares it', on('a', 'vda', 'vda', 'vda'), { disks: 1, machines: 1 }],
    [
      'disks of one name on two machines',
      [...on('a', 'vda'), ...on('b', 'vda')],
      { disks: 2, machines: 2 },
    ],
    ['memory beside a disk', on('a', 'vda', 'memory'), { disks: 1, machines: 1 }],
    ['memory alone', on('a', 'memory', 'memory'), { disks: 0, machines: 1 }],
    ['a disk that can not be told', on('a', 'unknown'), { disks: 1, machines: 1 }],
    ['one that may be the other', on('a', 'unknown', 'vda', 'unknown'), { disks: 1, machines: 1 }],
    [
      'a disk behind the network',
      [...on('a', 'net:n'), ...on('b', 'net:n')],
      { disks: 1, machines: 2 },
    ],
    [
      'peers whose storage has not answered',
      on('unknown', 'unknown', 'unknown'),
      { disks: 1, machines: 1 },
    ],
    [
      'one of these beside a known one',
      [...on('unknown', 'unknown'), ...on('a', 'vda')],
      { disks: 1, machines: 1 },
    ],
    ['nobody', [], { disks: 0, machines: 0 }],
  ])('%s', (_, domains, spread) => {
    expect(spreadOf(domains)).toEqual(spread);
  });

  it.each([
    [on('a', 'x', 'x', 'x'), 3, { peers: 2, disks: 0, machines: 0 }],
    [[...on('a', 'x'), ...on('b', 'x'), ...on('c', 'x')], 3, { peers: 2, disks: 2, machines: 2 }],
    [[...on('a', 'x', 'y', 'z'), ...on('b', 'x')], 3, { peers: 2, disks: 2, machines: 0 }],
    [on('a', 'memory', 'x', 'y'), 2, { peers: 1, disks: 0, machines: 0 }],
    [on('a', 'x'), 3, { peers: 0, disks: 0, machines: 0 }],
  ])('of %j with %i copies at worst', (domains, replicas, survives) => {
    expect(survivalOf(domains, replicas)).toEqual(survives);
  });

  it('is never more than placement gives any partition', () => {
    const host = fc.constantFrom('a', 'b', 'c', 'unknown');
    const disk = fc.constantFrom('x', 'y', 'memory', 'unknown', 'net:n');
    const domain = fc.record({ host, disk });
    fc.assert(
      fc.property(
        fc.array(domain, { minLength: 1, maxLength: 7 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 255 }),
        (domains, replicas, partition) => {
          const candidates = domains.map((each, index) => ({
            peerId: `peer-${index}` as never, // only compared
            capacityBytes: 1,
            domain: each,
          }));
          const holders = createPlacement(candidates)(partition).slice(0, replicas);
          const got = spreadOf(holders.map((holder) => holder.domain));
          const promised = survivalOf(domains, replicas);
          expect(promised.peers).toBeLessThan(Math.max(1, holders.length));
          expect(promised.disks).toBeLessThanOrEqual(Math.max(0, got.disks - 1));
          expect(promised.machines).toBeLessThanOrEqual(Math.max(0, got.machines - 1));
        },
      ),
      { seed: 11, numRuns: 500 },
    );
  });

  it('is told in a sentence', () => {
    expect(describeSurvival(on('a', 'x', 'x', 'x'), 3)).toBe(
      '3 peers, 1 disk, 1 machine: a file that asks for 3 copies survives the loss of any 2 peers, not of a disk or a machine',
    );
    expect(describeSurvival([...on('a', 'x'), ...on('b', 'x')], 2)).toBe(
      '2 peers, 2 disks, 2 machines: a file that asks for 2 copies survives the loss of any 1 peer, 1 disk or 1 machine',
    );
    expect(describeSurvival(on('a', 'memory'), 1)).toContain('no disk (memory only)');
  });
});
