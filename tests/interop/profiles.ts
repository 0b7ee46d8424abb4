/**
 * The CIDs of the profile that IPIP-499 calls `unixfs-v1-2025`, for its public test bytes: what a peer
 * answers, compared with what the reference importer makes of the same bytes.
 */
import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { env } from 'node:process';
import { describe, it } from 'node:test';
import { encode } from '@ipld/dag-pb';
import { DirectoryReply, MiB } from '@shoal/protocol';
import { upload } from '@shoal/testkit';
import { UnixFS } from 'ipfs-unixfs';
import { importer } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';
import { AUTHORIZATION, type Rig, TEST_TIMEOUT_MS } from './rig.ts';

/** Importer options are changed by the importer: a fresh object each time. */
const profile = () => ({ profile: 'unixfs-v1-2025' }) as const;
const SIZES = [0, 1, MiB - 1, MiB, MiB + 1, 2 * MiB, 5 * MiB + 1, 64 * MiB];
/** Two full levels, and the first byte past them: with SHOAL_BIG=1. */
const BIG_SIZES = [1024 * MiB, 1024 * MiB + 1];
const BIG_TIMEOUT_MS = 600_000;
/** Past this a directory's block becomes a HAMT. */
const FLAT_SIZE_MAX_BYTES = 256 * 1024;
const [NAME_LENGTH, NAME_LENGTH_MAX] = [200, 250];
const EMPTY_FILE = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const EMPTY_DIRECTORY = 'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354';

export function profileSuite(rig: () => Rig): void {
  describe('the profile unixfs-v1-2025', { timeout: BIG_TIMEOUT_MS }, () => {
    for (const sizeBytes of env['SHOAL_BIG'] === '1' ? [...SIZES, ...BIG_SIZES] : SIZES)
      it(`a file of ${sizeBytes} bytes`, async () => {
        const seed = `shoal ${sizeBytes}`;
        const file = { name: `${sizeBytes}.bin`, seed, sizeBytes };
        const { reply } = await upload(rig().peer(sizeBytes).gateway, file, {
          query: 'replicas=1&copies=1',
          headers: AUTHORIZATION,
          body: keyStream(seed, sizeBytes),
        });
        assert.equal(reply.cid, await importedCid([{ content: keyStream(seed, sizeBytes) }]));
      });

    it('the empty file and the empty directory are the ones everybody knows', async () => {
      assert.equal(await importedCid([{ content: new Uint8Array() }]), EMPTY_FILE);
      const { reply } = await upload(
        rig().peer(0).gateway,
        { name: 'empty', seed: '', sizeBytes: 0 },
        { query: 'replicas=1&copies=1', headers: AUTHORIZATION },
      );
      assert.equal(reply.cid, EMPTY_FILE);
      const form = new FormData();
      const type = 'application/x-directory';
      form.append('file', new Blob([], { type }), 'nothing');
      assert.equal((await uploadDirectory(rig(), form)).cid, EMPTY_DIRECTORY);
    });

    for (const [what, over] of [
      ['exactly 256 KiB stays flat', 0],
      ['256 KiB and one byte is sharded', 1],
    ] as const)
      it(`a directory whose block has ${what}`, { timeout: TEST_TIMEOUT_MS }, async () => {
        const names = namesFor(FLAT_SIZE_MAX_BYTES + over);
        const bytes = Buffer.from('x');
        const form = new FormData();
        for (const name of names) form.append('file', new Blob([bytes]), `d/${name}`);
        const reply = await uploadDirectory(rig(), form);
        const wanted = await importedCid(
          names.map((name) => ({ path: `d/${name}`, content: bytes })),
        );
        assert.equal(reply.cid, wanted);
        assert.equal(reply.entries, names.length);
        // Flat it is one block beside its one file's; sharded it has one for each shard too.
        const root = await fetch(`${rig().peer(2).gateway}/ipfs/${reply.cid}?format=raw`);
        const size = (await root.arrayBuffer()).byteLength;
        assert.equal(size === FLAT_SIZE_MAX_BYTES, over === 0);
      });
  });
}

async function uploadDirectory({ peer }: Rig, body: FormData): Promise<DirectoryReply> {
  const response = await fetch(`${peer(0).gateway}/directories?replicas=1&copies=1`, {
    method: 'POST',
    headers: AUTHORIZATION,
    body,
  });
  const text = await response.text();
  assert.equal(response.status, 201, text);
  return DirectoryReply.parse(JSON.parse(text));
}

interface Source {
  readonly path?: string;
  readonly content: Uint8Array | AsyncIterable<Uint8Array>;
}

/** The root that the reference importer gives. */
async function importedCid(sources: readonly Source[]): Promise<string> {
  const blocks = new Map<string, Uint8Array>();
  const store = {
    put(cid: CID, bytes: Uint8Array) {
      // Leaves are never read again, and may be a GiB.
      if (cid.code !== 0x55) blocks.set(cid.toString(), bytes);
      return cid;
    },
    get(cid: CID): Uint8Array {
      const bytes = blocks.get(cid.toString());
      if (bytes === undefined) throw new Error(`no block ${cid.toString()}`);
      return bytes;
    },
  };
  let root = '';
  for await (const { cid } of importer(sources, store, profile())) root = cid.toString();
  return root;
}

/** Kubo's deterministic test bytes: the ChaCha20 key stream of sha256(seed), nonce and counter zero. */
async function* keyStream(seed: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('chacha20', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(MiB);
  for (let left = sizeBytes; left > 0; left -= MiB)
    yield cipher.update(left < MiB ? zeros.subarray(0, left) : zeros);
}

/** Names of one-byte files that make a flat directory's block exactly this large. */
function namesFor(sizeBytes: number): string[] {
  const Hash = CID.parse('bafkreibnkx4tzn2gl5jhw2czhivnsy6a7ndcb2cfjjlimkvndfpikgrwb4');
  const Data = new UnixFS({ type: 'directory' }).marshal();
  const sizeOf = (names: readonly string[]): number =>
    encode({ Data, Links: names.map((Name) => ({ Name, Hash, Tsize: 1 })) }).length;
  const name = (index: number, length: number): string =>
    String(index).padStart(5, '0').padEnd(length, 'n');
  const one = sizeOf([name(0, NAME_LENGTH)]) - sizeOf([]);
  const count = Math.floor((sizeBytes - sizeOf([])) / one);
  const all = Array.from({ length: count }, (_, index) => name(index, NAME_LENGTH));
  // A byte more in a name is a byte more in the block, as long as no length grows by a digit.
  let missing = sizeBytes - sizeOf(all);
  for (let index = count - 1; missing > 0; index -= 1) {
    const more = Math.min(missing, NAME_LENGTH_MAX - NAME_LENGTH);
    all[index] = name(index, NAME_LENGTH + more);
    missing -= more;
  }
  assert.equal(sizeOf(all), sizeBytes);
  return all;
}
