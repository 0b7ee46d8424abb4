import { describe, expect, it } from '@jest/globals';
import { BlockNotFound, OriginRefused } from '@shoal/protocol';
import { ALWAYS, holdTo, NEVER, readOptions, UNKNOWN } from '../src/kubo/rpc/options.ts';
import { gatewayPath, readIpfsPath } from '../src/kubo/rpc/paths.ts';
import { toRpcError } from '../src/kubo/rpc/rpc-error.ts';

const optionsOf = (query: string) => readOptions(`/api/v0/add?${query}`);

describe('options', () => {
  it('take flags as Go writes them', () => {
    const options = optionsOf('a=true&b=1&c=T&d&e=&f=false&g=0&h=F');
    for (const name of ['a', 'b', 'c', 'd', 'e']) expect(options.flag(name, false)).toBe(true);
    for (const name of ['f', 'g', 'h']) expect(options.flag(name, true)).toBe(false);
    expect([options.flag('z', true), options.flag('z', false)]).toEqual([true, false]);
    expect(() => optionsOf('a=maybe').flag('a', true)).toThrow(/must be true or false/);
  });

  it('take whole numbers and no others', () => {
    expect(optionsOf('n=12').count('n')).toBe(12);
    expect(optionsOf('').count('n')).toBeUndefined();
    for (const text of ['-1', '1.5', 'x', '', '99999999999999999999'])
      expect(() => optionsOf(`n=${text}`).count('n')).toThrow(/whole number/);
  });

  it('are refused when they ask for what is not done, by name', () => {
    const rules = { always: ALWAYS, never: NEVER, one: /^1$/, unknown: UNKNOWN };
    const hold = (query: string) => () => holdTo(rules, optionsOf(query), 'so it is');
    for (const query of ['', 'always', 'always=true', 'never=false', 'one=1', 'other=x'])
      expect(hold(query)).not.toThrow();
    for (const query of ['always=false', 'never', 'never=true', 'one=0', 'unknown=', 'unknown=1'])
      expect(hold(query)).toThrow(new RegExp(`"${query.split('=')[0]}=.*so it is`));
  });
});

describe('paths', () => {
  it.each([
    ['bafy', ['bafy']],
    ['/ipfs/bafy', ['bafy']],
    ['ipfs://bafy/a', ['bafy', 'a']],
    ['ipfs/bafy/a', ['bafy', 'a']],
    ['bafy/a//b/', ['bafy', 'a', 'b']],
  ])('%s is %j', (arg, [cid, ...names]) => {
    expect(readIpfsPath(arg)).toEqual({ cid, names });
  });

  it.each(['', '/', '/ipfs', '/ipfs/', '/ipns/example.org'])('"%s" is none', (arg) => {
    expect(() => readIpfsPath(arg)).toThrow(/invalid path/);
  });

  it('are encoded on their way', () => {
    expect(gatewayPath({ cid: 'bafy', names: ['a b', '../x', 'ü?'] }, 'format=raw')).toBe(
      '/ipfs/bafy/a%20b/..%2Fx/%C3%BC%3F?format=raw',
    );
  });
});

describe('failures', () => {
  it('have the sentence of a problem, and nothing of a fault of ours', () => {
    const known = toRpcError(new BlockNotFound({ cid: 'bafk' }));
    expect([known.status, known.toBody()]).toEqual([
      500,
      { Message: 'no block bafk is stored here', Code: 0, Type: 'error' },
    ]);
    expect(toRpcError(new OriginRefused({ reason: 'x' })).status).toBe(403);
    expect(toRpcError(new Error('a secret')).toBody().Message).not.toContain('secret');
  });
});
