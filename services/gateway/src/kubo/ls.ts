/**
 * `ls`: what directories hold, with the kind and size of each entry. Of a file, the links to its parts.
 *
 * Nodes are read as blocks, some of them at once. A directory of any size goes through; those that are
 * larger than what is sorted in memory come in the order of the nodes.
 */
import {
  type Attributes,
  type GetNode,
  listEntries,
  type NamedLink,
  readCid,
  type ReadCid,
  readTarget,
  resolvePath,
  targetOf,
  type UnixfsNode,
} from '@shoal/blocks';
import { CidUnsupported } from '@shoal/protocol';
import { ask, type RpcCall, type RpcCommand, someArgs } from './rpc/call.ts';
import { holdToSpelling } from './rpc/options.ts';
import { openOutput } from './rpc/output.ts';
import { answeredCid, gatewayPath, readIpfsPath } from './rpc/paths.ts';
import { failureOf } from './rpc/rpc-error.ts';

/** Multicodec code of raw bytes: a file by itself. */
const RAW = 0x55;
/** Entries whose nodes are read at once. */
const NODES_AT_ONCE = 16;
/** Links that are sorted in memory, some 500 bytes each. */
const SORTED_MAX = 8192;
/** Go's time of nothing. */
const NO_TIME = '0001-01-01T00:00:00Z';
/** Kinds as UnixFS numbers them; 0 for what was not looked into. */
const KINDS = { file: 2, directory: 1, shard: 1, symlink: 4, plain: 0 } as const;
/** Bits of Go's `os.FileMode` that lie elsewhere than POSIX has them. */
const GO_BITS = [
  [0o4000, 2 ** 23],
  [0o2000, 2 ** 22],
  [0o1000, 2 ** 20],
] as const;
const GO_DIRECTORY = 2 ** 31;

/** One entry. */
interface LsLink {
  readonly Name: string;
  readonly Hash: string;
  readonly Size: number;
  readonly Type: number;
  readonly Target: string;
  readonly Mode: number;
  readonly ModTime: string;
}

export const ls: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  holdToSpelling(options);
  const isStream = options.flag('stream', false);
  const looks = [options.flag('resolve-type', true), options.flag('size', true)];
  const isLookedInto = looks.includes(true);
  const args = await someArgs(call, 'ipfs-path');
  const output = openOutput(reply, { kind: 'values', type: 'application/json' }, { signal });
  let before = '{"Objects":[';
  for (const arg of args) {
    const links = linksOf(arg, { isLookedInto }, call);
    if (isStream) {
      for await (const link of links)
        await output.line({ Objects: [{ Hash: arg, Links: [link] }] });
      continue;
    }
    let within = `${before}{"Hash":${JSON.stringify(arg)},"Links":[`;
    for await (const link of sorted(links)) {
      await output.write(`${within}${JSON.stringify(link)}`);
      within = ',';
    }
    await output.write(within === ',' ? ']}' : `${within}]}`);
    before = ',';
  }
  if (!isStream) await output.write(']}\n');
  output.end();
};

async function* linksOf(
  arg: string,
  { isLookedInto }: { readonly isLookedInto: boolean },
  call: RpcCall,
): AsyncGenerator<LsLink, void, undefined> {
  const getNode = nodesBy(call);
  const { cid, names } = readIpfsPath(arg);
  const { target } = await resolvePath(readCid(cid), names, getNode);
  const node = await readTarget(target, getNode);
  const describe = (entry: NamedLink) =>
    describeLink(entry, isLookedInto ? getNode : undefined, call);
  let waiting: NamedLink[] = [];
  for await (const entry of entriesOf(node, getNode)) {
    waiting.push(entry);
    if (waiting.length < NODES_AT_ONCE) continue;
    yield* await Promise.all(waiting.map(describe));
    waiting = [];
  }
  yield* await Promise.all(waiting.map(describe));
}

async function* entriesOf(
  node: UnixfsNode | undefined,
  getNode: GetNode,
): AsyncGenerator<NamedLink, void, undefined> {
  if (node?.type === 'directory' || node?.type === 'shard') yield* listEntries(node, getNode);
  else for (const link of node?.links ?? []) yield { name: link.name, link };
}

async function describeLink(
  { name, link }: NamedLink,
  getNode: GetNode | undefined,
  call: RpcCall,
): Promise<LsLink> {
  const target = knownTarget(link);
  const isRaw = link.cid.code === RAW;
  const node =
    target === undefined || isRaw || getNode === undefined
      ? undefined
      : await readTarget(target, getNode);
  const rawSizeBytes = isRaw ? (link.treeSizeBytes ?? 0) : 0;
  const isLink = node?.type === 'symlink';
  return {
    Name: name,
    Hash: answeredCid(link.cid, call),
    Size: isLink ? node.data.length : (node?.fileSizeBytes ?? rawSizeBytes),
    Type: isRaw ? KINDS.file : KINDS[node?.type ?? 'plain'],
    Target: isLink ? Buffer.from(node.data).toString() : '',
    Mode: goMode(node),
    ModTime: goTime(node?.attributes),
  };
}

/** The target of a link; undefined if it can't be read here, which a listing shows all the same. */
function knownTarget(link: NamedLink['link']): ReadCid | undefined {
  try {
    return targetOf(link);
  } catch (error) {
    if (error instanceof CidUnsupported) return undefined;
    throw error;
  }
}

function goMode(node: UnixfsNode | undefined): number {
  const mode = node?.attributes?.mode;
  if (node === undefined || mode === undefined) return 0;
  const moved = GO_BITS.reduce((sum, [bit, inGo]) => sum + ((mode & bit) === 0 ? 0 : inGo), 0);
  const isFolder = node.type === 'directory' || node.type === 'shard';
  return (mode & 0o777) + moved + (isFolder ? GO_DIRECTORY : 0);
}

/** RFC 3339, in the years that Go writes. */
function goTime(attributes: Attributes | undefined): string {
  const { secs, nsecs = 0 } = attributes?.mtime ?? {};
  if (secs === undefined) return NO_TIME;
  const time = new Date(1000 * Number(secs));
  if (Number.isNaN(time.getTime()) || !/^\d{4}-/.test(time.toISOString())) return NO_TIME;
  const fraction = nsecs === 0 ? '' : `.${String(nsecs).padStart(9, '0')}`;
  return time.toISOString().replace(/\.\d+Z$/, `${fraction}Z`);
}

/** By name, while there are no more than fit. */
async function* sorted(
  links: AsyncGenerator<LsLink, void, undefined>,
): AsyncGenerator<LsLink, void, undefined> {
  const first: LsLink[] = [];
  let next = await links.next();
  for (; next.done !== true && first.length < SORTED_MAX; next = await links.next())
    first.push(next.value);
  if (next.done === true) first.sort((a, b) => (a.Name < b.Name ? -1 : Number(a.Name > b.Name)));
  yield* first;
  if (next.done === true) return;
  yield next.value;
  yield* links;
}

/** Nodes as the gateway gives them, which verifies each. @throws RpcError when nobody has one. */
function nodesBy(call: RpcCall): GetNode {
  return async (cid) => {
    const answer = await ask(call, gatewayPath({ cid, names: [] }, 'format=raw'));
    if (answer.statusCode >= 300) throw await failureOf(answer);
    return new Uint8Array(await answer.body.arrayBuffer());
  };
}
