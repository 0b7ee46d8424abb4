import { describe, expect, it } from '@jest/globals';
import { boundaryOf, type FormPart, readForm } from '../src/kubo/rpc/read-form.ts';
import { RpcError } from '../src/kubo/rpc/rpc-error.ts';

const B = 'a-boundary';

/** The bytes in pieces of one size, as a socket may give them. */
async function* inPieces(bytes: Uint8Array, sizeBytes: number) {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

function form(...parts: { head: string; body: Uint8Array | string }[]): Buffer {
  const pieces = parts.flatMap(({ head, body }) => [
    Buffer.from(`--${B}\r\n${head}\r\n\r\n`),
    Buffer.from(body),
    Buffer.from('\r\n'),
  ]);
  return Buffer.concat([...pieces, Buffer.from(`--${B}--\r\n`)]);
}

const headOf = (fileName: string, type = 'application/octet-stream') =>
  `Content-Disposition: form-data; name="file"; filename="${fileName}"\r\nContent-Type: ${type}`;

async function readAll(bytes: Uint8Array, sizeBytes = 7) {
  const parts: (Omit<FormPart, 'body'> & { bytes: Buffer })[] = [];
  for await (const { body, ...part } of readForm(inPieces(bytes, sizeBytes), B)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    parts.push({ ...part, bytes: Buffer.concat(pieces) });
  }
  return parts;
}

describe('a form', () => {
  it.each([1, 2, 3, 13, 64, 4096])('is cut into its parts, come in pieces of %d', async (size) => {
    const tricky = Buffer.from(`\r\n--a-boundar\r\n--\r\n\r\n--${B.slice(0, -1)}\r\r\n-`);
    const noise = Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 31) % 256));
    const bytes = form(
      { head: headOf('a%2Fb.txt'), body: tricky },
      { head: headOf('empty', 'application/x-directory'), body: '' },
      { head: headOf('noise'), body: noise },
    );
    const parts = await readAll(bytes, size);
    expect(parts.map(({ fileName }) => fileName)).toEqual(['a%2Fb.txt', 'empty', 'noise']);
    expect(parts.map(({ contentType }) => contentType)[1]).toBe('application/x-directory');
    expect(parts.map((part) => part.bytes)).toEqual([tricky, Buffer.alloc(0), noise]);
  });

  it('reads names with quotes, without any, and beside other headers', async () => {
    const [quoted, bare, none] = await readAll(
      form(
        {
          head: `X-Other: 1\r\ncontent-disposition: form-data; name="x"; filename="a\\"b"`,
          body: 'x',
        },
        { head: 'Content-Disposition: form-data; name=file-1?mode=0644; filename=c', body: 'y' },
        { head: 'Content-Type: Text/Plain; charset=utf-8', body: 'z' },
      ),
    );
    expect(quoted?.fileName).toBe('a"b');
    expect([bare?.name, bare?.fileName]).toEqual(['file-1?mode=0644', 'c']);
    expect([none?.fileName, none?.contentType]).toEqual(['', 'text/plain']);
  });

  it('gives the next part also when the last one was not read, or only begun', async () => {
    const bytes = form(
      { head: headOf('one'), body: 'x'.repeat(500) },
      { head: headOf('two'), body: 'y'.repeat(500) },
      { head: headOf('three'), body: 'z' },
    );
    const names: string[] = [];
    for await (const { fileName, body } of readForm(inPieces(bytes, 10), B)) {
      names.push(fileName);
      if (fileName === 'two') for await (const _ of body) break;
    }
    expect(names).toEqual(['one', 'two', 'three']);
  });

  it('may have no part at all, and text behind its end', async () => {
    expect(await readAll(Buffer.from(`--${B}--\r\nand an epilogue`))).toEqual([]);
  });

  it.each([1, 5, 4096])('has empty parts, come in pieces of %d', async (size) => {
    const bare = Buffer.from(`--${B}\r\n${headOf('a')}\r\n\r\n--${B}\r\n${headOf('b')}\r\n\r\n`);
    const parts = await readAll(Buffer.concat([bare, Buffer.from(`\r\n--${B}--`)]), size);
    expect(parts.map(({ fileName, bytes }) => [fileName, bytes.length])).toEqual([
      ['a', 0],
      ['b', 0],
    ]);
  });

  it.each([
    ['another part behind its end', `--${B}--\r\n--${B}\r\n${headOf('b')}\r\n\r\nx\r\n--${B}--`],
    [
      'a boundary that is not at the start of a line',
      ` --${B}\r\n${headOf('b')}\r\n\r\nx\r\n--${B}--`,
    ],
    [
      'a part that ends within its headers',
      `--${B}\r\nX: y\r\n--${B}\r\n${headOf('b')}\r\n\r\nx\r\n--${B}--`,
    ],
    ['a line that is no header', `--${B}\r\noops\r\n${headOf('b')}\r\n\r\nx\r\n--${B}--`],
    ['a bare CR in a name', `--${B}\r\n${headOf('Icon\r')}\r\n\r\nx\r\n--${B}--`],
  ])('with %s is refused, however it comes', async (_, text) => {
    for (const size of [1, 7, 4096])
      await expect(readAll(Buffer.from(text), size)).rejects.toThrow(/the form can't be read/);
  });

  it('that is cut off anywhere before its last boundary is refused', async () => {
    const bytes = form({ head: headOf('a'), body: 'hello' });
    const last = bytes.length - '--\r\n'.length;
    for (let end = 0; end <= last; end += 1)
      await expect(readAll(bytes.subarray(0, end))).rejects.toThrow(
        /ends without its last boundary/,
      );
    expect(await readAll(bytes.subarray(0, last + 2))).toHaveLength(1);
  });

  it.each([
    ['text before its boundary', Buffer.from('x'.repeat(5000))],
    ['a boundary that goes on', Buffer.from(`--${B}goes-on\r\n\r\n\r\n--${B}--`)],
    ['headers without end', Buffer.from(`--${B}\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)],
  ])('with %s is refused', async (_, bytes) => {
    await expect(readAll(bytes, 1000)).rejects.toBeInstanceOf(RpcError);
  });
});

describe('the boundary', () => {
  it('is read from the content type, with quotes or without', () => {
    expect(boundaryOf('multipart/form-data; boundary=abc')).toBe('abc');
    expect(boundaryOf('Multipart/Form-Data; charset=utf-8; boundary="a b"')).toBe('a b');
    expect(boundaryOf('multipart/form-data; boundary=-----------------------------Xy_-1')).toMatch(
      /^-+Xy/,
    );
  });

  it.each([
    undefined,
    'application/json',
    'multipart/form-data',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
  ])('is missed in %s', (type) => {
    expect(() => boundaryOf(type)).toThrow(/must be a form/);
  });
});
