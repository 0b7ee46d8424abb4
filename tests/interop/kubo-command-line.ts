/** Kubo's command line against the RPC shim, with each command that it has here. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { CarReader } from '@ipld/car';
import { MiB } from '@shoal/protocol';
import { seededBytes } from '@shoal/testkit';
import { importer } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';
import { sha256 } from 'multiformats/hashes/sha2';
import { CARS } from './fixtures.ts';
import { createKuboCli, KuboError } from './kubo-cli.ts';
import { untarAsKubo } from './kubo-untar.ts';
import { type Rig, runWell, TEST_TIMEOUT_MS, TOKEN } from './rig.ts';

const LARGE = seededBytes('command line', 2 * MiB + 77);

export function kuboCommandLineSuite(rig: () => Rig): void {
  const ipfs = (index: number) => createKuboCli(rig().peer(index).gateway, TOKEN);

  /** A folder with most of what one may hold. */
  const makeFolder = async (name: string): Promise<string> => {
    const folder = join(rig().folder, name);
    await mkdir(join(folder, 'größe & more', 'empty'), { recursive: true });
    await writeFile(join(folder, 'a+b c.txt'), 'a\n');
    await writeFile(join(folder, 'größe & more', 'large.bin'), LARGE);
    await chmod(join(folder, 'a+b c.txt'), 0o755);
    await symlink('größe & more/large.bin', join(folder, 'link'));
    await writeFile(join(folder, '.hidden'), 'h');
    return folder;
  };
  const hashesOf = (lines: readonly Record<string, unknown>[]) =>
    new Map(
      lines
        .filter(({ Hash }) => Hash !== undefined)
        .map(({ Name, Hash }): [unknown, string] => [Name, String(Hash)]),
    );

  describe('Kubo’s command line', { timeout: TEST_TIMEOUT_MS }, () => {
    it('add FILE gives the CID of the profile, and cat the bytes', async () => {
      const path = join(rig().folder, 'command line.bin');
      await writeFile(path, LARGE);
      const added = await ipfs(0).values('add', { paths: [path] });
      const cid = hashesOf(added).get('command line.bin') ?? '';
      assert.equal(cid, await cidByImporter(LARGE));
      assert(
        added.some(({ Bytes }) => Bytes === LARGE.length),
        'it tells its progress',
      );
      assert((await ipfs(1).bytes('cat', { args: [cid] })).equals(LARGE));
      const options = { offset: MiB - 1, length: 3 };
      const part = await ipfs(2).bytes('cat', { args: [cid], options });
      assert(part.equals(LARGE.subarray(MiB - 1, MiB + 2)));
      const byStdin = await ipfs(3).bytes('cat', { stdin: Buffer.from(`/ipfs/${cid}\n`) });
      assert(byStdin.equals(LARGE));
    });

    it('add refuses to keep modes and times, when that is asked for', async () => {
      const path = join(rig().folder, 'mode.txt');
      await writeFile(path, 'mode');
      for (const option of ['preserve-mode', 'preserve-mtime'])
        await assert.rejects(
          ipfs(0).values('add', { paths: [path], options: { [option]: true } }),
          (error) => error instanceof KuboError && error.message.includes(option),
        );
      const options = { quiet: true, progress: false };
      const [line] = await ipfs(0).values('add', { paths: [path], options });
      assert.equal(line?.['Hash'], await cidByImporter(Buffer.from('mode')));
    });

    it('add -r, ls and get: a folder goes in, is listed, and comes out as it was', async () => {
      const folder = await makeFolder('command-folder');
      const options = { recursive: true };
      const hashes = hashesOf(await ipfs(0).values('add', { paths: [folder], options }));
      const root = hashes.get('command-folder') ?? '';
      const [listed] = await ipfs(1).values('ls', { args: [root] });
      const { Objects = [] } = listed as { Objects?: { Links: Record<string, unknown>[] }[] };
      assert.deepEqual(
        Objects[0]?.Links.map(({ Name, Hash, Size, Type, Target }) => [
          Name,
          Hash,
          Size,
          Type,
          Target,
        ]),
        [
          ['a+b c.txt', hashes.get('command-folder/a+b c.txt'), 2, 2, ''],
          ['größe & more', hashes.get('command-folder/größe & more'), 0, 1, ''],
          ['link', hashes.get('command-folder/link'), 24, 4, 'größe & more/large.bin'],
        ],
      );
      const tar = await ipfs(2).bytes('get', { args: [`/ipfs/${root}`] });
      const { root: name, entries } = untarAsKubo(tar);
      assert.equal(name, root);
      assert.deepEqual(
        entries.map(({ path, kind }) => [path, kind]),
        [
          ['', 'directory'],
          ['a+b c.txt', 'file'],
          ['größe & more', 'directory'],
          ['größe & more/empty', 'directory'],
          ['größe & more/large.bin', 'file'],
          ['link', 'symlink'],
        ],
      );
      const bytesOf = (path: string) => entries.find((entry) => entry.path === path)?.bytes;
      assert(bytesOf('größe & more/large.bin')?.equals(LARGE));
      assert.equal(String(bytesOf('link')), 'größe & more/large.bin');
      const one = await ipfs(3).bytes('get', { args: [`${root}/größe & more/large.bin`] });
      assert.deepEqual(
        untarAsKubo(one).entries.map(({ path, kind, bytes }) => [path, kind, bytes.equals(LARGE)]),
        [['', 'file', true]],
      );
      assert.equal(untarAsKubo(one).root, 'large.bin');
    });

    it('get keeps the archive that -a and -C ask for, and refuses to gzip a folder', async () => {
      const folder = await makeFolder('packed');
      const added = await ipfs(0).values('add', { paths: [folder], options: { recursive: true } });
      const root = hashesOf(added).get('packed') ?? '';
      const get = (options: Record<string, boolean | number>, args = [root]) =>
        ipfs(1).bytes('get', { args, options });
      const plain = await get({ archive: true });
      const gzipped = await get({ archive: true, compress: true, 'compression-level': 1 });
      assert(gunzipSync(gzipped).equals(plain));
      const file = await get({ compress: true }, [`${root}/größe & more/large.bin`]);
      assert(gunzipSync(file).equals(LARGE));
      await assert.rejects(get({ compress: true }), /file is not regular/);
    });

    it('tar unpacks what the gateway gives for ?format=tar', async () => {
      const folder = await makeFolder('for-tar');
      const added = await ipfs(0).values('add', { paths: [folder], options: { recursive: true } });
      const root = hashesOf(added).get('for-tar') ?? '';
      const cwd = rig().folder;
      const url = `${rig().peer(4).gateway}/ipfs/${root}?format=tar`;
      await runWell('curl', ['-sSf', '-o', 'gateway.tar', url], { cwd });
      await runWell('tar', ['xf', 'gateway.tar'], { cwd });
      await runWell('diff', ['-r', '--exclude=.hidden', 'for-tar', root], { cwd });
      assert((await readFile(join(cwd, root, 'link'))).equals(LARGE));
    });

    it('block put, with --format=v0 too, get and stat', async () => {
      const path = join(rig().folder, 'a block');
      const bytes = seededBytes('command block', 5000);
      await writeFile(path, bytes);
      const digest = await sha256.digest(bytes);
      const names = [
        [{}, CID.createV1(0x55, digest)],
        [{ format: 'v0', mhtype: 'sha2-256' }, CID.createV0(digest)],
        [{ format: 'protobuf' }, CID.createV1(0x70, digest)],
        [{ 'cid-codec': 'dag-pb' }, CID.createV1(0x70, digest)],
      ] as const;
      for (const [options, cid] of names) {
        const [put] = await ipfs(0).values('block/put', { paths: [path], options });
        assert.deepEqual(put, { Key: cid.toString(), Size: bytes.length });
        assert((await ipfs(1).bytes('block/get', { args: [cid.toString()] })).equals(bytes));
        const [stat] = await ipfs(2).values('block/stat', { args: [cid.toString()] });
        assert.deepEqual(stat, put);
      }
    });

    it('dag import and export, pin add, ls and rm', async () => {
      const { file, root } = CARS.folders;
      const path = join(import.meta.dirname, '..', 'fixtures', 'gateway', file);
      assert.deepEqual(await ipfs(0).values('dag/import', { paths: [path] }), [
        { Root: { Cid: { '/': root }, PinErrorMsg: '' } },
      ]);
      const car = await ipfs(1).bytes('dag/export', { args: [root], options: { progress: true } });
      assert(car.equals(await readFile(path)));
      const args = [root];
      assert.deepEqual(await ipfs(1).values('pin/add', { args }), [{ Pins: [root] }]);
      const [pins] = await ipfs(1).values('pin/ls', { args });
      assert.deepEqual(pins, { Keys: { [root]: { Type: 'recursive', Name: '' } } });
      const stdin = Buffer.from(`${root}\n`);
      assert.deepEqual(await ipfs(1).values('pin/rm', { stdin }), [{ Pins: [root] }]);
      await assert.rejects(ipfs(1).values('pin/ls', { args }), /is not pinned/);
    });

    it('version 0 stays version 0: import, list, stat, export, get, and the pin', async () => {
      const file = 'path_gateway_unixfs_symlink.car';
      const path = join(import.meta.dirname, '..', 'fixtures', 'gateway', file);
      const [root] = await (await CarReader.fromBytes(await readFile(path))).getRoots();
      const name = String(root);
      assert.match(name, /^Qm/);
      assert.deepEqual(await ipfs(0).values('dag/import', { paths: [path] }), [
        { Root: { Cid: { '/': name }, PinErrorMsg: '' } },
      ]);
      const args = [name];
      const [pins] = await ipfs(1).values('pin/ls', { args });
      assert.deepEqual(Object.keys(pins?.['Keys'] ?? {}), [name]);
      const [stat] = await ipfs(1).values('block/stat', { args });
      assert.equal(stat?.['Key'], name);
      const car = await ipfs(2).bytes('dag/export', { args });
      assert.deepEqual((await (await CarReader.fromBytes(car)).getRoots()).map(String), [name]);
      const stream = await ipfs(3).values('ls', { args, options: { stream: true } });
      const links = stream.flatMap(({ Objects }) => Objects as { Links: { Hash: string }[] }[]);
      assert.equal(links.length, 2);
      assert(links.every(({ Links }) => Links[0]?.Hash.startsWith('Qm')));
      const { root: unpacked, entries } = untarAsKubo(await ipfs(4).bytes('get', { args }));
      assert.equal(unpacked, name);
      assert.deepEqual(
        entries.map((entry) => [entry.path, entry.kind]),
        [
          ['', 'directory'],
          ['bar', 'symlink'],
          ['foo', 'file'],
        ],
      );
      assert.deepEqual(await ipfs(2).values('pin/rm', { args }), [{ Pins: [name] }]);
    });

    it('id and version; what is absent, unknown or without the token is said in words', async () => {
      const [self] = await ipfs(0).values('id');
      assert.equal(self?.['ID'], rig().peer(0).peerId);
      const absent = 'bafkreifbvngde7yu3osqoovlv4h6b5ikpnkitbolboj3vxx2fameo3ppoy';
      for (const command of ['cat', 'get', 'ls', 'block/get'])
        await assert.rejects(ipfs(0).bytes(command, { args: [absent] }), (error) => {
          return error instanceof KuboError && !/content type|EOF|not found$/.test(error.message);
        });
      await assert.rejects(ipfs(0).values('files/ls'), /command not found/);
      const stranger = createKuboCli(rig().peer(0).gateway, 'not the token of this peer');
      await assert.rejects(stranger.values('id'), /write token/);
    });
  });
}

/** What the reference importer calls these bytes. */
async function cidByImporter(bytes: Uint8Array): Promise<string> {
  const store = { put: (cid: CID) => cid };
  for await (const { cid } of importer([{ content: bytes }], store, { profile: 'unixfs-v1-2025' }))
    return String(cid);
  throw new Error('nothing was imported');
}
