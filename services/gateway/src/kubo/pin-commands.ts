/** `pin/add`, `pin/ls` and `pin/rm`. Every pin is recursive: a DAG is kept as a whole. */
import {
  type Cid,
  discoveryRoutes,
  type FileEntry,
  FileName,
  routePath,
  UploadReply,
} from '@shoal/protocol';
import { type RpcCall, type RpcCommand, someArgs } from './rpc/call.ts';
import { ALWAYS, holdTo, holdToSpelling } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';
import { type ResolvedCid, resolveCid } from './rpc/paths.ts';
import { misused, RpcError } from './rpc/rpc-error.ts';

const PAGE_SIZE = 1000;
const VALUES = { kind: 'values', type: 'application/json' } as const;
const RECURSIVE = 'a pin keeps the whole DAG';

/** Keeps DAGs from now on. */
export const pinAdd: RpcCommand = async (call) => {
  const { options, upstream, signal } = call;
  holdTo({ recursive: ALWAYS }, options, RECURSIVE);
  holdToSpelling(options);
  const given = options.text('name') || undefined;
  const name = FileName.optional().safeParse(given);
  if (!name.success) throw misused(`option "name": ${name.error.issues[0]?.message}`);
  const pins: string[] = [];
  for (const arg of await someArgs(call, 'ipfs-path')) {
    const { cid, answered } = await resolveCid(call, arg);
    const request = {
      method: 'POST',
      path: '/pins',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ cid, ...(given === undefined ? {} : { name: given }) }),
      reply: UploadReply,
    } as const;
    await upstream.json('chunker', request, { signal });
    pins.push(answered);
  }
  return { Pins: pins };
};

/** Ends pins, for the whole swarm. */
export const pinRm: RpcCommand = async (call) => {
  const { options, upstream, signal } = call;
  holdTo({ recursive: ALWAYS }, options, RECURSIVE);
  holdToSpelling(options);
  const pins: string[] = [];
  for (const arg of await someArgs(call, 'ipfs-path')) {
    const { cid, answered } = await resolveCid(call, arg);
    const { reply } = discoveryRoutes.removeFile;
    const request = { method: 'DELETE', path: `/files/${cid}`, reply } as const;
    await upstream.json('discovery', request, { signal });
    pins.push(answered);
  }
  return { Pins: pins };
};

/** The pins of the swarm, or those that are named. */
export const pinLs: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  const type = options.text('type') ?? 'all';
  if (!/^(?:all|recursive|direct|indirect)$/.test(type))
    throw misused('option "type" must be all, recursive, direct or indirect');
  holdToSpelling(options);
  const isStream = options.flag('stream', false);
  const namePart = options.text('name') ?? '';
  const isNamed = options.flag('names', namePart !== '');
  const asked = await Promise.all(options.args.map((arg) => resolveCid(call, arg)));
  const pins = asked.length === 0 ? listPins(call) : await findPins(call, asked);

  const output = openOutput(reply, VALUES, { signal });
  let before = '{"Keys":{';
  if (type === 'all' || type === 'recursive')
    for await (const { cid, name } of pins) {
      if (!name.includes(namePart)) continue;
      const pin = { Type: 'recursive', Name: isNamed ? name : '' };
      if (isStream) await output.line({ Cid: cid, ...pin });
      else await output.write(`${before}${JSON.stringify(cid)}:${JSON.stringify(pin)}`);
      before = ',';
    }
  // An object that is never whole in memory: a swarm may have many pins.
  if (!isStream) await output.write(before === ',' ? '}}\n' : `${before}}}\n`);
  output.end();
};

type ListedPin = Readonly<Record<keyof Pick<FileEntry, 'cid' | 'name'>, string>>;

/** @throws RpcError when one of them is no pin */
async function findPins(call: RpcCall, asked: readonly ResolvedCid[]): Promise<ListedPin[]> {
  const missing = new Map<Cid, string>(asked.map(({ cid, answered }) => [cid, answered]));
  const found: ListedPin[] = [];
  for await (const { cid, name } of listPins(call)) {
    const answered = missing.get(cid as Cid); // an entry's CID is one
    if (answered !== undefined) found.push({ cid: answered, name });
    missing.delete(cid as Cid);
    if (missing.size === 0) return found;
  }
  throw new RpcError(500, `path '${[...missing.values()][0]}' is not pinned`);
}

async function* listPins({ upstream, signal }: RpcCall): AsyncGenerator<FileEntry, void> {
  for (let after: string | undefined; ;) {
    const request = {
      method: 'GET',
      path: routePath(discoveryRoutes.listFiles.path, {}, { limit: PAGE_SIZE, after }),
      reply: discoveryRoutes.listFiles.reply,
    } as const;
    const { files, next } = await upstream.json('discovery', request, { signal });
    yield* files;
    after = next;
    if (after === undefined) return;
  }
}
