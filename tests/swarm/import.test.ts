/** DAGs from outside: another swarm is the outside. */
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DirectoryReply, ImportReply, MiB, SweepReport, UploadReply } from '@shoal/protocol';
import {
  CLI_MAIN,
  download,
  eventually,
  health,
  listFiles,
  openTemporaryFolder,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  sha256Of,
  startPeer,
  startSwarm,
  upload,
} from '@shoal/testkit';
import { request } from 'undici';

/** A service that was killed is up again within this time, also on a full machine. */
const RESTART_MAX_MS = 60_000;

const run = promisify(execFile);
const shoal = async (...args: string[]) =>
  (await run(process.execPath, [CLI_MAIN, ...args])).stdout;

describe('DAGs from outside', () => {
  let outside: RunningPeer;
  let swarm: RunningSwarm;
  let folder: AsyncDisposable & { readonly path: string };
  beforeAll(async () => {
    folder = await openTemporaryFolder();
    outside = await startPeer({ processes: 'per peer' });
    swarm = await startSwarm(2, {
      env: {
        PIN_GATEWAYS: outside.gateway,
        PIN_GATEWAYS_ALLOW_PRIVATE: 'true',
        STORAGE_SWEEP_GRACE_MS: '0', // what was put a moment ago is swept too
      },
      // The first one's chunker is killed alone.
      optionsOf: (index) => ({ processes: index === 0 ? 'per service' : 'per peer' }),
    });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
    await outside[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  const peer = (index: number) => {
    const found = swarm.peers[index];
    if (found === undefined) throw new Error('no such peer');
    return found;
  };
  const file = (seed: string, sizeBytes: number) => ({ name: 'file.bin', seed, sizeBytes });
  /** A CAR of a DAG of the other swarm, as a file. */
  const exportCar = async (cid: string) => {
    const { body } = await request(`${outside.gateway}/ipfs/${cid}?format=car`);
    const path = join(folder.path, `${cid}.car`);
    await writeFile(path, body);
    return path;
  };
  const names = async (index: number) =>
    (await listFiles(peer(index).gateway)).map(({ name }) => name);

  it('are pinned from a gateway that is allowed, and served by another peer', async () => {
    const one = file('outside/one', 5 * MiB + 3);
    const { reply } = await upload(outside.chunker, one, { query: 'copies=1' });
    const wishes = ['--gateway', outside.gateway, '--name', 'from outside', '--json'];
    const answer = await shoal('pin', reply.cid, '--peer', peer(0).gateway, ...wishes);
    const pinned = UploadReply.parse(JSON.parse(answer));
    const sha256 = await sha256Of(seededBytes(one.seed, one.sizeBytes));
    expect(pinned).toMatchObject({ cid: reply.cid, kind: 'file', name: 'from outside', sha256 });
    expect(pinned.copies).toBe(2);
    expect(await download(peer(1).gateway, reply.cid)).toMatchObject({ status: 200, sha256 });
  });

  it('are not pinned from a gateway that is not', async () => {
    const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
    const elsewhere = 'http://127.0.0.1:9';
    const asked = shoal('pin', cid, '--gateway', elsewhere, '--peer', peer(0).gateway);
    await expect(asked).rejects.toThrow(/PIN_GATEWAYS/);
  });

  it('come in as a CAR, and every peer serves their paths', async () => {
    const form = new FormData();
    form.append('file', new Blob(['hello']), 'site/index.html');
    form.append('file', new Blob(['deep']), 'site/a/b/c.txt');
    const added = await fetch(`${outside.gateway}/directories`, { method: 'POST', body: form });
    const { cid, blocks } = DirectoryReply.parse(await added.json());
    const path = await exportCar(cid);
    const line = await shoal('import', path, '--name', 'site', '--peer', peer(0).gateway, '--json');
    const imported = ImportReply.parse(JSON.parse(line));
    expect(imported).toMatchObject({ blocks, unpinned: [] });
    expect(imported.pinned).toMatchObject([{ cid, kind: 'directory', name: 'site', copies: 2 }]);
    for (const { gateway } of swarm.peers) {
      const { body } = await request(`${gateway}/ipfs/${cid}/a/b/c.txt`);
      expect(await body.text()).toBe('deep');
    }
    expect((await health(peer(1).discovery, cid)).state).not.toBe('missing');

    await shoal('import', path, '--peer', peer(1).gateway);
    expect(await names(0)).toContain('site');
  });

  it('are pinned again after they were deleted', async () => {
    const { reply } = await upload(outside.chunker, file('outside/again', MiB + 1), {
      query: 'copies=1',
    });
    const wishes = ['--gateway', outside.gateway, '--name', 'again', '--peer', peer(0).gateway];
    await shoal('pin', reply.cid, ...wishes);
    await shoal('rm', reply.cid, '--peer', peer(0).gateway);
    expect(await names(0)).not.toContain('again');
    await shoal('pin', reply.cid, ...wishes);
    expect(await names(0)).toContain('again');
  });

  it('are brought back at another peer after sweeps, and purged when asked to', async () => {
    const one = file('outside/back', 3 * MiB + 7);
    const { reply } = await upload(outside.chunker, one, { query: 'copies=1' });
    const gateways = ['--gateway', outside.gateway, '--name', 'back'];
    await shoal('pin', reply.cid, ...gateways, '--peer', peer(0).gateway);
    const sweepTwice = async (): Promise<void> => {
      for (const { storage } of [...swarm.peers, ...swarm.peers])
        await eventually('a sweep is not held up', async () => {
          const { body } = await request(`${storage}/sweep`, { method: 'POST' });
          const report = SweepReport.parse(await body.json());
          return report.heldUpBy === undefined;
        });
    };
    const blocksAt = async (index: number): Promise<number> => {
      const path = `/ipfs/${reply.cid}?format=car`;
      const { body } = await request(peer(index).transfer + path, {
        headers: { 'cache-control': 'only-if-cached' },
      });
      return (await body.arrayBuffer().catch(() => new ArrayBuffer(0))).byteLength;
    };
    expect(await blocksAt(0)).toBeGreaterThan(one.sizeBytes);

    await shoal('rm', reply.cid, '--peer', peer(0).gateway);
    await eventually('deleted there too', async () => !(await names(1)).includes('back'));
    await sweepTwice();
    for (const { gateway } of swarm.peers)
      for (const path of [`/files/${reply.cid}`, `/ipfs/${reply.cid}`]) {
        const { statusCode, body } = await request(gateway + path);
        await body.dump();
        expect([path, statusCode]).toEqual([path, 410]);
      }
    expect(await shoal('ls', '--deleted', '--peer', peer(1).gateway)).toContain(reply.cid);
    await shoal('undelete', reply.cid, '--peer', peer(1).gateway);
    const sha256 = await sha256Of(seededBytes(one.seed, one.sizeBytes));
    await eventually('back there too', async () => (await names(0)).includes('back'));
    for (const { gateway } of swarm.peers)
      expect(await download(gateway, reply.cid)).toMatchObject({ status: 200, sha256 });
    expect(await health(peer(0).discovery, reply.cid)).toMatchObject({ copies: 2 });

    await shoal('rm', reply.cid, '--now', '--peer', peer(0).gateway);
    await eventually('purged there too', async () => !(await names(1)).includes('back'));
    await sweepTwice();
    for (const index of [0, 1]) expect(await blocksAt(index)).toBeLessThan(one.sizeBytes / 3);
    await expect(shoal('undelete', reply.cid, '--peer', peer(1).gateway)).rejects.toThrow(
      /upload it again/,
    );
  });

  it('that are cut off are kept nowhere, and the command says so', async () => {
    const { reply } = await upload(outside.chunker, file('outside/cut', 3 * MiB), {
      query: 'copies=1',
    });
    const path = await exportCar(reply.cid);
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length - 10));
    await expect(shoal('import', path, '--peer', peer(0).gateway)).rejects.toThrow(/cut off/);
    expect(await names(1)).not.toContain(reply.cid);
  });

  it('whose chunker dies under them are not listed, and come in again', async () => {
    const { reply } = await upload(outside.chunker, file('outside/dies', 24 * MiB), {
      query: 'copies=1',
    });
    const path = await exportCar(reply.cid);
    const send = (onHalf: () => void) => {
      async function* body() {
        let sent = 0;
        for await (const piece of createReadStream(path)) {
          const bytes = piece as Uint8Array; // no encoding was set
          if (sent < 12 * MiB && sent + bytes.length >= 12 * MiB) onHalf();
          sent += bytes.length;
          yield bytes;
        }
      }
      return request(`${peer(0).gateway}/ipfs`, {
        method: 'POST',
        headers: { 'content-type': 'application/vnd.ipld.car' },
        body: Readable.from(body(), { objectMode: false }),
      });
    };
    const outcome = await send(() => void peer(0).killOne('chunker')).then(
      ({ statusCode }) => statusCode,
      () => 0,
    );
    expect(outcome === 0 || outcome >= 500).toBe(true);
    expect(await names(0)).not.toContain(reply.cid);
    await eventually(
      'it comes in',
      async () => {
        const { statusCode, body } = await send(() => {});
        const json: unknown = await body.json();
        return statusCode < 300 && ImportReply.parse(json).pinned.length === 1;
      },
      { timeoutMs: RESTART_MAX_MS },
    );
    const sha256 = await sha256Of(seededBytes('outside/dies', 24 * MiB));
    expect(await download(peer(1).gateway, reply.cid)).toMatchObject({ status: 200, sha256 });
  });
});
