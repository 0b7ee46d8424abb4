import { fstatSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type LogFile, openLogFile, readTail } from '../../src/launch/child/log-file.ts';

let folder: string;
let path: string;
let said: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-test-'));
  path = join(folder, 'logs', 'storage.log');
  said = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = () =>
  openLogFile(path, { say: (line) => said.push(line), sizeMaxBytes: 100, checkEveryMs: 5 });

function fdOf(log: LogFile): number {
  const output = log.output();
  if (output === 'ignore') throw new Error('no file');
  return output;
}

async function until(claim: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`never: ${claim}`);
    await sleep(5);
  }
}

describe('a log', () => {
  it('is copied aside and emptied under its writer when it is long', async () => {
    using log = open();
    const fd = fdOf(log);
    writeSync(fd, 'x'.repeat(200));
    await until('turned', async () => (await stat(path)).size === 0);
    expect(await readFile(`${path}.1`, 'utf8')).toBe('x'.repeat(200));
    writeSync(fd, 'after');
    expect(await readFile(path, 'utf8')).toBe('after');
    expect(said).toEqual([]);
  });

  it('that was deleted is said once, stays bounded, and is new for the next process', async () => {
    using log = open();
    const fd = fdOf(log);
    await rm(path);
    await until('said', () => said.length > 0);
    writeSync(fd, 'x'.repeat(200));
    await until('emptied, as its room is taken all the same', () => fstatSync(fd).size === 0);
    expect(said).toEqual([expect.stringContaining(`${path} was moved or deleted`)]);
    writeSync(fdOf(log), 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
  });

  it('whose whole folder is gone comes back with the next process', async () => {
    using log = open();
    await rm(join(folder, 'logs'), { recursive: true });
    await until('said', () => said.length > 0);
    writeSync(fdOf(log), 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
  });

  it('that somebody moved is left as it is', async () => {
    using log = open();
    const fd = fdOf(log);
    const moved = join(folder, 'moved.log');
    await rename(path, moved);
    writeSync(fd, 'x'.repeat(200));
    await until('said', () => said.length > 0);
    expect((await stat(moved)).size).toBe(200);
  });

  it('that can not be copied aside is emptied all the same, and that is said', async () => {
    using log = open();
    const fd = fdOf(log);
    await mkdir(`${path}.1`);
    writeSync(fd, 'x'.repeat(200));
    await until('emptied', async () => (await stat(path)).size === 0);
    await until('said', () => said.length > 0);
    expect(said).toEqual([expect.stringContaining('its lines are lost')]);
  });

  it('that can not be opened keeps nobody from starting, and is tried again', async () => {
    await writeFile(join(folder, 'logs'), 'in its place');
    using log = open();
    expect(log.output()).toBe('ignore');
    expect(said).toEqual([expect.stringContaining("can't be written")]);
    expect(readTail(path)).toBe('');
    await rm(join(folder, 'logs'));
    writeSync(fdOf(log), 'one\ntwo\n');
    expect(readTail(path, 1)).toBe('two');
  });
});
