/**
 * dag-pb nodes as UnixFS means them: files, directories (flat and HAMT), symlinks. Nodes come from
 * anywhere, so nothing is taken for granted but that the bytes hash to the CID.
 */
import { decode } from '@ipld/dag-pb';
import { type Codec, ManifestInvalid } from '@shoal/protocol';
import { UnixFS } from 'ipfs-unixfs';
import type { CID } from 'multiformats/cid';
import { type Attributes, attributesOf } from './attributes.ts';
import { type ReadCid, readLink } from '../read-cid.ts';

/** `plain`: dag-pb without UnixFS; its links are followed, it has no file bytes. */
export type NodeType = 'file' | 'directory' | 'shard' | 'symlink' | 'plain';

/** A link of a node, not looked into: `target()` says what it names. */
export interface NodeLink {
  readonly name: string;
  /** Encoded size of everything below, as the parent claims it. */
  readonly treeSizeBytes: number | undefined;
  /** File bytes below, as a file node claims them. */
  readonly sizeBytes: number | undefined;
  /** The CID as the node spells it. */
  readonly cid: CID;
}

export interface UnixfsNode {
  readonly type: NodeType;
  /** File bytes in the node itself, or a symlink's target. A view on the block's bytes. */
  readonly data: Uint8Array;
  /** A file's size; undefined for everything else. */
  readonly fileSizeBytes: number | undefined;
  readonly links: readonly NodeLink[];
  /** Children of a shard: a power of two; 0 for everything else. */
  readonly fanout: number;
  /** Mode and time, of the few nodes that have them. */
  readonly attributes?: Attributes;
}

/** Fan-outs that are in use lie far below; the limit is boxo's. Past it: 422 `manifest-invalid`. */
const FANOUT_MAX = 1024;
const MARK = Buffer.from('\ufeff');
/** Fields of dag-pb: a node's links, and a link's name. */
const LINK_FIELD = 2;
const NAME_FIELD = 2;
const NO_BYTES = new Uint8Array();

/**
 * Reads a dag-pb node.
 * @throws ManifestInvalid when it is not dag-pb, or a UnixFS node that contradicts itself.
 */
export function readUnixfs(cid: string, bytes: Uint8Array): UnixfsNode {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new ManifestInvalid({ cid, reason }, { cause });
  };
  let node: ReturnType<typeof decode>;
  try {
    node = decode(bytes);
  } catch (cause) {
    return refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  const { Data, Links } = node;
  const names = namesWithMarks(bytes);
  const linksOf = (sizes?: readonly bigint[]): NodeLink[] =>
    Links.map(({ Name = '', Tsize, Hash }, index) => ({
      name: names?.[index] ?? Name,
      treeSizeBytes: safe(Tsize),
      sizeBytes: sizes === undefined ? undefined : safe(Number(sizes[index])),
      cid: Hash,
    }));
  const unixfs = Data === undefined ? undefined : unmarshal(Data);
  if (unixfs === undefined)
    return { type: 'plain', data: NO_BYTES, fileSizeBytes: undefined, links: linksOf(), fanout: 0 };
  const data = unixfs.data ?? NO_BYTES;
  const attributes = attributesOf(unixfs);
  const common = {
    data,
    fileSizeBytes: undefined,
    fanout: 0,
    ...(attributes === undefined ? {} : { attributes }),
  };
  switch (unixfs.type) {
    case 'file':
    case 'raw': {
      const sizes = unixfs.blockSizes;
      if (Links.length !== sizes.length)
        return refuse(`it has ${Links.length} links and ${sizes.length} sizes`);
      const links = linksOf(sizes);
      const size = links.reduce((sum, { sizeBytes = Number.NaN }) => sum + sizeBytes, data.length);
      if (!Number.isSafeInteger(size)) return refuse('a size in it is not a size');
      return { ...common, type: 'file', fileSizeBytes: size, links };
    }
    case 'directory':
      return { ...common, type: 'directory', links: linksOf() };
    case 'hamt-sharded-directory': {
      const fanout = Number(unixfs.fanout ?? 0n);
      const isPower = fanout >= 8 && fanout <= FANOUT_MAX && (fanout & (fanout - 1)) === 0;
      if (!isPower) return refuse(`its fan-out is ${fanout}`);
      return { ...common, type: 'shard', links: linksOf(), fanout };
    }
    case 'symlink':
      return { ...common, type: 'symlink', links: [] };
    default:
      return { ...common, type: 'plain', links: linksOf() };
  }
}

/**
 * The file bytes that a block of a file holds: all of a raw one, those inside of a dag-pb one.
 * A view on `bytes`. Empty for a node that is no file.
 */
export function fileBytesOf(codec: Codec, bytes: Uint8Array): Uint8Array {
  if (codec === 'raw') return bytes;
  try {
    const { Data } = decode(bytes);
    const unixfs = Data === undefined ? undefined : unmarshal(Data);
    const isFile = unixfs?.type === 'file' || unixfs?.type === 'raw';
    return (isFile ? unixfs.data : undefined) ?? NO_BYTES;
  } catch {
    return NO_BYTES;
  }
}

/** The target of a link. @throws CidUnsupported */
export const targetOf = ({ cid }: NodeLink): ReadCid => readLink(cid);

function unmarshal(data: Uint8Array): UnixFS | undefined {
  try {
    return UnixFS.unmarshal(data);
  } catch {
    return undefined; // dag-pb may carry anything
  }
}

/**
 * The links' names where one may begin with U+FEFF, which the decoder takes for a byte order mark and
 * drops; undefined when there is none. The bytes were decoded before, so their lengths are right.
 */
function namesWithMarks(bytes: Uint8Array): string[] | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!buffer.includes(MARK)) return undefined;
  const names: string[] = [];
  for (const { field, value: link } of fieldsOf(buffer))
    if (field === LINK_FIELD)
      names.push(
        fieldsOf(link)
          .filter((inner) => inner.field === NAME_FIELD)
          .map(({ value }) => value.toString())
          .join(''),
      );
  return names;
}

/** The fields of a protobuf message that have a length. */
function fieldsOf(message: Buffer): { readonly field: number; readonly value: Buffer }[] {
  const fields: { field: number; value: Buffer }[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < message.length; scale *= 128) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < message.length) {
    const key = varint();
    const length = varint();
    if ((key & 7) !== 2) continue; // a number, which is read
    fields.push({ field: key >> 3, value: message.subarray(at, at + length) });
    at += length;
  }
  return fields;
}

const safe = (value: number | undefined): number | undefined =>
  value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
