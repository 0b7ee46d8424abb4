/**
 * Bytes of a pinned file: its blocks are listed, and asked of those whose have-maps name them, which
 * takes one question for the whole file.
 */
import { codecOf, type DagEntry, readUnixfs, reassemble, slicesOf } from '@shoal/blocks';
import { ManifestInvalid, type Pin } from '@shoal/protocol';
import type { BlockReader, ReadOptions } from '../fetch/block-reader.ts';
import type { BlockSource, DagSource } from '../fetch/listed-blocks.ts';
import { type ByteRange, inPieces, type Flow, type Pieces } from './pieces.ts';
import { openLooseFile } from './loose-file.ts';
import type { Manifests } from './manifests.ts';

/** Reads of a pinned file look for no block that others could: they need no share. */
const PINNED = 'pinned';

export interface PinnedFileDeps {
  readonly source: BlockSource;
  readonly manifests: Manifests;
  readonly readerFor: (options: ReadOptions) => BlockReader;
}

/**
 * The bytes of a range. The list of blocks is read before this resolves: a file without its manifest
 * is still a clean error.
 * @throws BlockUnavailable, ManifestInvalid
 */
export async function openPinnedFile(
  pin: Pin,
  range: ByteRange,
  deps: PinnedFileDeps,
  flow: Flow,
  { signal }: { signal: AbortSignal },
): Promise<Pieces> {
  const watching = new AbortController();
  const reader = deps.readerFor({
    signal,
    client: PINNED, // what a pin promises is read by its have-maps
    isLocalOnly: false,
    isPinned: true,
  });
  const dag = deps.source.open(pin.root, { signal: AbortSignal.any([signal, watching.signal]) });
  try {
    const entries = await deps.manifests.list(pin, dag, {
      signal,
      recall: (cid) => reader.recall(cid),
    });
    const listedBytes = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (listedBytes === pin.sizeBytes)
      return inPieces(fetchListed(entries, range, dag, flow, { signal }), () => watching.abort());
  } catch (error) {
    watching.abort();
    throw error;
  }
  watching.abort();
  // Bytes that stand in links are in no list. Or the pin is wrong: it is signed by a member, the DAG
  // is named by its hash, so the DAG is right.
  const node = readUnixfs(pin.root, (await reader.getNode(pin.root)) ?? new Uint8Array());
  if (node.fileSizeBytes !== pin.sizeBytes)
    throw new ManifestInvalid({
      cid: pin.root,
      reason: `its pin says ${pin.sizeBytes} bytes, its blocks have ${node.fileSizeBytes}`,
    });
  return openLooseFile({ cid: pin.root }, range, reader, flow, { signal });
}

function fetchListed(
  entries: readonly DagEntry[],
  range: ByteRange,
  dag: DagSource,
  flow: Flow,
  { signal }: { signal: AbortSignal },
) {
  return reassemble(
    slicesOf(entries, range),
    {
      windowBlocks: flow.windowBlocks,
      fetchBlock: ({ entry: { cid, sizeBytes }, index }, options) => {
        // What a dag-pb block has on the wire is more than its file bytes.
        const wireBytes = codecOf(cid) === 'raw' ? sizeBytes : undefined;
        return flow.timed(() => dag.fetch({ cid, index, sizeBytes: wireBytes }, options));
      },
      discard: ({ release }) => release(),
    },
    { signal },
  );
}
