import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { torrentOf } from '../../src/describe/torrent.ts';

const MiB = 1024 * 1024;
const sha1 = (bytes: Uint8Array | string) => createHash('sha1').update(bytes).digest();

describe('torrentOf', () => {
  const bytes = Buffer.alloc(MiB + 3, 'shoal');
  const facts = {
    name: 'größe.bin',
    sizeBytes: bytes.length,
    pieceSizeBytes: MiB,
    sha1s: Buffer.concat([sha1(bytes.subarray(0, MiB)), sha1(bytes.subarray(MiB))]),
    createdAtMs: 1_700_000_000_999,
    urls: ['http://127.0.0.1:7100/files/bafy', 'http://127.0.0.1:7110/files/bafy'],
  };

  it('is the metainfo file that BEP 3 and BEP 19 describe, byte for byte', () => {
    // Written by hand: sorted keys, lengths in bytes, a list of web seeds, no tracker.
    const expected = Buffer.concat([
      Buffer.from('d10:created by5:Shoal13:creation datei1700000000e4:infod'),
      Buffer.from(`6:lengthi${MiB + 3}e4:name11:größe.bin12:piece lengthi${MiB}e6:pieces40:`),
      sha1(bytes.subarray(0, MiB)),
      sha1(bytes.subarray(MiB)),
      Buffer.from('e8:url-listl32:http://127.0.0.1:7100/files/bafy'),
      Buffer.from('32:http://127.0.0.1:7110/files/bafyee'),
    ]);
    expect(torrentOf(facts)).toEqual(expected);
  });

  it('has an infohash of name, size and bytes alone', () => {
    const infohash = (torrent: Buffer) => {
      const start = torrent.indexOf('4:infod') + '4:info'.length;
      return sha1(torrent.subarray(start, torrent.indexOf('8:url-list'))).toString('hex');
    };
    const first = infohash(torrentOf(facts));
    expect(infohash(torrentOf({ ...facts, urls: [], createdAtMs: 0 }))).toBe(first);
    expect(infohash(torrentOf({ ...facts, name: 'other.bin' }))).not.toBe(first);
    expect(infohash(torrentOf({ ...facts, sizeBytes: MiB + 4 }))).not.toBe(first);
    const info = `d6:lengthi${MiB + 3}e4:name11:größe.bin12:piece lengthi${MiB}e6:pieces40:`;
    expect(first).toBe(
      sha1(Buffer.concat([Buffer.from(info), facts.sha1s, Buffer.from('e')])).toString('hex'),
    );
  });
});
