/**
 * Bytes of a pinned file: its blocks are listed, and asked of those whose have-maps name them, which
 * takes one question for the whole file.
 */
import { codecOf, type DagEntry, readUnixfs, slicesOf } from '@shoal/blocks';
import { ManifestInvalid, type Pin } from '@shoal/protocol';
import type { AnyBlocks } from '../fetch/any-blocks.ts';
import type { ListedBlocks, ListedDag } from '../fetch/listed-blocks.ts';
import { openLooseFile } from './loose-file.ts';
import type { Manifests } from './manifests.ts';
import { type ByteRange, fetchAhead, type Flow, inPieces, type Pieces } from './pieces.ts';

/** Reads of a pinned file look for no block that others could: they need no share. */
const PINNED = 'pinned';

export interface PinnedFileDeps {
  readonly listed: ListedBlocks;
  readonly any: Pick<AnyBlocks, 'open'>;
  readonly manifests: Manifests;
}

/**
 * The bytes of a range. The list of blocks is read before this resolves: a file without its manifest
 * is still a clean error.
 * @throws BlockUnavailable, ManifestInvalid
 */
export async function openPinnedFile(
  pin: Pin,
  range: ByteRange,
  { listed, any, manifests }: PinnedFileDeps,
  flow: Flow,
  { signal }: { signal: AbortSignal },
): Promise<Pieces> {
  const reader = any.open({ signal, client: PINNED, isLocalOnly: false, isPinned: true });
  using opened = new DisposableStack(); // closes the DAG, unless its bytes are given to the caller
  const { root, replicas } = pin;
  // Of one block placement tells who has it.
  const dag = opened.use(listed.open(root, { signal, replicas, asksAtOnce: pin.blocks > 1 }));
  const entries = await manifests.list(pin, dag, {
    signal,
    recall: (cid) => reader.recall(cid),
  });
  const listedBytes = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (listedBytes === pin.sizeBytes) {
    const open = opened.move();
    return inPieces(fetchListed(entries, range, dag, flow, { signal }), () => open.dispose());
  }
  // Bytes that are inlined in links are in no list; else the pin is wrong. A member signed the pin, but
  // the DAG is named by its hash, so the DAG is right.
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
  dag: ListedDag,
  flow: Flow,
  { signal }: { signal: AbortSignal },
) {
  return fetchAhead(
    slicesOf(entries, range),
    ({ entry: { cid, sizeBytes }, index }, options) => {
      // A dag-pb block on the wire is larger than its file bytes.
      const wireBytes = codecOf(cid) === 'raw' ? sizeBytes : undefined;
      return dag.fetch({ cid, index, sizeBytes: wireBytes }, options);
    },
    flow,
    { signal },
  );
}
