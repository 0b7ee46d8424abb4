/**
 * Directories as `unixfs-v1-2025` writes them (IPIP-499): one node with sorted links, and a HAMT of
 * 256 slots once that node would be larger than 256 KiB.
 */
import { createNode, encode, type PBNode, prepare } from '@ipld/dag-pb';
import { murmur364 } from '@multiformats/murmur3';
import { type Cid, DirectoryInvalid, KiB } from '@shoal/protocol';
import { UnixFS } from 'ipfs-unixfs';
import { type Attributes, unixfsAttributes } from './attributes.ts';
import { hashBlock, toCid } from '../cid.ts';
import type { DagNode } from './dag.ts';
import { prefixLength } from './walk-dag.ts';

/** A directory whose node is larger is sharded. Past it: it becomes a HAMT. */
export const DIRECTORY_NODE_MAX_BYTES = 256 * KiB;
const FANOUT = 256;
/** The multicodec of murmur3-x64-64, as shards name it. */
const MURMUR3_X64_64 = 0x22;

/** An entry of a directory. */
export interface DirectoryEntry {
  /** One path segment, unique in its directory. */
  readonly name: string;
  readonly cid: Cid;
  /** Encoded size of all blocks of it. */
  readonly treeSizeBytes: number;
}

export interface Directory {
  readonly cid: Cid;
  /** Its own nodes, those of its entries left out; children before parents. */
  readonly nodes: readonly DagNode[];
  readonly treeSizeBytes: number;
}

/**
 * Builds a directory over entries that exist already. Their order does not matter.
 * @throws DirectoryInvalid when two names have the same hash.
 */
export async function buildDirectory(
  entries: readonly DirectoryEntry[],
  attributes?: Attributes,
): Promise<Directory> {
  const links = entries.map(({ name, cid, treeSizeBytes }) => linkTo(name, cid, treeSizeBytes));
  const flat = encodeNode(
    new UnixFS({ type: 'directory', ...unixfsAttributes(attributes) }),
    links,
  );
  if (flat.length <= DIRECTORY_NODE_MAX_BYTES) return directoryOf(flat, [], entries);
  const hashed = await Promise.all(
    entries.map(async (entry) => ({ entry, hash: await slotsOf(entry.name) })),
  );
  return buildShard(hashed, 0, attributes);
}

/** The way to a name through a HAMT: the slot at each level, from its hash, 8 bits a level. */
export async function slotsOf(name: string): Promise<Uint8Array> {
  return murmur364.encode(new TextEncoder().encode(name));
}

function buildShard(
  entries: readonly { readonly entry: DirectoryEntry; readonly hash: Uint8Array }[],
  depth: number,
  attributes?: Attributes,
): Directory {
  const slots = new Map<number, (typeof entries)[number][]>();
  for (const hashed of entries) {
    const slot = hashed.hash[depth];
    // 64 bits of hash are used up: a HAMT can't hold two names that share them.
    if (slot === undefined)
      throw new DirectoryInvalid({
        path: hashed.entry.name,
        reason: 'its name has the same hash as another one',
      });
    const members = slots.get(slot);
    if (members === undefined) slots.set(slot, [hashed]);
    else members.push(hashed);
  }
  const nodes: DagNode[] = [];
  const links: PBNode['Links'] = [];
  const below: { readonly treeSizeBytes: number }[] = [];
  for (const slot of [...slots.keys()].toSorted((a, b) => a - b)) {
    const members = slots.get(slot) ?? [];
    const [only] = members;
    const prefix = slot.toString(16).toUpperCase().padStart(prefixLength(FANOUT), '0');
    if (members.length === 1 && only !== undefined) {
      const { name, cid, treeSizeBytes } = only.entry;
      links.push(linkTo(prefix + name, cid, treeSizeBytes));
      below.push(only.entry);
    } else {
      const shard = buildShard(members, depth + 1);
      nodes.push(...shard.nodes);
      links.push(linkTo(prefix, shard.cid, shard.treeSizeBytes));
      below.push(shard);
    }
  }
  const unixfs = new UnixFS({
    type: 'hamt-sharded-directory',
    data: bitfieldOf([...slots.keys()]),
    fanout: BigInt(FANOUT),
    hashType: BigInt(MURMUR3_X64_64),
    ...unixfsAttributes(attributes),
  });
  return directoryOf(encodeNode(unixfs, links), nodes, below);
}

/** Slots in use: slot 0 is the lowest bit of the last byte; leading zero bytes are left out. */
function bitfieldOf(slots: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(FANOUT / 8);
  for (const slot of slots) {
    const at = bytes.length - 1 - (slot >> 3);
    bytes[at] = (bytes[at] ?? 0) | (1 << (slot & 7));
  }
  return bytes.subarray(bytes.findIndex((byte) => byte !== 0));
}

function directoryOf(
  bytes: Uint8Array,
  nodes: readonly DagNode[],
  below: readonly { readonly treeSizeBytes: number }[],
): Directory {
  const cid = hashBlock('dag-pb', bytes);
  return {
    cid,
    nodes: [...nodes, { cid, bytes }],
    treeSizeBytes: below.reduce((sum, { treeSizeBytes }) => sum + treeSizeBytes, bytes.length),
  };
}

const linkTo = (name: string, cid: Cid, treeSizeBytes: number): PBNode['Links'][number] => ({
  Name: name,
  Hash: toCid(cid),
  Tsize: treeSizeBytes,
});

const encodeNode = (unixfs: UnixFS, links: PBNode['Links']): Uint8Array =>
  encode(prepare(createNode(unixfs.marshal(), links)));
