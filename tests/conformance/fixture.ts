/**
 * A fixture CAR read with the reference libraries, so that what a gateway answers is compared with
 * what others make of the same blocks and not with what our own code does.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CarReader } from '@ipld/car';
import { decode } from '@ipld/dag-pb';
import { UnixFS } from 'ipfs-unixfs';
import { CID } from 'multiformats/cid';

const FOLDER = join(import.meta.dirname, '..', 'fixtures', 'gateway');
const DAG_PB = 0x70;

/** The files of `tests/fixtures/gateway`, without `.car`; its README says what each holds. */
export const FIXTURES = [
  'dir_listing_fixtures',
  'gateway-cache_fixtures',
  'gateway-raw-block',
  'path_gateway_tar_fixtures',
  'path_gateway_tar_inside-root',
  'path_gateway_tar_outside-root',
  'path_gateway_unixfs_dir-with-files',
  'path_gateway_unixfs_dir-with-percent-encoded-filename',
  'path_gateway_unixfs_symlink',
  'trustless_gateway_car_dir-with-dag-cbor-with-links',
  'trustless_gateway_car_dir-with-duplicate-files',
  'trustless_gateway_car_file-3k-and-3-blocks-missing-block',
  'trustless_gateway_car_single-layer-hamt-with-multi-block-files',
  'trustless_gateway_car_subdir-with-mixed-block-files',
  'trustless_gateway_car_subdir-with-two-single-block-files',
] as const;
export type FixtureName = (typeof FIXTURES)[number];

export interface FixtureBlock {
  readonly cid: string;
  readonly bytes: Uint8Array;
}

export interface Fixture {
  readonly car: Buffer;
  readonly root: string;
  /** In the order of the file. */
  readonly blocks: readonly FixtureBlock[];
  /** The CID that a path below the root leads to. */
  cidOf(...path: readonly string[]): string;
  /** The block that a path leads to. */
  blockOf(...path: readonly string[]): Uint8Array;
  /** The bytes of the file that a path leads to. */
  fileOf(...path: readonly string[]): Buffer;
  /** From the root to what a path leads to, shards on the way included. */
  wayTo(...path: readonly string[]): string[];
  /** All blocks of a DAG, depth first, duplicates included; those that the file lacks as well. */
  dagOf(cid: string): string[];
  /** The nodes of one directory, shards included, without its entries. */
  directoryOf(cid: string): string[];
}

interface Node {
  readonly type: string;
  readonly data: Uint8Array;
  readonly links: readonly { readonly name: string; readonly cid: string }[];
}

/** Reads one fixture. */
export async function readFixture(name: FixtureName): Promise<Fixture> {
  const car = await readFile(join(FOLDER, `${name}.car`));
  const reader = await CarReader.fromBytes(car);
  const [first] = await reader.getRoots();
  if (first === undefined) throw new Error(`${name} has no root`);
  const blocks: FixtureBlock[] = [];
  for await (const { cid, bytes } of reader.blocks()) blocks.push({ cid: cid.toString(), bytes });
  const byCid = new Map(blocks.map(({ cid, bytes }) => [cid, bytes]));
  const root = first.toString();

  const bytesOf = (cid: string): Uint8Array => {
    const bytes = byCid.get(cid);
    if (bytes === undefined) throw new Error(`${name} has no block ${cid}`);
    return bytes;
  };
  const nodeOf = (cid: string): Node | undefined =>
    CID.parse(cid).code === DAG_PB && byCid.has(cid) ? readNode(bytesOf(cid)) : undefined;
  const wayTo = (...path: readonly string[]): string[] =>
    path.reduce(
      (way, segment) => {
        const next = step(nodeOf, way.at(-1) ?? root, segment);
        if (next === undefined) throw new Error(`${name} has no ${path.join('/')}`);
        return [...way, ...next];
      },
      [root],
    );
  const cidOf = (...path: readonly string[]): string => wayTo(...path).at(-1) ?? root;
  const dagOf = (cid: string): string[] => [
    cid,
    ...(nodeOf(cid)?.links ?? []).flatMap((link) => dagOf(link.cid)),
  ];
  const fileBytes = (cid: string): Uint8Array[] => {
    const node = nodeOf(cid);
    return node === undefined
      ? [bytesOf(cid)]
      : [node.data, ...node.links.flatMap((link) => fileBytes(link.cid))];
  };
  const directoryOf = (cid: string): string[] => {
    const shards = (nodeOf(cid)?.links ?? []).filter((link) => isShard(nodeOf(link.cid)));
    return [cid, ...shards.flatMap((link) => directoryOf(link.cid))];
  };
  return {
    car,
    root,
    blocks,
    cidOf,
    blockOf: (...path) => bytesOf(cidOf(...path)),
    fileOf: (...path) => Buffer.concat(fileBytes(cidOf(...path))),
    wayTo,
    dagOf,
    directoryOf,
  };
}

/** The blocks from a directory to its entry `name`: one, or several in a sharded one. */
function step(
  nodeOf: (cid: string) => Node | undefined,
  cid: string,
  name: string,
): readonly string[] | undefined {
  const node = nodeOf(cid);
  for (const link of node?.links ?? []) {
    if (link.name === name) return [link.cid];
    if (!isShard(node)) continue;
    // In a shard an entry's name stands behind the slot's two hex digits; those alone are a shard.
    if (link.name.slice(2) === name) return [link.cid];
    const below = link.name.length === 2 ? step(nodeOf, link.cid, name) : undefined;
    if (below !== undefined) return [link.cid, ...below];
  }
  return undefined;
}

const isShard = (node: Node | undefined): boolean => node?.type === 'hamt-sharded-directory';

function readNode(bytes: Uint8Array): Node {
  const { Data, Links } = decode(bytes);
  const { type, data } = UnixFS.unmarshal(Data ?? new Uint8Array());
  const links = Links.map(({ Name, Hash }) => ({ name: Name ?? '', cid: Hash.toString() }));
  // A shard's data is its bit field.
  return { type, data: type === 'file' ? (data ?? new Uint8Array()) : new Uint8Array(), links };
}
