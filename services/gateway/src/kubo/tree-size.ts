import { setImmediate as turn } from 'node:timers/promises';
import { createDagBuilder, hashBlock } from '@shoal/blocks';
import { CHUNK_SIZE_BYTES } from '@shoal/protocol';

/** Chunks that are counted between two looks at other work: a millisecond or two. */
const CHUNKS_PER_TURN = 4096;
/** All CIDs are of one length, so that any will do. */
const SOME_CID = hashBlock('raw', new Uint8Array());

/**
 * Encoded size of all blocks of a file that was cut here: what Kubo calls its size. It depends on the
 * file's length alone, so the DAG is built once more without its bytes.
 */
export async function treeSizeOf(sizeBytes: number): Promise<number> {
  const dag = createDagBuilder();
  const chunks = Math.max(1, Math.ceil(sizeBytes / CHUNK_SIZE_BYTES));
  for (let index = 0; index < chunks; index += 1) {
    const left = sizeBytes - index * CHUNK_SIZE_BYTES;
    dag.addLeaf({ cid: SOME_CID, sizeBytes: Math.min(left, CHUNK_SIZE_BYTES) });
    if (index % CHUNKS_PER_TURN === CHUNKS_PER_TURN - 1) await turn();
  }
  return dag.finish().treeSizeBytes;
}
