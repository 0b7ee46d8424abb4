import { describe, expect, it } from '@jest/globals';
import { createDagBuilder, hashBlock } from '@shoal/blocks';
import { CHUNK_SIZE_BYTES, GiB } from '@shoal/protocol';

/** All CIDs are of one length, so that any will do. */
const SOME_CID = hashBlock('raw', new Uint8Array());

/** What `receiveFile` answers of a file of this length, without its bytes. */
function treeSizeOf(fileSizeBytes: number): number {
  const dag = createDagBuilder();
  const chunks = Math.max(1, Math.ceil(fileSizeBytes / CHUNK_SIZE_BYTES));
  for (let index = 0; index < chunks; index += 1) {
    const leftBytes = fileSizeBytes - index * CHUNK_SIZE_BYTES;
    dag.addLeaf({ cid: SOME_CID, sizeBytes: Math.min(leftBytes, CHUNK_SIZE_BYTES) });
  }
  return dag.finish().treeSizeBytes;
}

describe('the size of a tree', () => {
  it.each([
    [0, 0],
    [11, 11],
    [CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES],
    // Its root: a link of 46 bytes, one of 44 (its size is shorter), and 14 bytes of UnixFS data.
    [CHUNK_SIZE_BYTES + 1, CHUNK_SIZE_BYTES + 1 + 104],
  ])('of %d bytes is %d', (sizeBytes, treeSizeBytes) => {
    expect(treeSizeOf(sizeBytes)).toBe(treeSizeBytes);
  });

  it('counts every level of a large file', () => {
    const overheadBytes = treeSizeOf(5 * GiB) - 5 * GiB;
    expect(overheadBytes).toBeGreaterThan(5 * 1024 * 40);
    expect(overheadBytes).toBeLessThan(5 * 1024 * 60);
  });
});
