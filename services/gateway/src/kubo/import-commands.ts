/** `block/put` and `dag/import`: blocks as they are, verified by the chunker's `POST /ipfs`. */
import { hashBlock, inVersion0 } from '@shoal/blocks';
import { BLOCK_SIZE_MAX_BYTES, type Codec, ImportReply, routePath } from '@shoal/protocol';
import { readParts, type RpcCommand } from './call.ts';
import { holdTo, holdToSpelling, NEVER, type Options } from './options.ts';
import { openOutput } from './output.ts';
import { misused, RpcError } from './rpc-error.ts';

const VALUES = { kind: 'values', type: 'application/json' } as const;
const CODECS: Readonly<Record<string, Codec>> = { raw: 'raw', 'dag-pb': 'dag-pb' };
/** Names that only the option of old clients knows; `v0` is a version as well. */
const OLD_FORMATS: Readonly<Record<string, Codec>> = {
  ...CODECS,
  protobuf: 'dag-pb',
  v0: 'dag-pb',
};

/** Stores blocks, each a part of the form; answers their names. */
export const blockPut: RpcCommand = async (call) => {
  const { options, reply, upstream, signal } = call;
  const rules = { mhtype: /^sha2-256$/, mhlen: /^(?:-1|32)$/, 'allow-big-block': NEVER };
  holdTo(rules, options, 'blocks are at most 2 MiB and named by their sha2-256');
  holdTo({ 'cid-version': /^1$/, version: /^1$/ }, options, 'CIDs are of version 1');
  const { codec, isV0 } = readCodec(options);
  const pin = options.flag('pin', false);
  const output = openOutput(reply, VALUES, { signal });
  let count = 0;
  for await (const { body } of readParts(call)) {
    const bytes = await readBlock(body);
    const cid = hashBlock(codec, bytes);
    await upstream.json(
      'chunker',
      {
        method: 'POST',
        path: routePath('/ipfs', {}, { pin, codec, cid }),
        headers: { 'content-type': 'application/vnd.ipld.raw' },
        body: once(bytes),
        reply: ImportReply,
      },
      { signal },
    );
    await output.line({ Key: isV0 ? inVersion0(cid) : cid, Size: bytes.length });
    count += 1;
  }
  if (count === 0) throw misused('argument "data" is required: a part of the form');
  output.end();
};

/** Stores the blocks of CARs, each a part of the form, and keeps their roots. */
export const dagImport: RpcCommand = async (call) => {
  const { options, reply, upstream, signal } = call;
  holdTo({ 'allow-big-block': NEVER }, options, 'blocks are at most 2 MiB');
  holdToSpelling(options);
  const pin = options.flag('pin-roots', true);
  const isSilent = options.flag('silent', false);
  const output = openOutput(reply, VALUES, { signal });
  let count = 0;
  const stats = { BlockCount: 0, BlockBytesCount: 0 };
  for await (const { body } of readParts(call)) {
    const imported = await upstream.json(
      'chunker',
      {
        method: 'POST',
        path: routePath('/ipfs', {}, { pin }),
        headers: { 'content-type': 'application/vnd.ipld.car' },
        body,
        reply: ImportReply,
      },
      { signal },
    );
    count += 1;
    stats.BlockCount += imported.blocks;
    stats.BlockBytesCount += imported.blockBytes;
    if (!pin || isSilent) continue;
    for (const { cid } of imported.pinned) await output.line(rootLine(cid, ''));
    for (const { cid, reason } of imported.unpinned) await output.line(rootLine(cid, reason));
  }
  if (count === 0) throw misused('argument "path" is required: a CAR as a part of the form');
  if (options.flag('stats', false)) await output.line({ Stats: stats });
  output.end();
};

const rootLine = (cid: string, reason: string) => ({
  Root: { Cid: { '/': cid }, PinErrorMsg: reason },
});

/** Kubo's command line states `cid-codec=raw` whether or not one asks for it, so `format` beats that. */
function readCodec(options: Options): { readonly codec: Codec; readonly isV0: boolean } {
  const format = options.text('format') || undefined;
  const given = options.text('cid-codec') || 'raw';
  if (format !== undefined && given !== 'raw')
    throw misused('option "format" and another "cid-codec" than raw exclude each other');
  const names = format === undefined ? CODECS : OLD_FORMATS;
  const name = format ?? given;
  const codec = Object.hasOwn(names, name) ? names[name] : undefined;
  if (codec === undefined)
    throw misused(`codec "${name.slice(0, 50)}" is not supported; raw and dag-pb are`);
  return { codec, isV0: format === 'v0' };
}

/** A block is hashed before it is sent on, so it is held for a moment. */
async function readBlock(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of body) {
    sizeBytes += piece.length;
    if (sizeBytes > BLOCK_SIZE_MAX_BYTES)
      throw new RpcError(500, `the block is larger than ${BLOCK_SIZE_MAX_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
