import { describe, expect, it } from '@jest/globals';
import { isNdjsonWanted } from '../../src/routing/routing.ts';

describe('the form of a routing answer', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['application/json', false],
    ['text/html', false],
    ['application/x-ndjson', true],
    ['Application/X-NDJSON;q=0.5', true],
    ['application/x-ndjson, text/html', true],
    // Helia's client asks for both and breaks on what it asked for.
    ['application/x-ndjson, application/json', false],
    ['application/json, application/x-ndjson;q=0.9', false],
    ['application/x-ndjson, */*;q=0.1', false],
    ['application/x-ndjson, application/json;q=0', true],
    ['application/x-ndjson;q=0', false],
  ])('Accept: %s is ndjson: %s', (accept, isNdjson) => {
    expect(isNdjsonWanted(accept)).toBe(isNdjson);
  });
});
