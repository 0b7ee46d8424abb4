/** IPFS paths as RPC arguments: `/ipfs/<cid>/a/b`, `<cid>/a/b` or `<cid>` in any spelling. */
import { parseCid, readCid } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import type { RpcCall } from './call.ts';
import { failureOf, RpcError } from './rpc-error.ts';

export interface IpfsPath {
  /** As given. */
  readonly cid: string;
  /** Decoded names below it. */
  readonly names: readonly string[];
}

/** @throws RpcError for what is no path in /ipfs */
export function readIpfsPath(arg: string): IpfsPath {
  const text = arg.replace(/^ipfs:\/\//, '/ipfs/');
  const [cid = '', ...names] = text
    .replace(/^\/?ipfs\//, '')
    .split('/')
    .filter((name) => name !== '');
  if (cid === '' || (text.startsWith('/') && !text.startsWith('/ipfs/')))
    throw new RpcError(500, `invalid path "${arg.slice(0, 200)}": only /ipfs/<cid>/… is here`);
  return { cid, names };
}

/** The gateway's path to it. */
export function gatewayPath({ cid, names }: IpfsPath, query = ''): string {
  const path = ['', 'ipfs', cid, ...names].map(encodeURIComponent).join('/');
  return query === '' ? path : `${path}?${query}`;
}

/** The block that a path leads to. */
export interface ResolvedCid {
  /** In our spelling. */
  readonly cid: Cid;
  /** As Kubo would answer it: version 0 stays version 0, unless the call says otherwise. */
  readonly answered: string;
}

/** @throws HashInvalid, CidUnsupported, RpcError */
export async function resolveCid(call: RpcCall, arg: string): Promise<ResolvedCid> {
  const path = readIpfsPath(arg);
  const root = path.names.length === 0 ? path.cid : await lastRoot(call, path);
  const read = readCid(root);
  if (read.kind === 'identity')
    throw new RpcError(500, `${read.asGiven} holds its bytes itself: there is no block to keep`);
  return { cid: read.cid, answered: answeredCid(parseCid(read.asGiven), call) };
}

/** Naming a base asks for version 1 as well: version 0 has but one spelling. */
export function answeredCid(cid: ReturnType<typeof parseCid>, { options }: RpcCall): string {
  const isUpgraded = options.flag(
    'upgrade-cidv0-in-output',
    options.text('cid-base') !== undefined,
  );
  return String(isUpgraded ? cid.toV1() : cid);
}

/** The gateway names the CID of every step of a path; of a directory only behind its final slash. */
async function lastRoot({ upstream, signal }: RpcCall, path: IpfsPath): Promise<string> {
  for (const end of ['', '/']) {
    const request = { method: 'HEAD', path: gatewayPath(path) + end } as const;
    const answer = await upstream.ask('transfer', request, { signal });
    await answer.body.dump();
    const isRedirect = answer.statusCode >= 300 && answer.statusCode < 400;
    if (isRedirect) continue;
    const roots = String(answer.headers['x-ipfs-roots'] ?? '').split(',');
    const last = roots.at(-1)?.trim();
    if (answer.statusCode < 300 && last) return last;
    break;
  }
  const what = `/ipfs/${[path.cid, ...path.names].join('/')}`;
  // Asked again for its reason: a HEAD has none.
  const answer = await upstream.ask(
    'transfer',
    { method: 'GET', path: gatewayPath(path) },
    { signal },
  );
  if (answer.statusCode >= 400) throw await failureOf(answer);
  await answer.body.dump();
  throw new RpcError(500, `${what} can't be resolved`);
}
