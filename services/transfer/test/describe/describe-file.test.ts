import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { type DagEntry, hashBlock } from '@shoal/blocks';
import { type DagKind, DescriptionImpossible, MiB } from '@shoal/protocol';
import {
  createGetMetalink,
  createGetTorrent,
  piecesInCids,
} from '../../src/describe/describe-file.ts';
import { paperView, pinOf } from '../paper.ts';

const leaf = (text: string, sizeBytes: number, offset: number): DagEntry => ({
  cid: hashBlock('raw', Buffer.from(text)),
  kind: 'leaf',
  sizeBytes,
  offset,
});
const node: DagEntry = {
  cid: hashBlock('dag-pb', Buffer.from('node')),
  kind: 'node',
  sizeBytes: 0,
  offset: 0,
};
const sha256 = (text: string) => createHash('sha256').update(text).digest();

describe('piecesInCids', () => {
  it('reads the digests off the CIDs of a file that is cut as its pieces are', () => {
    const entries = [node, leaf('one', MiB, 0), leaf('two', MiB, MiB), leaf('three', 7, 2 * MiB)];
    expect(piecesInCids({ sizeBytes: 2 * MiB + 7 }, entries)).toEqual(
      Uint8Array.from(Buffer.concat([sha256('one'), sha256('two'), sha256('three')])),
    );
    expect(piecesInCids({ sizeBytes: 7 }, [leaf('lone', 7, 0)])).toEqual(
      Uint8Array.from(sha256('lone')),
    );
  });

  it.each<[string, number, DagEntry[]]>([
    ['shorter chunks', MiB, [leaf('a', MiB / 2, 0), leaf('b', MiB / 2, MiB / 2)]],
    ['longer chunks', 2 * MiB, [leaf('a', 2 * MiB, 0)]],
    ['wrapped leaves', 7, [{ ...node, kind: 'leaf', sizeBytes: 7 }]],
    ['bytes in a node', MiB + 7, [{ ...node, sizeBytes: 7 }, leaf('a', MiB, 7)]],
    ['a part that stands in a link', MiB + 7, [node, leaf('a', MiB, 0)]],
    ['a first part that does', MiB + 7, [node, leaf('a', MiB, 7)]],
  ])('finds none in %s', (_, sizeBytes, entries) => {
    expect(piecesInCids({ sizeBytes }, entries)).toBeUndefined();
  });
});

describe('a description', () => {
  it.each<[DagKind, string]>([
    ['directory', 'it is a directory'],
    ['dag', 'it is a dag'],
  ])('is refused for a %s, before anything of it is read', async (kind, reason) => {
    const pin = pinOf(hashBlock('dag-pb', Buffer.from(kind)), { kind });
    const unread = () => {
      throw new Error('nothing is to be read');
    };
    const deps = {
      pins: { find: async () => pin },
      view: paperView([{}]).view,
      hashPieces: unread,
      manifests: { list: unread },
      listed: { open: unread },
    };
    // The parts of a call that are looked at before the refusal.
    const call = {
      params: { hash: pin.root },
      request: { method: 'GET', token: undefined },
      signal: new AbortController().signal,
    } as unknown as Parameters<ReturnType<typeof createGetTorrent>>[0];
    for (const handle of [createGetTorrent(deps), createGetMetalink(deps)]) {
      const refused = await handle(call).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(DescriptionImpossible);
      expect(String(refused)).toContain(reason);
    }
  });
});
