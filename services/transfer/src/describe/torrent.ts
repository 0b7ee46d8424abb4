/**
 * A file as a BitTorrent v1 metainfo file (BEP 3) whose only sources are web seeds (BEP 19): peers
 * that serve it over HTTP. There is no tracker: nobody here speaks the BitTorrent protocol.
 *
 * The infohash is the sha-1 of `info`, so `info` holds the four keys that a single file needs and
 * nothing else: any program that makes a torrent of the same bytes under the same name in pieces of 1 MiB
 * gets the same one. Fields that change with time and from peer to peer are outside of it.
 */
import { bencode } from './bencode.ts';

/** Media type of a metainfo file. */
export const TORRENT_TYPE = 'application/x-bittorrent';

/** A metainfo file. */
export function torrentOf({
  name,
  sizeBytes,
  pieceSizeBytes,
  sha1s,
  createdAtMs,
  urls,
}: {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pieceSizeBytes: number;
  /** The sha-1 of each piece, 20 bytes each, one after the other. */
  readonly sha1s: Uint8Array;
  readonly createdAtMs: number;
  /** Where the file is served; none ends in `/`, so clients take each as it is (BEP 19). */
  readonly urls: readonly string[];
}): Buffer {
  return bencode({
    'created by': 'Shoal',
    'creation date': Math.floor(createdAtMs / 1000),
    info: { length: sizeBytes, name, 'piece length': pieceSizeBytes, pieces: sha1s },
    'url-list': urls,
  });
}
