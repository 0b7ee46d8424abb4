/** DAGs that no fixture has, made with the reference libraries. */
import { createHash } from 'node:crypto';
import { CarWriter } from '@ipld/car';
import { createNode, encode } from '@ipld/dag-pb';
import { UnixFS } from 'ipfs-unixfs';
import { CID } from 'multiformats/cid';
import * as Digest from 'multiformats/hashes/digest';

const RAW = 0x55;
const DAG_PB = 0x70;
const SHA2_256 = 0x12;

/** A block with what its parents need to say of it. */
export interface MadeBlock {
  readonly cid: CID;
  readonly bytes: Uint8Array;
  /** Bytes of file in it and below it; none in a directory. */
  readonly fileSizeBytes: number;
  readonly treeSizeBytes: number;
}

export function rawLeaf(bytes: Uint8Array): MadeBlock {
  const size = { fileSizeBytes: bytes.length, treeSizeBytes: bytes.length };
  return { cid: nameOf(RAW, bytes), bytes, ...size };
}

/** A node of a file: bytes of its own first, then its children's. Without children it is a dag-pb leaf. */
export function fileNode(data: Uint8Array, children: readonly MadeBlock[] = []): MadeBlock {
  const blockSizes = children.map(({ fileSizeBytes }) => BigInt(fileSizeBytes));
  const unixfs = new UnixFS({ type: 'file', blockSizes, ...(data.length > 0 ? { data } : {}) });
  const links = children.map(({ cid, treeSizeBytes }) => ({
    Name: '',
    Hash: cid,
    Tsize: treeSizeBytes,
  }));
  const bytes = encode(createNode(unixfs.marshal(), links));
  const below = children.reduce((sum, child) => sum + child.treeSizeBytes, 0);
  return {
    cid: nameOf(DAG_PB, bytes),
    bytes,
    fileSizeBytes: data.length + children.reduce((sum, child) => sum + child.fileSizeBytes, 0),
    treeSizeBytes: bytes.length + below,
  };
}

/** A directory; its entries are sorted, as in any. */
export function makeDirectory(
  entries: readonly { readonly name: string; readonly child: Pick<MadeBlock, 'bytes' | 'cid'> }[],
): MadeBlock {
  const links = entries.map(({ name, child }) => ({
    Name: name,
    Hash: child.cid,
    Tsize: child.bytes.length,
  }));
  const bytes = encode(createNode(new UnixFS({ type: 'directory' }).marshal(), links));
  const treeSizeBytes = bytes.length + links.reduce((sum, { Tsize }) => sum + Tsize, 0);
  return { cid: nameOf(DAG_PB, bytes), bytes, fileSizeBytes: 0, treeSizeBytes };
}

/** A CAR of these blocks in this order. */
export async function makeCar(
  root: CID,
  blocks: readonly Pick<MadeBlock, 'bytes' | 'cid'>[],
): Promise<Uint8Array> {
  const { writer, out } = CarWriter.create([root]);
  const write = async () => {
    for (const { cid, bytes } of blocks) await writer.put({ cid, bytes });
    await writer.close();
  };
  const pieces: Uint8Array[] = [];
  const read = async () => {
    for await (const piece of out) pieces.push(piece);
  };
  await Promise.all([write(), read()]);
  return Buffer.concat(pieces);
}

function nameOf(codec: number, bytes: Uint8Array): CID {
  return CID.createV1(codec, Digest.create(SHA2_256, createHash('sha256').update(bytes).digest()));
}
