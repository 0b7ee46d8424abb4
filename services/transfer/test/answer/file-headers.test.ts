import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { contentDisposition, contentType } from '../../src/answer/file-headers.ts';

describe('contentDisposition', () => {
  it('keeps a plain name plain', () => {
    expect(contentDisposition('inline', 'a b.txt')).toBe('inline; filename="a b.txt"');
  });

  it('carries the true name in UTF-8 beside an ASCII copy', () => {
    expect(contentDisposition('attachment', 'naïve "größe".txt')).toBe(
      `attachment; filename="na_ve _gr__e_.txt"; filename*=UTF-8''na%C3%AFve%20%22gr%C3%B6%C3%9Fe%22.txt`,
    );
  });

  it('is a header that HTTP can carry, and gives the name back, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (name) => {
        const header = contentDisposition('inline', name);
        expect(header).toMatch(/^[\x20-\x7e]*$/);
        const encoded = /filename\*=UTF-8''(.*)$/.exec(header)?.[1];
        const plain = /filename="(.*)"$/.exec(header)?.[1];
        expect(encoded === undefined ? plain : decodeURIComponent(encoded)).toBe(name);
      }),
      { seed: 20261122 },
    );
  });
});

describe('contentType', () => {
  it('goes by the extension alone, and says bytes when in doubt', () => {
    expect(contentType('film.MP4')).toBe('video/mp4');
    expect(contentType('notes.txt')).toBe('text/plain; charset=utf-8');
    expect(contentType('.bashrc')).toBe('application/octet-stream');
    expect(contentType('a.constructor')).toBe('application/octet-stream');
    expect(contentType('html')).toBe('application/octet-stream');
  });

  it.each([
    ['report.docx', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
    ['font.woff2', 'font/woff2'],
    ['compose.yaml', 'text/yaml; charset=utf-8'],
    ['notes.md', 'text/markdown; charset=utf-8'],
    ['page.html', 'text/html; charset=utf-8'],
    ['data.json', 'application/json'],
    ['image.svg', 'image/svg+xml'],
    ['blocks.car', 'application/vnd.ipld.car'],
    ['song.flac', 'audio/flac'],
    ['logs.zst', 'application/zstd'],
  ])('knows %s', (name, type) => {
    expect(contentType(name)).toBe(type);
  });

  it.each(['main.ts', 'main.rs', 'index.mts'])('takes %s for no video and no feed', (name) => {
    expect(contentType(name)).toBe('application/octet-stream');
  });
});
