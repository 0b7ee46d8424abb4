/**
 * A DAG from outside, made whole: every block of it here, under a hold, and looked at. Blocks that are
 * not here are fetched from the swarm and the gateways that the request allows.
 *
 * First each block once, in `measureDag`, which refuses what can't be listed: a pin on such a DAG would
 * keep every member from sweeping. Then the walk that every member will make, which counts the blocks
 * and reads a file through for its sha-256.
 */
import { createHash } from 'node:crypto';
import {
  codecOf,
  type DagEntry,
  fileBytesOf,
  type LeafClaim,
  measureDag,
  type MeasuredDag,
  readUnixfs,
  reassemble,
  walkDag,
} from '@shoal/blocks';
import {
  type Cid,
  DagIncomplete,
  type DagKind,
  ManifestInvalid,
  ServiceUnavailable,
  Sha256,
} from '@shoal/protocol';
import { holdPresent, readOwn } from './block-reads.ts';
import type { Elsewhere } from './elsewhere.ts';
import type { Hold, IntakeDeps } from '../intake.ts';
import type { BlockPuts } from '../put-blocks.ts';

/** Leaves that are read or fetched at once; each may take 2 MiB. */
const LEAVES_AT_ONCE = 8;

export interface GatheredDag {
  readonly root: Cid;
  readonly kind: DagKind;
  readonly sizeBytes: number;
  /** Only files have one. */
  readonly sha256: Sha256 | undefined;
  readonly blocks: number;
}

export interface GatherDeps extends Pick<IntakeDeps, 'peers'> {
  readonly hold: Hold;
  /** Under the same lease; settled by the caller. */
  readonly puts: BlockPuts;
  readonly elsewhere: Elsewhere;
  /** Entries that a DAG may unfold to. */
  readonly entriesMax: number;
}

/**
 * Answers what is to be pinned; all blocks are durable then.
 * @throws DagIncomplete, ManifestInvalid, CidUnsupported, StorageFull, ServiceUnavailable.
 */
export async function gatherDag(
  root: Cid,
  deps: GatherDeps,
  { signal }: { signal: AbortSignal },
): Promise<GatheredDag> {
  const { peers, hold, puts, entriesMax } = deps;
  const measured = await measureDag(root, {
    getNode: async (cid) =>
      obtain(cid, root, await present([cid], deps, { signal }), deps, { signal }),
    checkLeaves: (leaves) => checkLeaves(leaves, root, deps, { signal }),
    entriesMax,
  });
  await puts.finish();
  const kind = kindOf(measured.type);
  const { blocks, sha256 } = await readThrough(
    root,
    measured,
    kind === 'file',
    {
      read: async (cid) => {
        const bytes = await readOwn(cid, peers, { signal });
        if (bytes === undefined) throw new ServiceUnavailable({ service: 'storage' }); // it was here a moment ago
        return bytes;
      },
      onLeaf: (cid) => hold.replication.add(cid),
    },
    { signal },
  );
  hold.replication.finish();
  return { root, kind, sizeBytes: measured.sizeBytes, sha256, blocks };
}

/** The file bytes of some leaves, each block looked at once. */
async function checkLeaves(
  leaves: readonly LeafClaim[],
  root: Cid,
  deps: GatherDeps,
  { signal }: { signal: AbortSignal },
): Promise<number[]> {
  const unique = new Map(leaves.map((leaf) => [keyOf(leaf), leaf]));
  const sizes = new Map<string, number>();
  const here = await present([...new Set(leaves.map(({ cid }) => cid))], deps, { signal });
  const looked = reassemble(
    unique.entries(),
    {
      windowBlocks: () => LEAVES_AT_ONCE,
      fetchBlock: async ([, { cid }], options) => obtain(cid, root, here, deps, options),
      discard: () => {},
    },
    { signal },
  );
  for await (const {
    slice: [key, leaf],
    block,
  } of looked)
    sizes.set(key, leafSize(leaf, block));
  return leaves.map((leaf) => sizes.get(keyOf(leaf)) ?? 0);
}

/** @throws ManifestInvalid when a leaf is not what its parent says. */
function leafSize({ cid, sizeBytes: claimed }: LeafClaim, bytes: Uint8Array): number {
  const codec = codecOf(cid);
  if (codec === 'dag-pb') {
    const { type, links } = readUnixfs(cid, bytes);
    if (type !== 'file' || links.length > 0)
      throw new ManifestInvalid({
        cid,
        reason: 'its parent says that it holds bytes of a file alone',
      });
  }
  const { length } = fileBytesOf(codec, bytes);
  if (claimed !== undefined && claimed !== length)
    throw new ManifestInvalid({
      cid,
      reason: `its parent says that it holds ${claimed} bytes, it holds ${length}`,
    });
  return length;
}

/** The walk of every member: counts the blocks; of a file, all bytes in their order. */
async function readThrough(
  root: Cid,
  { type, sizeBytes }: MeasuredDag,
  isFile: boolean,
  {
    read,
    onLeaf,
  }: { readonly read: (cid: Cid) => Promise<Uint8Array>; readonly onLeaf: (cid: Cid) => void },
  { signal }: { signal: AbortSignal },
): Promise<{ blocks: number; sha256: Sha256 | undefined }> {
  const sha256 = createHash('sha256');
  const options = { sizeBytes: type === 'raw' ? sizeBytes : undefined, withInline: isFile };
  let blocks = 0;
  const entries = walkDag(root, read, options);
  const pieces = reassemble(
    entries,
    {
      windowBlocks: () => LEAVES_AT_ONCE,
      fetchBlock: async ({ cid, inline, sizeBytes: ownBytes }) => {
        if (inline !== undefined || !isFile || ownBytes === 0) return inline;
        return fileBytesOf(codecOf(cid), await read(cid));
      },
      discard: () => {},
    },
    { signal },
  );
  for await (const { slice: entry, block } of pieces) {
    if (entry.inline === undefined) blocks += 1;
    if (isPlaced(entry)) onLeaf(entry.cid);
    if (block !== undefined) sha256.update(block);
  }
  return { blocks, sha256: isFile ? Sha256.parse(sha256.digest('hex')) : undefined };
}

/** Leaves are placed on some members; all the rest goes to every one anyway. */
const isPlaced = ({ kind, inline }: DagEntry): boolean => kind === 'leaf' && inline === undefined;

const present = (
  cids: readonly Cid[],
  { peers, hold }: GatherDeps,
  options: { signal: AbortSignal },
) => holdPresent(cids, { peers, lease: hold.lease }, options);

/** A block, wherever it is; stored here if it was not. @throws DagIncomplete */
async function obtain(
  cid: Cid,
  root: Cid,
  here: ReadonlySet<Cid>,
  { peers, puts, elsewhere }: GatherDeps,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array> {
  const own = here.has(cid) ? await readOwn(cid, peers, { signal }) : undefined;
  if (own !== undefined) return own;
  const found = await elsewhere.find(cid, { signal });
  if ('tried' in found) throw new DagIncomplete({ root, cid, tried: [...found.tried] });
  await puts.putNamed([{ cid, bytes: found.bytes }]);
  return found.bytes;
}

function kindOf(type: MeasuredDag['type']): DagKind {
  if (type === 'raw' || type === 'file') return 'file';
  return type === 'directory' || type === 'shard' ? 'directory' : 'dag';
}

const keyOf = ({ cid, sizeBytes }: LeafClaim): string => `${cid} ${sizeBytes}`;
