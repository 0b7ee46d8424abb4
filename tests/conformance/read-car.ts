/** What a CAR holds, read with the reference library, each block checked against its name. */
import { createHash } from 'node:crypto';
import { CarBlockIterator } from '@ipld/car';
import type { CID } from 'multiformats/cid';

const SHA2_256 = 0x12;

export interface CarContents {
  readonly roots: readonly string[];
  /** In the order of the stream, spelled as there. */
  readonly cids: readonly string[];
  /** False when the stream ends in the middle of something. */
  readonly isComplete: boolean;
}

/** @throws Error when a block is not what its CID says: whatever else breaks, that must never come. */
export async function readCar(bytes: Uint8Array): Promise<CarContents> {
  const cids: string[] = [];
  let roots: string[] = [];
  try {
    const car = await CarBlockIterator.fromBytes(bytes);
    roots = (await car.getRoots()).map(String);
    for await (const block of car) {
      verify(block);
      cids.push(block.cid.toString());
    }
    return { roots, cids, isComplete: true };
  } catch (error) {
    if (error instanceof WrongBytes) throw error;
    return { roots, cids, isComplete: false };
  }
}

class WrongBytes extends Error {}

function verify({ cid, bytes }: { readonly cid: CID; readonly bytes: Uint8Array }): void {
  const { code, digest } = cid.multihash;
  const own = createHash('sha256').update(bytes).digest();
  if (code !== SHA2_256 || !own.equals(digest))
    throw new WrongBytes(`the CAR gives ${cid.toString()} other bytes`);
}
