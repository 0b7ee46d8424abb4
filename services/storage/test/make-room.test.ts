import { describe, it } from '@jest/globals';
import type { Cid } from '@shoal/protocol';
import fc from 'fast-check';
import { chooseFiles } from '../src/upkeep/make-room.ts';

const plans = fc.record({
  garbageBytes: fc.nat(50),
  files: fc
    .array(fc.nat(20), { maxLength: 8 })
    .map((sizes) => sizes.map((freedBytes, at) => ({ root: `${at}` as Cid, freedBytes }))),
});

describe('files that are purged for room', () => {
  it('are the first ones, no more than are wanted, and none when all would be too little', () => {
    fc.assert(
      fc.property(
        plans,
        fc.integer({ min: 1, max: 120 }),
        fc.nat(60),
        (plan, lackingBytes, ahead) => {
          const wantedBytes = lackingBytes + ahead;
          const chosen = chooseFiles(plan, { lackingBytes, wantedBytes });
          const freedBy = (count: number) =>
            plan.files
              .slice(0, count)
              .reduce((sum, each) => sum + each.freedBytes, plan.garbageBytes);
          if (chosen === undefined) return freedBy(plan.files.length) < lackingBytes;
          const isFirst = chosen.every((root, at) => root === plan.files[at]?.root);
          const isEnough = freedBy(chosen.length) >= lackingBytes;
          const isLeast = chosen.length === 0 || freedBy(chosen.length - 1) < wantedBytes;
          return isFirst && isEnough && isLeast;
        },
      ),
      { seed: 1 },
    );
  });
});
