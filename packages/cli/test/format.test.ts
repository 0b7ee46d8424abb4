import { describe, expect, it } from '@jest/globals';
import { formatAge, formatBytes, formatTable } from '../src/format.ts';
import { progressLine } from '../src/progress.ts';

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

describe('progressLine', () => {
  const state = { title: 'x', elapsedMs: 1000, remark: undefined };

  it('shows the share and the speed', () => {
    const line = progressLine({ ...state, totalBytes: 4096, doneBytes: 1024 });
    expect(line).toContain('25 %');
    expect(line).toContain('1.0 KiB/s');
  });

  it('never passes 100 %, and an empty file is done at once', () => {
    expect(progressLine({ ...state, totalBytes: 10, doneBytes: 11 })).toContain('100 %');
    expect(progressLine({ ...state, totalBytes: 0, doneBytes: 0 })).toContain('100 %');
  });
});
