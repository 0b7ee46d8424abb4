/** `kubo-rpc-client` against the RPC shim: each of its commands, with the token and without. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { MiB } from '@shoal/protocol';
import { download, seededBytes, sha256Of } from '@shoal/testkit';
import { importer } from 'ipfs-unixfs-importer';
import { create } from 'kubo-rpc-client';
import { CID } from 'multiformats/cid';
import { CARS } from './fixtures.ts';
import { untarAsKubo } from './kubo-untar.ts';
import { AUTHORIZATION, type Rig, TEST_TIMEOUT_MS, TOKEN } from './rig.ts';

/** What the CIDs of Shoal are made with; the client's own defaults are another profile's. */
const ADD = { cidVersion: 1, rawLeaves: true, chunker: 'size-1048576' } as const;

export function kuboRpcSuite(rig: () => Rig): void {
  const clientOf = (index: number, headers: Record<string, string> = AUTHORIZATION) =>
    create({ url: `${rig().peer(index).gateway}/api/v0`, headers, timeout: '60s' });

  describe('kubo-rpc-client', { timeout: TEST_TIMEOUT_MS }, () => {
    it('version and id name us and a peer id', async () => {
      const client = clientOf(0);
      assert.match((await client.version()).version, /\d+\.\d+/);
      const { id } = await client.id();
      assert.equal(id.toString(), rig().peer(0).peerId);
    });

    it('is refused without the token, and with another', async () => {
      await assert.rejects(clientOf(0, {}).version());
      await assert.rejects(clientOf(0, { authorization: 'Bearer something else' }).version());
    });

    it('is let in by Basic with the token as the password', async () => {
      const basic = Buffer.from(`anybody:${TOKEN}`).toString('base64');
      assert.match(
        (await clientOf(0, { authorization: `Basic ${basic}` }).version()).version,
        /\d/,
      );
    });

    it('add gives the CID of an upload, with and without progress; cat gives the bytes back', async () => {
      const bytes = seededBytes('rpc', 3 * MiB + 7);
      const seen: number[] = [];
      const result = await clientOf(0).add(
        { path: 'rpc.bin', content: bytes },
        { ...ADD, progress: (done) => seen.push(done) },
      );
      assert.equal(result.path, 'rpc.bin');
      assert.equal(seen.at(-1), bytes.length);
      assert(result.size > bytes.length, 'the size is that of the whole DAG');
      const again = await clientOf(1).add(bytes, ADD);
      assert.equal(again.cid.toString(), result.cid.toString());
      assert.equal(again.cid.toString(), await cidByImporter(bytes));
      assert(Buffer.concat(await collect(clientOf(3).cat(result.cid))).equals(bytes));
      const part = await collect(clientOf(2).cat(result.cid, { offset: MiB - 5, length: 10 }));
      assert(Buffer.concat(part).equals(bytes.subarray(MiB - 5, MiB + 5)));
      const got = await download(rig().peer(4).gateway, result.cid.toString());
      assert.equal(got.sha256, await sha256Of(bytes));
    });

    it('add with the client’s own defaults is not refused', async () => {
      const { cid } = await clientOf(0).add('just text\n', { cidVersion: 1 });
      assert.equal(Buffer.concat(await collect(clientOf(1).cat(cid))).toString(), 'just text\n');
    });

    it('add refuses what would give another CID than asked for', async () => {
      for (const options of [
        { ...ADD, cidVersion: 0 } as const,
        { ...ADD, chunker: 'size-262144' },
        { ...ADD, trickle: true },
        { ...ADD, hashAlg: 'sha2-512' },
      ])
        await assert.rejects(clientOf(0).add('text', options), JSON.stringify(options));
    });

    it('addAll makes a directory, whose paths cat reads', async () => {
      const files = [
        { path: 'folder/a.txt', content: 'a\n' },
        { path: 'folder/größe & more/b.txt', content: 'b\n' },
      ];
      const added = await collect(clientOf(0).addAll(files, ADD));
      const root = added.find(({ path }) => path === 'folder');
      assert(root !== undefined, `it answers ${added.map(({ path }) => path).join()}`);
      assert(added.some(({ path }) => path === 'folder/größe & more/b.txt'));
      const b = await collect(clientOf(1).cat(`/ipfs/${root.cid.toString()}/größe & more/b.txt`));
      assert.equal(Buffer.concat(b).toString(), 'b\n');
    });

    it('add with wrapWithDirectory ends with the directory', async () => {
      const file = { path: 'inside.txt', content: 'inside\n' };
      const added = await collect(clientOf(2).addAll([file], { ...ADD, wrapWithDirectory: true }));
      assert.deepEqual(
        added.map(({ path }) => path),
        ['inside.txt', ''],
      );
      const path = `/ipfs/${added[1]?.cid.toString()}/inside.txt`;
      assert.equal(Buffer.concat(await collect(clientOf(3).cat(path))).toString(), 'inside\n');
    });

    it('ls lists a directory, and get gives it as a TAR', async () => {
      const files = [
        { path: 'listed/a.txt', content: 'a\n', mode: 0o755, mtime: new Date(0) },
        { path: 'listed/sub/b.txt', content: 'bb\n' },
      ];
      const added = await collect(clientOf(0).addAll(files, ADD));
      const cidOf = (path: string) => added.find((entry) => entry.path === path)?.cid.toString();
      const root = cidOf('listed') ?? '';
      const listed = await collect(clientOf(1).ls(CID.parse(root)));
      assert.deepEqual(
        listed.map(({ name, path, size, cid, type }) => [name, path, size, cid.toString(), type]),
        [
          ['a.txt', `${root}/a.txt`, 2, cidOf('listed/a.txt'), 'file'],
          ['sub', `${root}/sub`, 0, cidOf('listed/sub'), 'dir'],
        ],
      );
      const tar = Buffer.concat(await collect(clientOf(2).get(root)));
      assert.deepEqual(
        untarAsKubo(tar).entries.map(({ path, bytes }) => [path, String(bytes)]),
        [
          ['', ''],
          ['a.txt', 'a\n'],
          ['sub', ''],
          ['sub/b.txt', 'bb\n'],
        ],
      );
    });

    it('block put, get and stat', async () => {
      const bytes = seededBytes('rpc block', 5000);
      const cid = await clientOf(0).block.put(bytes, {
        format: 'raw',
        mhtype: 'sha2-256',
        version: 1,
      });
      assert.equal(cid.toString(), await cidByImporter(bytes));
      assert(Buffer.from(await clientOf(1).block.get(cid)).equals(bytes));
      assert.equal((await clientOf(2).block.stat(cid)).size, bytes.length);
    });

    it('dag import takes a CAR as it is and dag export gives it back', async () => {
      const { file, root } = CARS.folders;
      const car = await readFile(new URL(`../fixtures/gateway/${file}`, import.meta.url));
      const results = await collect(clientOf(0).dag.import([car], { pinRoots: true }));
      assert.deepEqual(
        results.map(({ root: pinned }) => [pinned.cid.toString(), pinned.pinErrorMsg ?? '']),
        [[root, '']],
      );
      const exported = Buffer.concat(await collect(clientOf(4).dag.export(CID.parse(root))));
      assert.equal(await sha256Of(exported), await sha256Of(car));
    });

    it('pin add, ls and rm', async () => {
      const client = clientOf(1);
      const { cid } = await client.add('to be pinned\n', ADD);
      const listed = async () => (await collect(client.pin.ls())).map((pin) => pin.cid.toString());
      assert((await listed()).includes(cid.toString()));
      assert.equal((await client.pin.rm(cid)).toString(), cid.toString());
      assert(!(await listed()).includes(cid.toString()));
      await assert.rejects(client.pin.rm(cid));
      assert.equal((await client.pin.add(cid)).toString(), cid.toString());
      assert((await listed()).includes(cid.toString()));
    });

    it('an error reads as Kubo’s do', async () => {
      const absent = 'bafkreifbvngde7yu3osqoovlv4h6b5ikpnkitbolboj3vxx2fameo3ppoy';
      const response = await fetch(`${rig().peer(0).gateway}/api/v0/block/get?arg=${absent}`, {
        method: 'POST',
        headers: AUTHORIZATION,
      });
      assert.equal(response.status, 500);
      const { Message, Code, Type } = (await response.json()) as Record<string, unknown>;
      assert.deepEqual([typeof Message, Code, Type], ['string', 0, 'error']);
      const get = await fetch(`${rig().peer(0).gateway}/api/v0/version`, {
        headers: AUTHORIZATION,
      });
      assert.equal(get.status, 405);
    });
  });
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** What the reference importer calls these bytes. */
async function cidByImporter(bytes: Uint8Array): Promise<string> {
  const store = { put: (cid: CID) => cid };
  const [entry] = await collect(
    importer([{ content: bytes }], store, { profile: 'unixfs-v1-2025' }),
  );
  return String(entry?.cid);
}
