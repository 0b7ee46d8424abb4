/** A swarm whose reads need a token, as one command starts it: its peers need none among themselves. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { env } from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  CLI_MAIN,
  download,
  findBasePort,
  health,
  openTemporaryFolder,
  upload,
} from '@shoal/testkit';

const FILE = { name: 'closed.bin', seed: 'closed reads', sizeBytes: 3_000_000 };
const PORTS_PER_PEER = 10;

describe('a swarm whose reads need a token', () => {
  let folder: Awaited<ReturnType<typeof openTemporaryFolder>>;
  let swarm: ChildProcess;
  let gateways: string[];
  let said = '';
  beforeAll(async () => {
    folder = await openTemporaryFolder();
    const basePort = await findBasePort();
    gateways = [0, 1].map((index) => `http://127.0.0.1:${basePort + index * PORTS_PER_PEER}`);
    const args = ['swarm', '--peers', '2', '--base-port', `${basePort}`, '--one-process'];
    swarm = spawn(process.execPath, [CLI_MAIN, ...args, '--data-dir', join(folder.path, 'data')], {
      env: {
        ...env,
        READ: 'token',
        STORAGE_FSYNC: 'false',
        SHOAL_CONFIG_DIR: join(folder.path, 'config'),
      },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    for await (const text of swarm.stdout ?? []) {
      said += String(text);
      if (said.includes('try it:')) break;
    }
  }, 120_000);
  afterAll(async () => {
    swarm.kill('SIGTERM');
    if (swarm.exitCode === null) await once(swarm, 'exit');
    await folder[Symbol.asyncDispose]();
  });

  it('is ready when its peers see each other', () => {
    expect(said).toContain('a swarm of 2 peers is ready');
  });

  it('keeps copies at all of them, and gives them to who has a token', async () => {
    const [first = '', second = ''] = gateways;
    const create = ['token', 'create', '--name', 'a guest', '--may', 'read,write', '--peer', first];
    const made = await promisify(execFile)(process.execPath, [CLI_MAIN, ...create], {
      env: { PATH: env['PATH'], SHOAL_CONFIG_DIR: join(folder.path, 'config') },
    });
    const headers = { authorization: `Bearer ${made.stdout.trim()}` };
    const { status, reply } = await upload(first, FILE, { query: 'copies=2', headers });
    expect([status, reply.copies]).toEqual([201, 2]);
    const got = await download(second, reply.cid, { headers });
    expect([got.status, got.sha256]).toEqual([200, reply.sha256]);
    expect((await download(second, reply.cid)).status).toBe(401);
    await expect(health(second, reply.cid)).rejects.toThrow('wants a token');
  });
});
