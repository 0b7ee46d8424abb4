/** `ipfs-car`, the command line: what it packs comes in, what we give out it unpacks. */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DirectoryReply, MiB } from '@shoal/protocol';
import { download, seededBytes, sha256Of } from '@shoal/testkit';
import { importCar, importFixture, CARS } from './fixtures.ts';
import { AUTHORIZATION, type Rig, runWell, TEST_TIMEOUT_MS, uploadFile } from './rig.ts';

const PROGRAM = join(import.meta.dirname, 'node_modules', 'ipfs-car', 'bin.js');
const TREE = {
  'readme.txt': Buffer.from('a tree\n'),
  'größe 写真.bin': seededBytes('photo', 70_000),
  'deep/er/still.bin': seededBytes('still', 2 * MiB + 9),
  'empty.txt': Buffer.alloc(0),
} as const;

export function ipfsCarSuite(rig: () => Rig): void {
  const ipfsCar = (...args: readonly string[]): Promise<string> =>
    runWell(process.execPath, ['--no-warnings', PROGRAM, ...args], { cwd: rig().folder });

  describe('ipfs-car', { timeout: TEST_TIMEOUT_MS }, () => {
    it('packs a file to the CID that an upload has, and its CAR comes in under that', async () => {
      const { peer, folder } = rig();
      const file = { name: 'packed.bin', seed: 'packed', sizeBytes: 3 * MiB + 1 };
      const bytes = seededBytes(file.seed, file.sizeBytes);
      await writeFile(join(folder, file.name), bytes);
      await ipfsCar('pack', file.name, '--no-wrap', '--output', 'packed.car');
      const root = (await ipfsCar('roots', 'packed.car')).trim();
      const reply = await importCar(peer(1), await readFile(join(folder, 'packed.car')));
      assert.deepEqual(
        reply.pinned.map(({ cid, kind, sizeBytes }) => [String(cid), kind, sizeBytes]),
        [[root, 'file', file.sizeBytes]],
      );
      const got = await download(peer(3).gateway, root);
      assert.equal(got.sha256, await sha256Of(bytes));
      assert.equal((await uploadFile(peer(2), file)).cid, root);
    });

    it('packs a folder to the CID that the upload of a directory has', async () => {
      const { peer, folder } = rig();
      await writeTree(join(folder, 'tree'));
      await ipfsCar('pack', 'tree', '--no-wrap', '--output', 'tree.car');
      const root = (await ipfsCar('roots', 'tree.car')).trim();
      const form = new FormData();
      for (const [path, bytes] of Object.entries(TREE))
        form.append('file', new Blob([bytes]), `tree/${path}`);
      const response = await fetch(`${peer(0).gateway}/directories?replicas=1&copies=1`, {
        method: 'POST',
        headers: AUTHORIZATION,
        body: form,
      });
      const text = await response.text();
      assert.equal(response.status, 201, text);
      const reply = DirectoryReply.parse(JSON.parse(text));
      assert.equal(reply.cid, root);
      for (const [path, bytes] of Object.entries(TREE)) {
        const url = `${peer(4).gateway}/ipfs/${root}/${path.split('/').map(encodeURIComponent).join('/')}`;
        assert(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(bytes), path);
      }
    });

    it('unpacks what we export, files and folders', async () => {
      const { peer, folder, striped } = rig();
      await exportCar(peer(3).gateway, striped.cid, join(folder, 'striped.car'));
      await ipfsCar('unpack', 'striped.car', '--output', 'striped.bin');
      const unpacked = await readFile(join(folder, 'striped.bin'));
      assert.equal(
        await sha256Of(unpacked),
        await sha256Of(seededBytes(striped.seed, striped.sizeBytes)),
      );
      assert.equal((await ipfsCar('roots', 'striped.car')).trim(), striped.cid);

      const { root } = await importFixture(peer(2), CARS.folders);
      await exportCar(peer(1).gateway, root, join(folder, 'folders.car'));
      await ipfsCar('unpack', 'folders.car', '--output', 'folders');
      const hello = await readFile(join(folder, 'folders', 'subdir', 'hello.txt'), 'utf8');
      assert.equal(hello, 'hello world\n');
      const large = await readFile(join(folder, 'folders', 'subdir', 'multiblock.txt'));
      assert.equal(large.length, 1026);
    });

    it('finds in our export, and in its own pack of it, the same blocks', async () => {
      const { peer, folder } = rig();
      const root = (await ipfsCar('roots', 'tree.car')).trim();
      await exportCar(peer(4).gateway, root, join(folder, 'ours.car'));
      const blocksOf = async (car: string) => new Set((await ipfsCar('blocks', car)).split('\n'));
      assert.deepEqual(await blocksOf('ours.car'), await blocksOf('tree.car'));
      await cp(join(folder, 'ours.car'), join(folder, 'again.car'));
      await ipfsCar('unpack', 'again.car', '--output', 'again');
      for (const [path, bytes] of Object.entries(TREE))
        assert((await readFile(join(folder, 'again', path))).equals(bytes), path);
    });
  });
}

async function writeTree(folder: string): Promise<void> {
  for (const [path, bytes] of Object.entries(TREE)) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
}

async function exportCar(origin: string, cid: string, file: string): Promise<void> {
  const response = await fetch(`${origin}/ipfs/${cid}?format=car`);
  assert.equal(response.status, 200);
  await writeFile(file, Buffer.from(await response.arrayBuffer()));
}
