/** DAGs as other programs make them, and CARs of them. */
import { CarBufferWriter } from '@ipld/car';
import { type ImportCandidate, importer } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';

export interface Foreign {
  readonly root: CID;
  /** In the order in which they were made: children first. */
  readonly blocks: readonly { readonly cid: CID; readonly bytes: Uint8Array }[];
}

type Options = NonNullable<Parameters<typeof importer>[2]>;

/** What ipfs-unixfs-importer makes of some files. */
export async function makeDag(
  sources: readonly {
    readonly path?: string;
    readonly content?: Uint8Array;
    readonly mode?: number;
    readonly mtime?: { readonly secs: bigint; readonly nsecs: number };
  }[],
  options: Options = { profile: 'unixfs-v1-2025' } as Options,
): Promise<Foreign> {
  const blocks = new Map<string, { cid: CID; bytes: Uint8Array }>();
  const store = {
    put: async (cid: CID, bytes: Uint8Array) => {
      blocks.set(cid.toString(), { cid, bytes: Uint8Array.from(bytes) });
      return cid;
    },
    has: async () => false,
    get: () => {
      throw new Error('never asked');
    },
  } as unknown as Parameters<typeof importer>[1];
  let root: CID | undefined;
  for await (const { cid } of importer(sources as ImportCandidate[], store, { ...options }))
    root = cid;
  if (root === undefined) throw new Error('nothing was made');
  return { root, blocks: [...blocks.values()] };
}

/** A CAR of these blocks, with these roots. */
export function carOf(roots: readonly CID[], blocks: Foreign['blocks']): Uint8Array<ArrayBuffer> {
  const sizeBytes = blocks.reduce((sum, { bytes }) => sum + bytes.length + 64, 4096);
  const writer = CarBufferWriter.createWriter(new ArrayBuffer(sizeBytes), {
    roots: [...roots],
    headerSize: 2048,
  });
  for (const block of blocks) writer.write(block);
  return new Uint8Array(writer.close({ resize: true }));
}

/** The bytes of a block that must be there. */
export function bytesOf({ blocks }: Foreign, at: number): { cid: CID; bytes: Uint8Array } {
  const block = blocks.at(at);
  if (block === undefined) throw new Error('no such block');
  return block;
}
