import { describe, expect, it } from '@jest/globals';
import { createFormCheck } from '../src/request/form-check.ts';

const B = 'a-boundary';
const TYPE = `multipart/form-data; boundary=${B}`;
const LIMITS = { headersMax: 8, headersMaxBytes: 1000 };
const FILE = 'Content-Disposition: form-data; name="file"; filename="x"';

const part = (body: string, headers = FILE) => `--${B}\r\n${headers}\r\n\r\n${body}\r\n`;

/** What is said of a form that comes in pieces of this size, and how many parts it has. */
function check(text: string, sizeBytes: number) {
  const form = createFormCheck(TYPE, LIMITS);
  const bytes = Buffer.from(text);
  const faults: string[] = [];
  for (let at = 0; at < bytes.length; at += sizeBytes) {
    const fault = form.push(bytes.subarray(at, at + sizeBytes));
    if (fault !== undefined) faults.push(fault);
  }
  return { faults, parts: form.parts };
}

describe('a check of a form', () => {
  it.each([1, 2, 3, 11, 64, 4096])('counts its parts, come in pieces of %d', (size) => {
    const tricky = `\r\n--a-boundar\r\n--\r\n\r\n--${B.slice(0, -1)}\r\r\n-`;
    const text = `${part(tricky)}${part('')}${part('z'.repeat(500))}--${B}--\r\n`;
    expect(check(text, size)).toEqual({ faults: [], parts: 3 });
    expect(check(`text\r\n${text}and more`, size)).toEqual({ faults: [], parts: 3 });
  });

  it.each([
    ['part 2: it ends within its headers', `--${B}\r\n${FILE}\r\n\r\n`],
    ['part 2: it ends within its headers', `--${B}\r\n${FILE}\r\n`],
    ['part 2: it has no Content-Disposition', part('', 'X: y')],
    ['part 2: its Content-Disposition is not form-data', part('', 'Content-Disposition: x')],
    ['part 2: it has no headers, so nothing says what it is', `--${B}\r\n\r\nhello\r\n`],
    ['part 2: its Content-Disposition says "name" twice', part('', `${FILE}; name=b`)],
    ['part 2: one of its headers is not one', part('', 'oops')],
    [
      'part 2: a header has a line break in it; in names, it is percent-encoded',
      part('', FILE.replace('"x"', '"Icon\r"')),
    ],
    ["part 2: its Content-Disposition can't be read", part('', `${FILE}; "b`)],
    ['part 2: it has more than 8 headers', part('', `${'X: y\r\n'.repeat(8)}${FILE}`)],
    ['part 2: its headers are longer than 1000 bytes', part('', `X: ${'y'.repeat(2000)}`)],
    ['part 2: its boundary goes on', part('').replace(B, `${B}1`)],
    ['it goes on behind its last boundary', `--${B}--\r\n${part('')}`],
  ])('says "%s", in pieces of any size', (fault, second) => {
    const text = `${part('one')}${second}${part('three')}--${B}--\r\n`;
    for (const size of [1, 2, 5, 17, 4096]) expect(check(text, size).faults).toEqual([fault]);
  });

  it.each([
    ['raw bytes', 'Content-Disposition: form-data; name="file"; filename="\xff\xfe"', true],
    ['a lone half of a character', FILE.replace('"x"', '"\xe2\x82"'), true],
    ['an encoded byte', `${FILE}; filename*=UTF-8''%ff.txt`, true],
    ['a header beside it', `${FILE.replace('; filename="x"', '')}\r\nX-A: \xff`, false],
  ])('says that a name is not UTF-8: %s', (_, headers, isNameFault) => {
    for (const size of [1, 7, 4096]) {
      const form = createFormCheck(TYPE, LIMITS);
      const bytes = Buffer.from(`${part('x', headers)}--${B}--\r\n`, 'latin1');
      const faults: (string | undefined)[] = [];
      for (let at = 0; at < bytes.length; at += size)
        faults.push(form.push(bytes.subarray(at, at + size)));
      expect(faults.filter(Boolean)).toEqual([
        expect.stringMatching(/^part 1: .*not valid UTF-8$/),
      ]);
      expect(form.isNameFault).toBe(isNameFault);
    }
  });

  it('takes names of any characters', () => {
    const names = ['grün', '\ufffd', '\ufeffx', '語'].map((name) =>
      FILE.replace('"x"', `"${name}"`),
    );
    names.push(`${FILE}; filename*=UTF-8''%e2%82%ac`);
    for (const headers of names)
      expect(check(`${part('', headers)}--${B}--`, 3)).toEqual({ faults: [], parts: 1 });
  });

  it('takes a first boundary only at the start of a line', () => {
    expect(check(`x${part('')}${part('')}--${B}--`, 7).faults).toEqual([
      'its first boundary is not at the start of a line',
    ]);
    expect(check('x'.repeat(5000), 7).faults).toEqual(['it does not begin with its boundary']);
  });
});
