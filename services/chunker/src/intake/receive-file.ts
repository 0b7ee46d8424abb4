/** One file's bytes on their way to blocks: cut, stored, hashed, named. */
import { createHash } from 'node:crypto';
import { type Attributes, chunk, cidOf, createDagBuilder } from '@shoal/blocks';
import { CHUNK_SIZE_BYTES, type Cid, KiB, Sha256 } from '@shoal/protocol';
import type { BlockPuts, Leaf } from './put-blocks.ts';
import { SMALL_FILE_MAX_BYTES } from './small-files.ts';

/** A file up to this size shares a request with others; a guess, far below a batch. Past it: it has one of its own. */
const JOINED_FILE_MAX_BYTES = 128 * KiB;

/** A file that was cut and sent to storage; its nodes are durable once the puts are finished. */
export interface ReceivedFile {
  readonly root: Cid;
  readonly sizeBytes: number;
  /** Encoded size of all its blocks. */
  readonly treeSizeBytes: number;
  readonly sha256: Sha256;
  readonly blocks: number;
  /** The only block of a small file, which was not sent to storage, when the caller takes such. */
  readonly only?: { readonly cid: Cid; readonly bytes: Uint8Array };
}

/** Reads a body to its end. Memory is bounded by the puts and does not depend on the file's size. */
export async function receiveFile(
  body: AsyncIterable<Uint8Array>,
  {
    puts,
    attributes,
    onBytes,
    takesSmall = false,
  }: {
    readonly puts: BlockPuts;
    readonly attributes?: Attributes | undefined;
    readonly onBytes: (bytes: number) => void;
    /** Whether the caller stores a small file itself. */
    readonly takesSmall?: boolean;
  },
): Promise<ReceivedFile> {
  const dag = createDagBuilder();
  const sha256 = createHash('sha256');
  let received = 0;
  let only: ReceivedFile['only'];
  const addLeaves = async (leaves: readonly Leaf[]) => {
    for (const leaf of leaves) await puts.putNamed(dag.addLeaf(leaf));
  };
  const chunks = chunk(body, {
    sizeBytes: CHUNK_SIZE_BYTES,
    takeBuffer: () => puts.takeBuffer(),
  });
  for await (const cut of chunks) {
    // A chunk that is not full is the last one.
    const isSmallFile = received === 0 && cut.bytes.length <= JOINED_FILE_MAX_BYTES;
    received += cut.bytes.length;
    onBytes(cut.bytes.length);
    if (isSmallFile) {
      const digest = sha256.update(cut.bytes).copy().digest();
      const block = { cid: cidOf('raw', digest), bytes: Uint8Array.from(cut.bytes) };
      puts.giveBack(cut.buffer);
      const isTaken =
        takesSmall && attributes === undefined && block.bytes.length <= SMALL_FILE_MAX_BYTES;
      if (isTaken) only = block;
      else await puts.putNamed([block]);
      dag.addLeaf({ cid: block.cid, sizeBytes: block.bytes.length });
    } else {
      const put = puts.putLeaf(cut); // on its way before we hash: the two then overlap
      sha256.update(cut.bytes);
      await addLeaves(await put);
    }
  }
  await addLeaves(await puts.finishLeaves());
  const { root, nodes, blocks, sizeBytes, treeSizeBytes } = dag.finish(attributes);
  await puts.putNamed(nodes);
  return {
    root,
    sizeBytes,
    treeSizeBytes,
    sha256: Sha256.parse(sha256.digest('hex')),
    blocks,
    ...(only === undefined ? {} : { only }),
  };
}
