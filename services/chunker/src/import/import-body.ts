/** The two bodies of an import: a CAR, or a block by itself. */
import { hashBlock, openCar, parseCid, readCid } from '@shoal/blocks';
import { BLOCK_SIZE_MAX_BYTES, BodyTooLarge, type Codec, RequestInvalid } from '@shoal/protocol';
import type { IncomingBlocks } from './import-blocks.ts';

export interface BodyWishes {
  readonly as: 'car' | 'block';
  /** Of a lone block: how to read it. */
  readonly codec: Codec;
  /** Of a lone block: the name that it must have. */
  readonly cid?: string | undefined;
}

/** Reads the header of a CAR, or the whole of a block. @throws CarInvalid, BodyTooLarge, HashInvalid, CidUnsupported, RequestInvalid */
export async function openBody(
  body: AsyncIterable<Uint8Array>,
  { as, codec, cid: stated }: BodyWishes,
): Promise<IncomingBlocks> {
  if (as === 'car') return openCar(body);
  const bytes = await readBlock(body);
  const target = stated === undefined ? undefined : readCid(stated);
  if (target?.kind === 'identity')
    throw new RequestInvalid({ reason: '?cid= holds its bytes itself; there is nothing to store' });
  const cid = parseCid(target?.cid ?? hashBlock(codec, bytes));
  return { roots: [cid], blocks: only({ cid, bytes }) };
}

/** @throws BodyTooLarge for more than a block may have. */
async function readBlock(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of body) {
    sizeBytes += piece.length;
    if (sizeBytes > BLOCK_SIZE_MAX_BYTES)
      throw new BodyTooLarge({ sizeMaxBytes: BLOCK_SIZE_MAX_BYTES });
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function* only<T>(item: T): AsyncGenerator<T, void, undefined> {
  yield item;
}
