/** The testkit's own promises, and the command line against real peers. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env } from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { CLI_MAIN } from '@shoal/cli';
import { FileName, UploadReply } from '@shoal/protocol';
import { eventually } from '../../src/eventually.ts';
import { change, listFiles, remove } from '../../src/file-client.ts';
import { isRunning, listChildren } from '../../src/processes.ts';
import { seededBytes } from '../../src/seeded-bytes.ts';
import { listAlive, startSwarm, untilAllSee } from '../../src/start-swarm.ts';
import { openTemporaryFolder } from '../../src/temporary-folder.ts';

const TIMEOUT_MS = 180_000;
const execute = promisify(execFile);

describe('startSwarm', () => {
  it(
    'gives real peers that can be killed, started again, and used from the command line',
    async () => {
      await using swarm = await startSwarm(2);
      await using folder = await openTemporaryFolder();
      const [first, second] = swarm.peers;
      if (first === undefined || second === undefined) throw new Error('two peers were asked for');
      const shoal = (...args: string[]) =>
        execute(process.execPath, [CLI_MAIN, ...args], {
          cwd: folder.path,
          env: { ...env, NODE_OPTIONS: '', INIT_CWD: folder.path },
        });

      // Up to one peer and down from the other.
      const name = FileName.parse('größe 你好.bin');
      const bytes = seededBytes('command line', 3 * 1024 * 1024 + 5);
      await writeFile(join(folder.path, name), bytes);
      const added = await shoal('add', name, '--peer', first.gateway, '--json');
      const { cid, sha256 } = UploadReply.parse(JSON.parse(added.stdout));
      expect(added.stderr).toBe('');
      await expect(shoal('get', cid, '--peer', second.gateway)).rejects.toMatchObject({ code: 1 });
      await shoal('get', cid, '--peer', second.gateway, '-o', 'copy.bin');
      expect(bytes.equals(await readFile(join(folder.path, 'copy.bin')))).toBe(true);
      await shoal('get', sha256 ?? 'a file has one', '--peer', second.gateway, '-f');
      expect(bytes.equals(await readFile(join(folder.path, name)))).toBe(true);
      expect((await shoal('ls', '--peer', second.gateway)).stdout).toContain(cid);
      expect((await shoal('peers', '--peer', first.gateway)).stdout).toContain('alive');

      // What is promised for it, changed at one peer and seen at the other, until it is deleted.
      await shoal('set', cid, '--replicas', '2', '--expires', '7d', '--peer', second.gateway);
      const changed = { replicas: 2, expiresAtMs: expect.any(Number) };
      await eventually('the change is known everywhere', async () => {
        const files = await listFiles(first.gateway);
        return files.some(({ replicas }) => replicas === 2);
      });
      expect(await listFiles(first.gateway)).toEqual([expect.objectContaining(changed)]);
      await change(first.gateway, cid, { expiresAt: null });
      const stat = await shoal('stat', cid, '--peer', first.gateway);
      expect(stat.stdout).toMatch(/state +safe, 2 of 2 copies\n/);
      expect(stat.stdout).toMatch(/expires +never\n/);
      await shoal('rm', cid, '--peer', first.gateway);
      await eventually('it is deleted everywhere', async () => {
        return (await listFiles(second.gateway)).length === 0;
      });
      await expect(shoal('rm', cid, '--peer', first.gateway)).rejects.toMatchObject({ code: 1 });
      await expect(remove(second.gateway, cid)).rejects.toMatchObject({ status: 410 });

      // One process, then the whole peer.
      const chunkerBefore = first.killOne('chunker');
      await eventually('the chunker is started again', () => {
        const chunkerNow = first.processIds().chunker;
        return chunkerNow !== undefined && chunkerNow !== chunkerBefore;
      });
      const all = [second.launcherId, ...Object.values(second.processIds())];
      expect(all).toHaveLength(7);
      await second.kill();
      expect(all.some(isRunning)).toBe(false);
      await eventually('the other sees it go', async () => (await listAlive(first)).length === 1);
      const idBefore = second.peerId;
      await second.start();
      await untilAllSee([first, second], 2);
      expect(second.peerId).toBe(idBefore);

      // In order, and with nothing left behind.
      const { launcherId } = second;
      expect(await second.stop()).toBe(0);
      expect(listChildren(launcherId)).toEqual([]);

      // A wiped disk is a new peer.
      await second.wipe();
      await second.start();
      expect(second.peerId).not.toBe(idBefore);
      await untilAllSee([first, second], 2);
    },
    TIMEOUT_MS,
  );
});
