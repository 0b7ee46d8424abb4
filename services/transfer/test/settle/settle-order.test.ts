import { describe, expect, it } from '@jest/globals';
import type { Cid, Pin } from '@shoal/protocol';
import { settleOrder } from '../../src/settle/settle-order.ts';

const pinOf = (name: string, sizeBytes = 1) =>
  ({ root: name as Cid, name, sizeBytes, deleted: false }) as Pin; // what ordering reads
const names = (pins: readonly Pin[]) => pins.map(({ name }) => name);

describe('settleOrder', () => {
  it('puts the fewest copies first, unknown counts behind, files without any copy last', () => {
    const order = settleOrder([
      { pin: pinOf('none'), copies: 0 },
      { pin: pinOf('three'), copies: 3 },
      { pin: pinOf('unknown'), copies: undefined },
      { pin: pinOf('one'), copies: 1 },
      { pin: pinOf('two'), copies: 2 },
    ]);
    expect(names(order)).toEqual(['one', 'two', 'three', 'unknown', 'none']);
  });

  it('puts deleted files that can be brought back behind all others', () => {
    const order = settleOrder([
      { pin: { ...pinOf('deleted'), deleted: true }, copies: 1 },
      { pin: pinOf('none'), copies: 0 },
      { pin: { ...pinOf('deleted, safe'), deleted: true }, copies: 3 },
      { pin: pinOf('three'), copies: 3 },
    ]);
    expect(names(order)).toEqual(['three', 'none', 'deleted', 'deleted, safe']);
  });

  it('takes small files before large ones with as many copies', () => {
    const order = settleOrder([
      { pin: pinOf('large', 9), copies: 1 },
      { pin: pinOf('small', 1), copies: 1 },
      { pin: pinOf('tiny', 0), copies: 2 },
    ]);
    expect(names(order)).toEqual(['small', 'large', 'tiny']);
  });
});
