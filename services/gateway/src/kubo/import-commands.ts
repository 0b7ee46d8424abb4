/** `block/put` and `dag/import`: blocks as they are, verified by the chunker, which cuts the form. */
import { parseCid } from '@shoal/blocks';
import { chunkerRoutes, type Codec, KuboImportEvent, routePath } from '@shoal/protocol';
import type { RpcCall, RpcCommand } from './rpc/call.ts';
import { handOver } from './rpc/hand-over.ts';
import { holdTo, holdToSpelling, NEVER, type Options } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';
import { answeredCid } from './rpc/paths.ts';
import { misused } from './rpc/rpc-error.ts';

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
  const { options, reply, signal } = call;
  const rules = { mhtype: /^sha2-256$/, mhlen: /^(?:-1|32)$/, 'allow-big-block': NEVER };
  holdTo(rules, options, 'blocks are at most 2 MiB and named by their sha2-256');
  holdTo({ 'cid-version': /^1$/, version: /^1$/ }, options, 'CIDs are of version 1');
  const { codec, isV0 } = readCodec(options);
  const query = { as: 'block', codec, pin: options.flag('pin', false) };
  const output = openOutput(reply, VALUES, { signal });
  for await (const { roots, blockBytes } of importForm(call, query, 'argument "data": a block')) {
    const [cid = ''] = roots;
    await output.line({ Key: isV0 ? String(parseCid(cid).toV0()) : cid, Size: blockBytes });
  }
  output.end();
};

/** Stores the blocks of CARs, each a part of the form, and keeps their roots. */
export const dagImport: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  holdTo({ 'allow-big-block': NEVER }, options, 'blocks are at most 2 MiB');
  holdToSpelling(options);
  const pin = options.flag('pin-roots', true);
  const isSilent = options.flag('silent', false);
  const wantsStats = options.flag('stats', false);
  const output = openOutput(reply, VALUES, { signal });
  const stats = { BlockCount: 0, BlockBytesCount: 0 };
  for await (const car of importForm(call, { as: 'car', pin }, 'argument "path": a CAR')) {
    stats.BlockCount += car.blocks;
    stats.BlockBytesCount += car.blockBytes;
    if (!pin || isSilent) continue;
    const spelled = spellingsOf(car.roots, call);
    for (const { cid } of car.pinned) await output.line(rootLine(spelled.get(cid) ?? cid, ''));
    for (const { cid, reason } of car.unpinned) await output.line(rootLine(cid, reason));
  }
  if (wantsStats) await output.line({ Stats: stats });
  output.end();
};

async function* importForm(
  call: RpcCall,
  query: { readonly as: string; readonly pin: boolean; readonly codec?: Codec },
  wanted: string,
) {
  const path = routePath(chunkerRoutes.importKuboForm.path, {}, query);
  for await (const { imported } of handOver(call, path, KuboImportEvent, wanted)) yield imported;
}

/** The roots that a CAR spells in version 0, as they are answered: the chunker names all in version 1. */
function spellingsOf(roots: readonly string[], call: RpcCall): Map<string, string> {
  return new Map(
    roots
      .filter((root) => root.startsWith('Qm'))
      .map((root) => parseCid(root))
      .map((root) => [String(root.toV1()), answeredCid(root, call)]),
  );
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
