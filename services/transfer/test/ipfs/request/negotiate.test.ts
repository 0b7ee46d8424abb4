import { describe, expect, it } from '@jest/globals';
import { FormatUnsupported, RequestInvalid } from '@shoal/protocol';
import { negotiate, readsJson } from '../../../src/ipfs/request/negotiate.ts';

const RAW = 'application/vnd.ipld.raw';
const CAR = 'application/vnd.ipld.car';

describe('negotiate', () => {
  it.each<[string, string | undefined, string | undefined, object]>([
    ['nothing', undefined, undefined, { kind: 'file' }],
    ['a browser', undefined, 'text/html,application/xhtml+xml,*/*;q=0.8', { kind: 'file' }],
    ['JSON', undefined, 'application/json', { kind: 'file' }],
    ['a block', 'raw', undefined, { kind: 'raw', isByAccept: false }],
    ['a block by Accept', undefined, RAW, { kind: 'raw', isByAccept: true }],
    ['a block in capitals', undefined, RAW.toUpperCase(), { kind: 'raw', isByAccept: true }],
    ['a CAR', 'car', undefined, { kind: 'car', isByAccept: false, dups: 'n' }],
    ['a CAR by Accept', undefined, `${CAR}; dups=y`, { kind: 'car', isByAccept: true, dups: 'y' }],
    ['the format first', 'raw', CAR, { kind: 'raw', isByAccept: false }],
    ['the better of two', undefined, `${CAR};q=0.5, ${RAW}`, { kind: 'raw', isByAccept: true }],
    ['the first of equals', undefined, `${RAW}, ${CAR}`, { kind: 'raw', isByAccept: true }],
    ['anything rather than raw', undefined, `${RAW};q=0.1, */*;q=0.9`, { kind: 'file' }],
    ['what it refuses', undefined, `${RAW};q=0`, { kind: 'file' }],
    ['a TAR', 'tar', undefined, { kind: 'tar', isByAccept: false }],
    ['a TAR by Accept', undefined, 'application/x-tar', { kind: 'tar', isByAccept: true }],
    [
      'what we have',
      undefined,
      `application/vnd.ipld.dag-json, ${RAW}`,
      { kind: 'raw', isByAccept: true },
    ],
  ])('reads a request for %s', (_, format, accept, form) => {
    expect(negotiate({ format }, accept)).toEqual(form);
  });

  it('lets parameters of the address beat those of Accept', () => {
    const accept = `${CAR}; version=2; order=other; dups=n`;
    const query = { 'car-version': '1', 'car-order': 'unk', 'car-dups': 'y' };
    expect(negotiate(query, accept)).toMatchObject({ kind: 'car', dups: 'y' });
    expect(negotiate({ format: 'car' }, `${CAR};dups=y`)).toMatchObject({ dups: 'y' });
  });

  it.each(['json', 'cbor', 'dag-json', 'dag-cbor'])('does not have %s', (format) => {
    expect(() => negotiate({ format }, undefined)).toThrow(FormatUnsupported);
  });

  it('says so too when only that is accepted', () => {
    expect(() => negotiate({}, 'application/vnd.ipld.dag-cbor')).toThrow(FormatUnsupported);
  });

  it.each([
    { format: 'ipns-record' },
    { format: 'zip' },
    { format: '' },
    { format: 'car', 'car-version': '2' },
    { format: 'car', 'car-order': 'bfs' },
    { format: 'car', 'car-dups': 'maybe' },
  ])('refuses %j', (query) => {
    expect(() => negotiate(query, undefined)).toThrow(RequestInvalid);
  });
});

describe('readsJson', () => {
  it('is true for those who name it', () => {
    for (const accept of ['application/json', 'text/html, application/problem+json;q=0.5'])
      expect(readsJson(accept)).toBe(true);
    for (const accept of [undefined, '*/*', 'text/html', 'application/json;q=0', RAW])
      expect(readsJson(accept)).toBe(false);
  });
});
