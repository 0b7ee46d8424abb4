import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { Sha256 } from '@shoal/protocol';
import fc from 'fast-check';
import { escapeXml, metalinkOf } from '../../src/describe/metalink.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest();

describe('metalinkOf', () => {
  const facts = {
    name: `a "b" <c> & 'd'.bin`,
    sizeBytes: 5,
    sha256: Sha256.parse(sha256('whole').toString('hex')),
    pieces: { sizeBytes: 3, sha256s: Buffer.concat([sha256('one'), sha256('two')]) },
    createdAtMs: 1_700_000_000_000,
    urls: ['http://a/files/x', 'http://b/files/x?y&z'],
  };

  it('is the document that RFC 5854 describes', () => {
    expect(metalinkOf(facts).toString()).toBe(
      `<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <generator>Shoal</generator>
  <published>2023-11-14T22:13:20.000Z</published>
  <file name="a &quot;b&quot; &lt;c&gt; &amp; 'd'.bin">
    <size>5</size>
    <hash type="sha-256">${sha256('whole').toString('hex')}</hash>
    <pieces length="3" type="sha-256">
      <hash>${sha256('one').toString('hex')}</hash>
      <hash>${sha256('two').toString('hex')}</hash>
    </pieces>
    <url priority="1">http://a/files/x</url>
    <url priority="2">http://b/files/x?y&amp;z</url>
  </file>
</metalink>
`,
    );
  });

  it('leaves out what is not known', () => {
    const text = metalinkOf({ ...facts, sha256: undefined, pieces: undefined }).toString();
    expect(text).not.toContain('hash');
    expect(text).not.toContain('pieces');
  });
});

describe('escapeXml', () => {
  it('replaces what XML can’t hold', () => {
    expect(escapeXml('a\u0000b\u001fc\ufffed\uffffe\ud800f')).toBe('a_b_c_d_e\ufffdf');
    expect(escapeXml('größe 写真 \u{1f600}')).toBe('größe 写真 \u{1f600}');
  });

  it('leaves no character that ends an attribute or begins markup, whatever the name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const text = escapeXml(name);
        expect(text).not.toMatch(/[<>"]|&(?!(?:amp|lt|gt|quot);)/);
        // eslint-disable-next-line no-control-regex
        expect(text).not.toMatch(/[\u0000-\u001f\ufffe\uffff]/);
        expect(text.isWellFormed()).toBe(true);
      }),
      { seed: 20261122, numRuns: 500 },
    );
  });
});
