import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

const RUN = new URL('../../src/process/run.ts', import.meta.url).href;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a service', () => {
  // /dev/full is a disk without room for one byte.
  it('lives on when its log is on a full disk', async () => {
    if (!existsSync('/dev/full')) return; // only Linux has it
    const heard: string[] = [];
    const reports = createServer((request, response) => {
      heard.push(request.url ?? '');
      response.end();
    }).listen(0, '127.0.0.1');
    await once(reports, 'listening');
    const { port } = reports.address() as AddressInfo; // it listens on TCP
    const main = join(folder, 'main.mjs');
    await writeFile(
      main,
      `import { runService } from ${JSON.stringify(RUN)};
       const config = { LOG_LEVEL: 'info', SHUTDOWN_TIMEOUT_MS: 1000 };
       const start = async (log) => {
         setInterval(async () => {
           console.error('as lmdb does'); console.log('and others'); process.emitWarning('and node'); log.error('and we');
           await fetch('http://127.0.0.1:${port}/alive').catch(() => {});
         }, 10);
         return { origin: 'http://test', [Symbol.asyncDispose]: async () => {} };
       };
       await runService({ name: 'test', configure: () => ({ config, start }) }, process.env);`,
    );
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [main], { stdio: ['ignore', full, full] });
    closeSync(full);
    const ended = once(child, 'exit');
    let exitCode: unknown = 'none';
    void ended.then(([code, signal]: unknown[]) => (exitCode = code ?? signal));
    try {
      while (heard.length < 20 && exitCode === 'none')
        await Promise.race([once(reports, 'request'), ended]);
      expect(exitCode).toBe('none');
      child.kill('SIGTERM');
      await ended;
      expect(exitCode).toBe(0);
    } finally {
      child.kill('SIGKILL');
      reports.close();
      reports.closeAllConnections();
    }
  });
});
