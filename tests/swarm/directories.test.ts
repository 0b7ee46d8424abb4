/** Folders on their way in and out, by the commands that people type. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DirectoryReply, MiB, UploadReply } from '@shoal/protocol';
import {
  CLI_MAIN,
  eventually,
  health,
  listFiles,
  openTemporaryFolder,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  startSwarm,
} from '@shoal/testkit';
import { request } from 'undici';

/** More than fit in one node of a directory. */
const MANY = 5200;
/** A service that was killed is up again within this time, also on a full machine. */
const RESTART_MAX_MS = 60_000;

const run = promisify(execFile);
const shoal = async (...args: string[]) =>
  (await run(process.execPath, [CLI_MAIN, ...args], { maxBuffer: 64 * MiB })).stdout;

/** Everything in a folder: files as text, symlinks as their targets, empty folders by name. */
async function treeOf(folder: string, prefix = ''): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  const entries = await readdir(folder, { withFileTypes: true });
  if (entries.length === 0) tree[`${prefix}.`] = 'empty';
  for (const entry of entries) {
    const path = join(folder, entry.name);
    const name = prefix + entry.name;
    if (entry.isDirectory()) Object.assign(tree, await treeOf(path, `${name}/`));
    else if (entry.isSymbolicLink()) tree[name] = `-> ${await readlink(path)}`;
    else tree[name] = (await readFile(path)).toString('latin1');
  }
  return tree;
}

describe('directories', () => {
  let swarm: RunningSwarm;
  let peers: readonly RunningPeer[];
  let folder: AsyncDisposable & { readonly path: string };
  beforeAll(async () => {
    folder = await openTemporaryFolder();
    swarm = await startSwarm(3, {
      // The first one's chunker is killed alone.
      optionsOf: (index) => ({ processes: index === 0 ? 'per service' : 'per peer' }),
    });
    ({ peers } = swarm);
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  const peer = (index: number) => {
    const found = peers[index];
    if (found === undefined) throw new Error('no such peer');
    return found;
  };
  const listed = async (name: string) =>
    (await listFiles(peer(0).gateway)).some((entry) => entry.name === name);

  it('go in with add -r and come out of another peer as they were', async () => {
    const source = join(folder.path, 'reise nach täby');
    await mkdir(join(source, 'sub/empty'), { recursive: true });
    await writeFile(join(source, 'a.txt'), 'a');
    await writeFile(join(source, 'none'), '');
    await writeFile(join(source, 'sub/big.bin'), seededBytes('directories/big', 3 * MiB + 7));
    await writeFile(join(source, 'sub/50 % "off" ö'), 'x');
    await symlink('../a.txt', join(source, 'sub/link'));
    await writeFile(join(source, '.hidden'), 'not this');
    for (const name of ['back\\slash', 'Icon\r', '\u202egpj.exe'])
      await writeFile(join(source, 'sub', name), 'y');
    const wishes = ['--no-hidden', '--replicas', '2', '--copies', '2', '--json'];
    const line = await shoal('add', '-r', source, '--peer', peer(0).gateway, ...wishes);
    const reply = DirectoryReply.parse(JSON.parse(line));
    expect(reply).toMatchObject({
      kind: 'directory',
      name: 'reise nach täby',
      sizeBytes: 3 * MiB + 7 + 2 + 3,
      entries: 10,
      url: `/ipfs/${reply.cid}/`,
    });
    expect(reply.copies).toBeGreaterThanOrEqual(2);
    expect((await health(peer(2).discovery, reply.cid)).copies).toBeGreaterThanOrEqual(2);

    const target = join(folder.path, 'out');
    await shoal('get', reply.cid, '-o', target, '--peer', peer(1).gateway);
    const { '.hidden': hidden, ...expected } = await treeOf(source);
    expect(hidden).toBe('not this');
    expect(await treeOf(target)).toEqual(expected);
    // It is not written over, and nothing is left of the try.
    await expect(shoal('get', reply.cid, '-o', target, '--peer', peer(1).gateway)).rejects.toThrow(
      /is there already/,
    );
    expect((await readdir(folder.path)).toSorted()).toEqual(['out', 'reise nach täby']);

    const path = `/ipfs/${reply.cid}/sub/${encodeURIComponent('50 % "off" ö')}`;
    const { body, statusCode } = await request(peer(2).gateway + path);
    expect([statusCode, await body.text()]).toEqual([200, 'x']);
  });

  it(`of ${MANY} files go in within a minute or two, and come out`, async () => {
    const source = join(folder.path, 'many');
    await mkdir(source);
    for (let at = 0; at < MANY; at += 1)
      await writeFile(join(source, `${at} ${'of many '.repeat(6)}`), `file ${at}`);
    const startMs = performance.now();
    const line = await shoal('add', '-r', source, '--peer', peer(1).gateway, '--json');
    expect(performance.now() - startMs).toBeLessThan(120_000);
    const reply = DirectoryReply.parse(JSON.parse(line));
    expect(reply.entries).toBe(MANY);
    // The root is a HAMT: the nodes are more than one.
    expect(reply.blocks).toBeGreaterThan(MANY + 1);
    const target = join(folder.path, 'many out');
    await shoal('get', reply.cid, '-o', target, '--peer', peer(2).gateway);
    expect(await treeOf(target)).toEqual(await treeOf(source));
  });

  it('whose upload dies with the chunker are not listed, and can be sent again', async () => {
    const boundary = 'b';
    const part = (name: string) =>
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="dies/${name}"\r\n\r\n`,
      );
    async function* form(atHalf: () => void) {
      yield part('one');
      yield seededBytes('directories/one', 2 * MiB);
      yield Buffer.from('\r\n');
      yield part('two');
      yield seededBytes('directories/two', 2 * MiB);
      atHalf();
      yield Buffer.from(`\r\n--${boundary}--\r\n`);
    }
    const send = (atHalf: () => void) =>
      request(`${peer(0).gateway}/directories`, {
        method: 'POST',
        headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
        body: Readable.from(form(atHalf), { objectMode: false }),
      });
    const outcome = await send(() => void peer(0).killOne('chunker')).then(
      ({ statusCode }) => statusCode,
      () => 0,
    );
    expect(outcome === 0 || outcome >= 500).toBe(true);
    expect(await listed('dies')).toBe(false);
    await eventually(
      'the chunker is back and takes it',
      async () => {
        const { statusCode, body } = await send(() => {});
        const json: unknown = await body.json();
        return statusCode < 300 && UploadReply.parse(json).name === 'dies';
      },
      { timeoutMs: RESTART_MAX_MS },
    );
    expect(await listed('dies')).toBe(true);
  });
});
