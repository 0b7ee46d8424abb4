/** One file's bytes on their way to blocks: cut, stored, hashed, named. */
import { createHash } from 'node:crypto';
import { type Attributes, chunk, cidOf, createDagBuilder } from '@shoal/blocks';
import { CHUNK_SIZE_BYTES, type Cid, KiB, Sha256 } from '@shoal/protocol';
import type { BlockPuts, Leaf } from './put-blocks.ts';

/** A file up to this size shares a request with others; a guess, far below a batch. */
const SMALL_FILE_MAX_BYTES = 128 * KiB;

/** A file that was cut and sent to storage; its nodes are durable once the puts are finished. */
export interface ReceivedFile {
  readonly root: Cid;
  readonly sizeBytes: number;
  /** Encoded size of all its blocks. */
  readonly treeSizeBytes: number;
  readonly sha256: Sha256;
  readonly blocks: number;
}

/** Reads a body to its end. Memory is bounded by the puts and does not depend on the file's size. */
export async function receiveFile(
  body: AsyncIterable<Uint8Array>,
  {
    puts,
    attributes,
    onBytes,
  }: {
    readonly puts: BlockPuts;
    readonly attributes?: Attributes | undefined;
    readonly onBytes: (bytes: number) => void;
  },
): Promise<ReceivedFile> {
  const dag = createDagBuilder();
  const sha256 = createHash('sha256');
  let received = 0;
  const addLeaves = async (leaves: readonly Leaf[]) => {
    for (const leaf of leaves) await puts.putNamed(dag.addLeaf(leaf));
  };
  const chunks = chunk(body, {
    sizeBytes: CHUNK_SIZE_BYTES,
    takeBuffer: () => puts.takeBuffer(),
  });
  for await (const cut of chunks) {
    const isSmallFile = received === 0 && cut.bytes.length <= SMALL_FILE_MAX_BYTES;
    received += cut.bytes.length;
    onBytes(cut.bytes.length);
    if (isSmallFile) {
      const digest = sha256.update(cut.bytes).copy().digest();
      const only = { cid: cidOf('raw', digest), bytes: Uint8Array.from(cut.bytes) };
      puts.giveBack(cut.buffer);
      await puts.putNamed([only]);
      dag.addLeaf({ cid: only.cid, sizeBytes: only.bytes.length });
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
  };
}
