import { describe, expect, it } from '@jest/globals';
import { UsageError } from '../src/failure.ts';
import { readExpiry } from '../src/files/read-expiry.ts';

const NOW_MS = Date.UTC(2026, 0, 15, 12);

describe('readExpiry', () => {
  it.each([
    ['30s', '2026-01-15T12:00:30.000Z'],
    ['90min', '2026-01-15T13:30:00.000Z'],
    ['12h', '2026-01-16T00:00:00.000Z'],
    ['7d', '2026-01-22T12:00:00.000Z'],
    ['2w', '2026-01-29T12:00:00.000Z'],
    ['2026-03-01T12:00Z', '2026-03-01T12:00:00.000Z'],
    ['2026-03-01 12:00:30+02:00', '2026-03-01T10:00:30.000Z'],
    ['2026-03-01', new Date(2026, 2, 1).toISOString()],
    ['2026-03-01T12:30', new Date(2026, 2, 1, 12, 30).toISOString()],
  ])('reads %s', (text, expiresAt) => {
    expect(readExpiry(text, NOW_MS)).toBe(expiresAt);
  });

  it('tells "never" from nothing', () => {
    expect(readExpiry('never', NOW_MS)).toBeNull();
    expect(readExpiry(undefined, NOW_MS)).toBeUndefined();
  });

  it.each([
    'soon',
    '7',
    '7m',
    '-7d',
    '0d',
    '1.5d',
    '999999999w',
    '2026-02-31',
    '2026-13-01',
    '2026-03-01T25:00',
    '2026-01-15T12:00Z',
    '01/03/2026',
    '',
  ])('refuses "%s"', (text) => {
    expect(() => readExpiry(text, NOW_MS)).toThrow(UsageError);
  });
});
