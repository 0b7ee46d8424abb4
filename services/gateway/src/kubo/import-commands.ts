/** `block/put` and `dag/import`: blocks as they are, verified by the chunker's `POST /ipfs`. */
import { hashBlock, inVersion0, openCar } from '@shoal/blocks';
import {
  BLOCK_SIZE_MAX_BYTES,
  CarInvalid,
  type Codec,
  ImportReply,
  routePath,
} from '@shoal/protocol';
import { readParts, type RpcCall, type RpcCommand } from './rpc/call.ts';
import { holdTo, holdToSpelling, NEVER, type Options } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';
import { answeredCid } from './rpc/paths.ts';
import { misused, RpcError } from './rpc/rpc-error.ts';

const VALUES = { kind: 'values', type: 'application/json' } as const;
/** The header of a CAR, whose bound is the same, and what version 2 has before it. */
const HEAD_MAX_BYTES = 65 * 1024;
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
  const wantsStats = options.flag('stats', false);
  const output = openOutput(reply, VALUES, { signal });
  let count = 0;
  const stats = { BlockCount: 0, BlockBytesCount: 0 };
  for await (const { body } of readParts(call)) {
    const car = tapped(body);
    const imported = await upstream.json(
      'chunker',
      {
        method: 'POST',
        path: routePath('/ipfs', {}, { pin }),
        headers: { 'content-type': 'application/vnd.ipld.car' },
        body: car.body,
        reply: ImportReply,
      },
      { signal },
    );
    count += 1;
    stats.BlockCount += imported.blocks;
    stats.BlockBytesCount += imported.blockBytes;
    if (!pin || isSilent) continue;
    const spelled = await spellingsOf(car.head(), call);
    for (const { cid } of imported.pinned) await output.line(rootLine(spelled.get(cid) ?? cid, ''));
    for (const { cid, reason } of imported.unpinned) await output.line(rootLine(cid, reason));
  }
  if (count === 0) throw misused('argument "path" is required: a CAR as a part of the form');
  if (wantsStats) await output.line({ Stats: stats });
  output.end();
};

/** A body, of which the first bytes are kept as they pass. */
function tapped(source: AsyncIterable<Uint8Array>) {
  const kept: Uint8Array[] = [];
  let keptBytes = 0;
  const body = async function* () {
    for await (const bytes of source) {
      const part = bytes.subarray(0, HEAD_MAX_BYTES - keptBytes);
      if (part.length > 0) kept.push(Uint8Array.from(part));
      keptBytes += part.length;
      yield bytes;
    }
  };
  return { body: body(), head: () => Buffer.concat(kept) };
}

/** The roots that a CAR spells in version 0, as they are answered: the chunker names all in version 1. */
async function spellingsOf(head: Uint8Array, call: RpcCall): Promise<Map<string, string>> {
  try {
    const { roots } = await openCar(once(head));
    return new Map(
      roots
        .filter(({ version }) => version === 0)
        .map((root) => [String(root.toV1()), answeredCid(root, call)]),
    );
  } catch (error) {
    // The chunker took it all the same: one of version 2, whose roots lie further in.
    if (error instanceof CarInvalid) return new Map();
    throw error;
  }
}

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
