import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { formatAge, formatBytes, formatTable } from '../src/terminal/format.ts';
import { fit, fitMiddle, widthOf } from '../src/terminal/fit-line.ts';
import { printable } from '../src/terminal/printable.ts';
import { progressLine } from '../src/terminal/progress.ts';

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1_048_575, '1.0 MiB'],
    [1_610_612_736, '1.5 GiB'],
  ])('prints %d as %s', (sizeBytes, text) => {
    expect(formatBytes(sizeBytes)).toBe(text);
  });
});

describe('formatAge', () => {
  it.each([
    [400, '0 s'],
    [99_000, '99 s'],
    [120_000, '2 min'],
    [7_200_000, '2 h'],
    [432_000_000, '5 d'],
  ])('prints %d ms as %s', (ageMs, text) => {
    expect(formatAge(ageMs)).toBe(text);
  });
});

describe('formatTable', () => {
  it('aligns columns by what people see of a name', () => {
    expect(
      formatTable(
        ['NAME', 'SIZE'],
        [
          ['é', '1'],
          ['long name', '22'],
        ],
      ),
    ).toBe('NAME       SIZE\né          1\nlong name  22\n');
  });
});

describe('a table that is wider than the terminal', () => {
  const cid = 'b'.repeat(59);
  const long = `${'x'.repeat(251)}.pdf`;
  const table = (columns?: number, name = long) =>
    formatTable(
      ['NAME', 'SIZE', 'CID'],
      [
        [name, '1 B', cid],
        ['short', '22 B', cid],
      ],
      columns,
    );

  it('has its names shortened in the middle, to the width of the terminal', () => {
    const lines = table(120).trimEnd().split('\n');
    expect(Math.max(...lines.map(widthOf))).toBe(120);
    expect(lines[1]).toMatch(/^x+…x+\.pdf {2}1 B {3}b{59}$/);
    expect(lines[2]).toMatch(/^short +22 B {2}b{59}$/);
  });

  it('keeps 16 columns of a name, and all of a CID, in one that is too narrow for both', () => {
    expect(table(40)).toContain(`${'x'.repeat(8)}…xxx.pdf  1 B   ${cid}\n`);
  });

  it('is left as it is where it fits, and where it goes to no terminal', () => {
    expect(table()).toContain(long);
    expect(table(1000)).toBe(table());
    expect(table(120, 'report.pdf')).toBe(table(undefined, 'report.pdf'));
  });
});

describe('fitMiddle', () => {
  it('keeps both ends, whole characters, and as many columns as there are', () => {
    expect(fitMiddle('report-of-may.pdf', 11)).toBe('repor…y.pdf');
    expect(fitMiddle('report', 6)).toBe('report');
    expect(fitMiddle('日本語のファイル', 9)).toBe('日本…イル');
    expect(fitMiddle('reports', 1)).toBe('…');
    expect(fitMiddle('reports', 0)).toBe('');
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.integer({ min: 0, max: 40 }),
        (text, columns) => {
          const fitted = fitMiddle(text, columns);
          expect(widthOf(fitted)).toBeLessThanOrEqual(columns);
          const whole = printable(text);
          expect(fitted === whole).toBe(widthOf(whole) <= columns);
        },
      ),
      { seed: 7 },
    );
  });
});

describe('progressLine', () => {
  const state = { title: 'x', elapsedMs: 1000, remark: undefined, columns: 120 };

  it('shows the share and the speed', () => {
    const line = progressLine({ ...state, totalBytes: 4096, doneBytes: 1024 });
    expect(line).toContain('25 %');
    expect(line).toContain('1.0 KiB/s');
  });

  it('never passes 100 %, and an empty file is done at once', () => {
    expect(progressLine({ ...state, totalBytes: 10, doneBytes: 11 })).toContain('100 %');
    expect(progressLine({ ...state, totalBytes: 0, doneBytes: 0 })).toContain('100 %');
  });

  it('says how much there is in all, and how long it takes', () => {
    const line = progressLine({ ...state, elapsedMs: 10_000, totalBytes: 4096, doneBytes: 1024 });
    expect(line).toContain('1.0 KiB of 4.0 KiB');
    expect(line).toContain('30 s left');
    const waiting = { ...state, elapsedMs: 10_000, remark: 'waiting for copies' };
    expect(progressLine({ ...waiting, totalBytes: 9, doneBytes: 9 })).not.toContain('left');
    expect(progressLine({ ...state, totalBytes: 9, doneBytes: 1 })).not.toContain('left'); // too early
  });

  it('fits any terminal, whatever the name, and says the share as long as that fits', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 100 }),
        fc.integer({ min: 1, max: 200 }),
        fc.option(fc.nat(2 ** 40), { nil: undefined }),
        fc.nat(2 ** 40),
        fc.nat(10_000_000),
        fc.option(fc.constant('waiting for copies'), { nil: undefined }),
        (title, columns, totalBytes, doneBytes, elapsedMs, remark) => {
          const line = progressLine({
            title,
            columns,
            totalBytes,
            doneBytes,
            elapsedMs,
            remark,
          });
          expect(widthOf(line)).toBeLessThanOrEqual(columns);
          const hasShare = totalBytes !== undefined && columns >= 6;
          expect(hasShare ? line : '0 %').toMatch(/\d %/);
        },
      ),
      { seed: 20261129 },
    );
  });

  it('counts columns as a terminal does', () => {
    expect(fit('日本語のファイル', 7)).toBe('日本語…');
    expect(fit('a\u001b[2K', 20)).toBe('a\\u001b[2K');
    expect(fit('report', 6)).toBe('report');
    expect(fit('reports', 6)).toBe('repor…');
  });
});
