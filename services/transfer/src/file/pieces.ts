/** A file's bytes out of its blocks: the parts that are common to all ways of getting those. */
import { codecOf, type DagEntry, fileBytesOf, reassemble } from '@shoal/blocks';
import { ManifestInvalid } from '@shoal/protocol';

/** Bytes to send next. `release` gives their buffer back; it is called once they are sent, or not wanted. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

export type Pieces = AsyncGenerator<Piece, void, undefined>;

/** How many blocks a body may have in flight now, which is learned from how long they took. */
export interface Flow {
  windowBlocks(): number;
  noteTook(durationMs: number): void;
}

/** First and last byte, both included, as in HTTP. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The part of one block's file bytes that is wanted: `from` (included) to `to` (excluded). */
interface Part {
  readonly entry: DagEntry;
  readonly from: number;
  readonly to: number;
}

/** Fetches the blocks of slices, as many ahead of the reader as `flow` has room for, and yields them in order. */
export function fetchAhead<Slice>(
  slices: Iterable<Slice> | AsyncIterable<Slice>,
  fetch: (slice: Slice, options: { signal: AbortSignal }) => Promise<Piece>,
  flow: Flow,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<{ slice: Slice; block: Piece }, void, undefined> {
  const fetchBlock = async (slice: Slice, options: { signal: AbortSignal }): Promise<Piece> => {
    const startedAtMs = performance.now();
    const block = await fetch(slice, options);
    flow.noteTook(performance.now() - startedAtMs);
    return block;
  };
  const discard = ({ release }: Piece) => release();
  const windowBlocks = () => flow.windowBlocks();
  return reassemble(slices, { windowBlocks, fetchBlock, discard }, { signal });
}

/**
 * The wanted part of a block. Gives the block back when it does not hold what its parent said.
 * @throws ManifestInvalid
 */
export function pieceOf({ entry, from, to }: Part, { bytes, release }: Piece): Piece {
  const { cid, sizeBytes, inline } = entry;
  const own = inline ?? fileBytesOf(codecOf(cid), bytes);
  if (own.length === sizeBytes) return { bytes: own.subarray(from, to), release };
  release();
  throw new ManifestInvalid({
    cid,
    reason: `its parent says ${sizeBytes} bytes of file, and it has ${own.length}`,
  });
}

/** What blocks come as, as what is sent of them. */
export async function* inPieces<Slice extends Part>(
  blocks: AsyncGenerator<{ slice: Slice; block: Piece }, void, undefined>,
  onEnd: () => void = () => {},
): Pieces {
  try {
    for await (const { slice, block } of blocks) yield pieceOf(slice, block);
  } finally {
    onEnd();
  }
}
