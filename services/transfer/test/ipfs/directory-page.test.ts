import { describe, expect, it } from '@jest/globals';
import { fileNameFault } from '@shoal/protocol';
import fc from 'fast-check';
import { pageHead, pageRow } from '../../src/ipfs/directory-page.ts';

const path = { prefix: '', root: 'bafyroot', segments: ['a b', 'ü'] };
const entry = { name: 'file.txt', cid: 'bafkreiabcdef', treeSizeBytes: 1536, isDirectory: false };

describe('the page of a directory', () => {
  it('links each step of the path, and the directory above, but not from the root', () => {
    const html = pageHead(path);
    expect(html).toContain(
      '<a href="/ipfs/bafyroot/a%20b">a b</a>/<a href="/ipfs/bafyroot/a%20b/%C3%BC">ü</a>',
    );
    expect(html).toContain('<a href="/ipfs/bafyroot/a%20b/%C3%BC/..">..</a>');
    expect(pageHead({ ...path, segments: [] })).not.toContain('>..<');
  });

  it('links entries below its own address, directories with a final slash', () => {
    expect(pageRow(path, entry)).toContain(
      '<a href="/ipfs/bafyroot/a%20b/%C3%BC/file.txt">file.txt</a>',
    );
    expect(pageRow(path, entry)).toContain('<td>1.50 KiB</td>');
    const folder = { ...entry, name: 'sub', isDirectory: true };
    expect(pageRow(path, folder)).toContain('href="/ipfs/bafyroot/a%20b/%C3%BC/sub/"');
  });

  it('has all its links below the path of a proxy', () => {
    const below = { ...path, prefix: '/shoal' };
    const html = pageHead(below) + pageRow(below, entry);
    const addresses = [...html.matchAll(/href="([^"]*)"/g)].map(([, address]) => address);
    expect(addresses).toHaveLength(6);
    for (const address of addresses) expect(address).toMatch(/^\/shoal\/ipfs\//);
  });

  it('names what is saved, also when the name is long in percent-encoding', () => {
    expect(pageRow(path, { ...entry, name: 'ü' })).toContain('?filename=%25C3%25BC"');
    const long = '漢'.repeat(80);
    expect(pageRow(path, { ...entry, name: long })).toContain(
      `?filename=${encodeURIComponent(long)}"`,
    );
    expect(pageRow(path, { ...entry, name: `${long}\n` })).toContain('/ipfs/bafkreiabcdef"');
  });

  it('has no link for names that every client takes for a step', () => {
    for (const name of ['.', '..', ''])
      expect(pageRow(path, { ...entry, name })).toContain(`<td>${name}</td>`);
  });

  it('shows any name as text, and no name leaves its directory', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        const isStep = ['', '.', '..'].includes(name); // no client asks for a page by these
        const segments = isStep ? [] : [name];
        const html = pageRow(path, { ...entry, name }) + pageHead({ ...path, segments });
        const tags = html.replaceAll(/<\/?[a-z!][^<>]*>/gi, '');
        expect(tags).not.toMatch(/[<>]/);
        for (const [, address = ''] of html.matchAll(/href="([^"]*)"/g)) {
          const target = new URL(address, 'http://peer');
          expect(target.origin).toBe('http://peer');
          expect(target.pathname).toMatch(/^\/ipfs\/(bafyroot|bafkreiabcdef)/);
          // What a gateway takes.
          expect(target.searchParams.getAll('filename').filter(fileNameFault)).toEqual([]);
        }
      }),
      { seed: 20261122 },
    );
  });
});
