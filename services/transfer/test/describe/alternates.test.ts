import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { MiB } from '@shoal/protocol';
import {
  fileUrls,
  linkHeader,
  TORRENT_PIECES_MAX,
  whyNoTorrent,
} from '../../src/describe/alternates.ts';
import { paperView } from '../paper.ts';

const root = hashBlock('dag-pb', Buffer.from('a file'));
const pin = { root, sizeBytes: 5 * MiB };
const urlAt = (index: number) => `http://peer-${index}/files/${root}`;

describe('fileUrls', () => {
  it('names every peer that is up and stays, the one that was asked first', () => {
    const { view } = paperView([
      {},
      {},
      { state: 'suspect' },
      { state: 'down' },
      { state: 'out' },
      { draining: true },
      {},
    ]);
    const urls = fileUrls(pin, view);
    expect(urls[0]).toBe(urlAt(0));
    expect(urls.toSorted()).toEqual([urlAt(0), urlAt(1), urlAt(6)]);
  });

  it('names the peer that was asked also when it drains: it serves as long as it is asked', () => {
    const { view } = paperView([{ draining: true }, {}]);
    expect(fileUrls(pin, view)).toEqual([urlAt(0), urlAt(1)]);
  });

  it('orders the others by the file, so that the first is not the same peer for all', () => {
    const { view } = paperView(Array.from({ length: 9 }, () => ({})));
    const seconds = Array.from({ length: 60 }, (_, index) => {
      const other = hashBlock('raw', Buffer.from(`file ${index}`));
      return fileUrls({ root: other }, view)[1]?.split('/')[2];
    });
    expect(new Set(seconds).size).toBeGreaterThan(4);
    expect(fileUrls(pin, view)).toEqual(fileUrls(pin, view));
  });

  it('has a bound in a large swarm', () => {
    const { view } = paperView(Array.from({ length: 100 }, () => ({})));
    expect(fileUrls(pin, view)).toHaveLength(16);
  });
});

describe('linkHeader', () => {
  it('names what describes the file, and a few other peers that have it', () => {
    const { view } = paperView(Array.from({ length: 30 }, () => ({})));
    const links = linkHeader(pin, view, { url: `/files/${root}?download=1` }).split(', ');
    expect(links.slice(0, 3)).toEqual([
      `<../ipfs/${root}>; rel="canonical"`,
      `<../files/${root}.meta4>; rel="describedby"; type="application/metalink4+xml"`,
      `<../files/${root}.torrent>; rel="describedby"; type="application/x-bittorrent"`,
    ]);
    const duplicates = links.slice(3);
    expect(duplicates).toHaveLength(3);
    for (const link of duplicates) expect(link).toMatch(/^<http:\/\/[^>]+>; rel="duplicate"$/);
    expect(duplicates.join(' ')).not.toContain(`${urlAt(0)}>`);
  });

  it('offers no torrent that would be refused', () => {
    const { view } = paperView([{}]);
    expect(linkHeader({ root, sizeBytes: 0 }, view, { url: '/ipfs/x/y' })).not.toContain(
      '.torrent',
    );
    expect(linkHeader({ root, sizeBytes: 0 }, view, { url: '/ipfs/x/y' })).toContain('.meta4');
  });
});

describe('whyNoTorrent', () => {
  it('refuses a file without a piece, and one with too many', () => {
    const sizeMaxBytes = TORRENT_PIECES_MAX * MiB;
    expect(whyNoTorrent({ sizeBytes: 0 })).toContain('empty');
    expect(whyNoTorrent({ sizeBytes: 1 })).toBeUndefined();
    expect(whyNoTorrent({ sizeBytes: sizeMaxBytes })).toBeUndefined();
    expect(whyNoTorrent({ sizeBytes: sizeMaxBytes + 1 })).toContain('more than');
  });
});
