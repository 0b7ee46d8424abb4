/**
 * A DAG from outside, made whole: every block of it here, under a hold, and looked at. Blocks that are
 * not here are fetched from the swarm and the gateways that the request allows.
 *
 * First each block once, in `measureDag`, which refuses what can't be listed: a pin on such a DAG would
 * keep every member from sweeping. Then the walk that every member will make, which counts the blocks
 * and reads a file through for its sha-256.
 *
 * The work is bounded by what is there: each leaf is checked once, in however many places it occurs,
 * and a file that is far longer than its distinct blocks together (a disk image that is mostly zeros, or a
 * bomb) is kept without a sha-256 rather than hashed for hours.
 */
import { createHash } from 'node:crypto';
import { createBlockMemory } from '@shoal/chassis';
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
  MiB,
  ServiceUnavailable,
  Sha256,
} from '@shoal/protocol';
import { holdPresent, readOwn } from './block-reads.ts';
import type { Elsewhere } from './elsewhere.ts';
import type { Hold } from '../intake/hold.ts';
import type { IntakeDeps } from '../intake/intake.ts';
import type { BlockPuts } from '../intake/put-blocks.ts';

/** Leaves that are read or fetched at once; each may take 2 MiB. */
const LEAVES_AT_ONCE = 8;
/** Leaves whose sizes are remembered, some 100 bytes each; past that, one that occurs in a later node is read again. */
const SIZES_KEPT_MAX = 65_536;
/** Blocks remembered while a file is read through: those that occur in many places are few. */
const BLOCKS_KEPT_MAX_BYTES = 16 * MiB;
/** Every file up to this size is read through for its sha-256, a few seconds of hashing. */
const HASHED_FREE_MAX_BYTES = 1024 * MiB;
/** Larger ones up to this multiple of the bytes that their distinct blocks have. */
const HASHED_PER_BYTE_MAX = 16;

export interface GatheredDag {
  readonly root: Cid;
  readonly kind: DagKind;
  readonly sizeBytes: number;
  /** Only files have one, unless they are far longer than their distinct blocks together. */
  readonly sha256: Sha256 | undefined;
  readonly blocks: number;
}

export interface GatherDeps extends Pick<IntakeDeps, 'client'> {
  readonly hold: Hold;
  /** Under the same lease; drained by the caller. */
  readonly puts: BlockPuts;
  readonly elsewhere: Elsewhere;
  /** Entries that a DAG may unfold to. */
  readonly entriesMax: number;
}

/**
 * Answers the pin to put; all blocks are durable then.
 * @throws DagIncomplete, ManifestInvalid, CidUnsupported, StorageFull, ServiceUnavailable.
 */
export async function gatherDag(
  root: Cid,
  deps: GatherDeps,
  { signal }: { signal: AbortSignal },
): Promise<GatheredDag> {
  const { client, hold, puts, entriesMax } = deps;
  const sizes = createLeafSizes();
  let distinctBytes = 0;
  const look = async (cid: Cid, here: ReadonlySet<Cid>, options: { signal: AbortSignal }) => {
    const bytes = await obtain(cid, root, here, deps, options);
    distinctBytes += bytes.length;
    return bytes;
  };
  const measured = await measureDag(root, {
    getNode: async (cid) => look(cid, await present([cid], deps, { signal }), { signal }),
    checkLeaves: (leaves) => checkLeaves(leaves, { ...deps, sizes, look }, { signal }),
    entriesMax,
  });
  await puts.finish();
  const kind = kindOf(measured.type);
  const hashedMaxBytes = Math.max(HASHED_FREE_MAX_BYTES, distinctBytes * HASHED_PER_BYTE_MAX);
  const memory = createBlockMemory(BLOCKS_KEPT_MAX_BYTES);
  const announced = new Set<Cid>();
  const { blocks, sha256 } = await readThrough(
    root,
    measured,
    kind === 'file' && measured.sizeBytes <= hashedMaxBytes,
    {
      read: async (cid) => {
        const bytes = memory.recall(cid) ?? (await readOwn(cid, client, { signal }));
        if (bytes === undefined) throw new ServiceUnavailable({ service: 'storage' }); // it was here a moment ago
        memory.remember(cid, bytes);
        return bytes;
      },
      onLeaf(cid) {
        if (announced.has(cid)) return;
        if (announced.size >= SIZES_KEPT_MAX) announced.clear(); // a copy asked for twice is made once
        announced.add(cid);
        hold.replication.add(cid);
      },
    },
    { signal },
  );
  hold.replication.finish();
  return { root, kind, sizeBytes: measured.sizeBytes, sha256, blocks };
}

/** The sizes of leaves that were looked at, those that came last. */
interface LeafSizes {
  of(cid: Cid): number | undefined;
  note(cid: Cid, sizeBytes: number): void;
}

function createLeafSizes(): LeafSizes {
  const sizes = new Map<Cid, number>();
  return {
    of: (cid) => sizes.get(cid),
    note(cid, sizeBytes) {
      sizes.set(cid, sizeBytes);
      const [oldest] = sizes.keys();
      if (sizes.size > SIZES_KEPT_MAX && oldest !== undefined) sizes.delete(oldest);
    },
  };
}

/** The file bytes of some leaves, each block looked at once. @throws ManifestInvalid when one is not what its parent says. */
async function checkLeaves(
  leaves: readonly LeafClaim[],
  {
    sizes,
    look,
    ...deps
  }: GatherDeps & {
    readonly sizes: LeafSizes;
    readonly look: (
      cid: Cid,
      here: ReadonlySet<Cid>,
      options: { signal: AbortSignal },
    ) => Promise<Uint8Array>;
  },
  { signal }: { signal: AbortSignal },
): Promise<number[]> {
  const found = new Map<Cid, number>();
  const cids = [...new Set(leaves.map(({ cid }) => cid))].filter((cid) => {
    const known = sizes.of(cid);
    if (known !== undefined) found.set(cid, known);
    return known === undefined;
  });
  const here = await present(cids, deps, { signal });
  const looked = reassemble(
    cids,
    {
      windowBlocks: () => LEAVES_AT_ONCE,
      fetchBlock: (cid, options) => look(cid, here, options),
      discard: () => {},
    },
    { signal },
  );
  for await (const { slice: cid, block } of looked) {
    const length = leafSize(cid, block);
    found.set(cid, length);
    sizes.note(cid, length);
  }
  return leaves.map(({ cid, sizeBytes: claimed }) => {
    const length = found.get(cid) ?? 0;
    if (claimed === undefined || claimed === length) return length;
    throw new ManifestInvalid({
      cid,
      reason: `its parent says that it holds ${claimed} bytes, it holds ${length}`,
    });
  });
}

/** File bytes of a leaf. @throws ManifestInvalid when it is none. */
function leafSize(cid: Cid, bytes: Uint8Array): number {
  const codec = codecOf(cid);
  if (codec === 'dag-pb') {
    const { type, links } = readUnixfs(cid, bytes);
    if (type !== 'file' || links.length > 0)
      throw new ManifestInvalid({
        cid,
        reason: 'its parent says that it holds bytes of a file alone',
      });
  }
  return fileBytesOf(codec, bytes).length;
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
  { client, hold }: GatherDeps,
  options: { signal: AbortSignal },
) => holdPresent(cids, { client, lease: hold.lease }, options);

/** A block, wherever it is; stored here if it was not. @throws DagIncomplete */
async function obtain(
  cid: Cid,
  root: Cid,
  here: ReadonlySet<Cid>,
  { client, puts, elsewhere }: GatherDeps,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array> {
  const own = here.has(cid) ? await readOwn(cid, client, { signal }) : undefined;
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
