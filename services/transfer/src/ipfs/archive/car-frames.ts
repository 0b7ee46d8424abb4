/** The parts of a CAR in version 1 (ipld.io/specs/transport/car/carv1). */
import { type DagEntry, parseCid } from '@shoal/blocks';
import { CarBufferWriter } from '@ipld/car';

/** The header of a CAR with one root. */
export function carHeader(root: string): Uint8Array {
  const cid = parseCid(root);
  const sizeBytes = CarBufferWriter.calculateHeaderLength([cid.bytes.length]);
  return CarBufferWriter.createWriter(new ArrayBuffer(sizeBytes), { roots: [cid] }).close();
}

/** The head of a block's frame: the length of the rest, and the CID as its parent spells it. */
export function carFrame({ cid, isV0 }: DagEntry, blockSizeBytes: number): Uint8Array {
  const { bytes, multihash } = parseCid(cid);
  const name = isV0 === true ? multihash.bytes : bytes; // a version 0 CID is its multihash
  return Buffer.concat([varint(name.length + blockSizeBytes), name]);
}

/** Seven bits a byte, the lowest first (LEB128). */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}
