/**
 * Small blocks that come in as one body of frames, sent by a service of this peer or by a member.
 * They are named here by their hashes, and our storage names them again: nothing is stored under another name.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { codecOf, hashBlock } from '@shoal/blocks';
import { announcedSize, readBody } from '@shoal/chassis';
import { type Cid, decodeFrames, encodeFrames, MiB, RequestInvalid } from '@shoal/protocol';

/** Bytes of blocks in one body, frames included. Past it: 413 `body-too-large`. */
const BODY_SIZE_MAX_BYTES = 2 * MiB;
/** Longest time for the whole of it to come in. Past it: 408 `body-too-slow`. */
const BODY_TIMEOUT_MS = 10_000;

/** A block and its bytes. */
export interface SentBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

/** @throws BodyTooLarge, BodyTooSlow, BodyIncomplete, RequestInvalid */
export async function readSentBlocks({
  request,
  response,
  blocksMax,
}: {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly blocksMax: number;
}): Promise<SentBlock[]> {
  try {
    const sizeMaxBytes = BODY_SIZE_MAX_BYTES;
    const buffer = Buffer.allocUnsafe(announcedSize(request, sizeMaxBytes) ?? sizeMaxBytes);
    const limits = { sizeMaxBytes, stallTimeoutMs: BODY_TIMEOUT_MS };
    const frames = decodeFrames(await readBody(request, buffer, limits));
    if (frames.length === 0 || frames.length > blocksMax)
      throw new RequestInvalid({ reason: `it holds ${frames.length} blocks` });
    return frames.map(({ codec, bytes }) => ({ cid: hashBlock(codec, bytes), bytes }));
  } catch (error) {
    // The rest of the body would be taken for the next request.
    if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
    throw error;
  }
}

/** The body that a call with these blocks has. */
export const bodyOf = (blocks: readonly SentBlock[]): Uint8Array =>
  encodeFrames(blocks.map(({ cid, bytes }) => ({ codec: codecOf(cid), bytes })));
