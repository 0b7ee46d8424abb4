import { describe, expect, it } from '@jest/globals';
import { clockLine, twinLine } from '../src/commands/peers/peers.ts';
import { formatTable } from '../src/terminal/format.ts';
import { ERASE_LINE, printable, printableAfterErase } from '../src/terminal/printable.ts';

const NASTY = 'a\u001b[2J\u0007\u009b1m\u007f\u0000\r\u202eb';
const ESCAPED = 'a\\u001b[2J\\u0007\\u009b1m\\u007f\\u0000\\u000d\\u202eb';

describe('what goes to a terminal', () => {
  it('has its control characters and direction marks written out', () => {
    expect(printable(NASTY)).toBe(ESCAPED);
    expect(printable('två\tрыба 🐟\n')).toBe('två\tрыба 🐟\n');
    expect(JSON.parse(printable(JSON.stringify({ name: NASTY })))).toEqual({ name: NASTY });
  });

  it('may begin with what erases a line of our own, and nothing else', () => {
    expect(printableAfterErase(`${ERASE_LINE}x${ERASE_LINE}`)).toBe(
      `${ERASE_LINE}x\\u000d\\u001b[K`,
    );
    expect(printableAfterErase(`x${NASTY}`)).toBe(`x${ESCAPED}`);
  });

  it('is aligned as it is shown', () => {
    expect(formatTable(['A', 'B'], [['\u001b', 'x']])).toBe('A       B\n\\u001b  x\n');
  });
});

describe("a peer's clock", () => {
  it('is spoken of when it is wrong', () => {
    const dayMs = 24 * 3_600_000;
    expect(clockLine(undefined)).toBe('');
    expect(clockLine({ aheadMs: dayMs, isWrong: false })).toBe('');
    expect(clockLine({ aheadMs: 9 * dayMs, isWrong: true })).toMatch(/is 9 d ahead of the others'/);
    expect(clockLine({ aheadMs: -9 * dayMs, isWrong: true })).toMatch(/is 9 d behind the others'/);
  });
});

describe('a twin of a peer', () => {
  it('is a line that says which of the two takes no writes, and nothing without one', () => {
    const twin = { sinceMs: 1, seenMsAgo: 1, gateway: 'http://127.0.0.1:7100' };
    expect(twinLine(undefined)).toBe('');
    expect(twinLine({ ...twin, isAside: true })).toMatch(
      /at http:\/\/127.0.0.1:7100: .* nothing can be written here .*--new-identity/,
    );
    expect(twinLine({ ...twin, isAside: false })).toMatch(/that one stands aside/);
  });
});
