/** Downloads of files against a stand-in for a gateway: what lies beside and in the way of them. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { runCli } from '../../src/cli.ts';
import { openPipe, targetFault } from '../../src/files/draft.ts';

const A = randomBytes(3_000_000);
const B = randomBytes(3_000_000);
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
let name = 'a.bin';
/** Answers that wait until so many are asked for. */
let together = 1;
const waiting: (() => void)[] = [];
const server = createServer((request, response) => {
  const body = request.url?.includes(hashOf(A)) === true ? A : B;
  waiting.push(() => {
    response.writeHead(200, {
      'content-length': body.length,
      'content-disposition': `attachment; filename="${name}"`,
    });
    response.end(body);
  });
  if (waiting.length >= together) for (const answer of waiting.splice(0)) answer();
});
let peer = '';
let folder = '';
beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  peer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  name = 'a.bin';
  together = 1;
  folder = mkdtempSync(join(tmpdir(), 'shoal-get-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const at = (path: string) => join(folder, path);
async function get(bytes: Uint8Array, ...options: string[]) {
  let err = '';
  const exitCode = await runCli(['get', hashOf(bytes), '--peer', peer, ...options], {
    env: {},
    cwd: folder,
    out: () => {},
    err: (text) => (err += text),
    isWatched: false,
  });
  return { exitCode, err };
}

it('leaves a file alone that is called as a draft might be, and no draft behind', async () => {
  writeFileSync(at('out.part'), 'mine');
  symlinkSync('elsewhere', at('a.bin.part'));
  expect(await get(A, '-o', 'out')).toEqual({ exitCode: 0, err: '' });
  expect(await get(A)).toEqual({ exitCode: 0, err: '' });
  expect(readFileSync(at('out.part'), 'utf8')).toBe('mine');
  expect(readdirSync(folder).toSorted()).toEqual(['a.bin', 'a.bin.part', 'out', 'out.part']);
  expect(readFileSync(at('out')).equals(A)).toBe(true);
});

it.each([251, 253, 255])('writes a file whose name has %d bytes', async (length) => {
  name = 'n'.repeat(length);
  expect(await get(A)).toEqual({ exitCode: 0, err: '' });
  expect(readFileSync(at(name)).equals(A)).toBe(true);
});

it('of two to one name the one that succeeds has its bytes there', async () => {
  together = 2;
  const results = await Promise.all([get(A, '-o', 'same'), get(B, '-o', 'same')]);
  expect(results.map(({ exitCode }) => exitCode).toSorted((a, b) => a - b)).toEqual([0, 1]);
  const winner = results[0].exitCode === 0 ? A : B;
  expect(readFileSync(at('same')).equals(winner)).toBe(true);
  expect(readdirSync(folder)).toEqual(['same']);
});

it('replaces a file that keeps its mode, and one that a link leads to', async () => {
  writeFileSync(at('secret'), 'old');
  chmodSync(at('secret'), 0o640);
  symlinkSync('secret', at('link'));
  expect((await get(A, '-o', 'link')).err).toMatch(/is there already/);
  expect(readFileSync(at('secret'), 'utf8')).toBe('old');
  expect(await get(A, '-o', 'link', '-f')).toEqual({ exitCode: 0, err: '' });
  expect(lstatSync(at('link')).isSymbolicLink()).toBe(true);
  expect(statSync(at('secret')).mode & 0o7777).toBe(0o640);
  expect(readFileSync(at('secret')).equals(A)).toBe(true);
});

it('takes a broken link for something that is there', async () => {
  symlinkSync('new', at('link'));
  expect((await get(A, '-o', 'link')).err).toMatch(/is there already/);
  expect(await get(A, '-o', 'link', '-f')).toEqual({ exitCode: 0, err: '' });
  expect(lstatSync(at('link')).isSymbolicLink()).toBe(true);
  expect(readFileSync(at('new')).equals(A)).toBe(true);
});

it('never replaces a folder', async () => {
  mkdirSync(at('sub'));
  expect((await get(A, '-o', 'sub', '-f')).err).toMatch(/is a folder/);
  expect(readdirSync(folder)).toEqual(['sub']);
});

it.each([
  [
    'a folder that is not there',
    'no/a.bin',
    /^shoal: there is no folder \S*\/no; make it, or choose another -o\n$/,
  ],
  [
    'a file in the place of a folder',
    'file/a.bin',
    /^shoal: \S*\/file is no folder; choose another -o\n$/,
  ],
  ['a link into a folder that is not there', 'link', /^shoal: there is no folder \S*\/no; /],
])('names what is wrong with %s', async (_, output, said) => {
  writeFileSync(at('file'), 'mine');
  symlinkSync('no/there', at('link'));
  const before = readdirSync(folder);
  for (const force of [[], ['-f']]) {
    if (output === 'link' && force.length === 0) continue; // there already
    const { exitCode, err } = await get(A, '-o', output, ...force);
    expect(exitCode).toBe(1);
    expect(err).toMatch(said);
  }
  expect(readdirSync(folder)).toEqual(before);
});

it('names no draft in what the system says of a folder', () => {
  const draft = '/x/.shoal-1.part';
  const said = (code: string) => {
    const cause = Object.assign(new Error(`${code}: it says, open '${draft}'`), { code });
    return targetFault(cause, { draft, path: '/x/a.bin' }).message;
  };
  expect(['ENOENT', 'EACCES', 'EROFS', 'ENAMETOOLONG'].map(said)).toEqual([
    'there is no folder /x any more',
    'the folder /x may not be written to',
    'the folder /x may not be written to',
    "ENAMETOOLONG: it says, open '/x/a.bin'",
  ]);
});

it('can be stopped while nobody reads the pipe', async () => {
  execFileSync('mkfifo', [at('pipe')]);
  const stop = new AbortController();
  const opening = openPipe(at('pipe'), stop);
  stop.abort(new Error('stopped'));
  await expect(opening).rejects.toThrow(/stopped|abort/i);
});

it('writes into a pipe or a device, which stays what it is', async () => {
  expect(await get(A, '-o', '/dev/null', '-f')).toEqual({ exitCode: 0, err: '' });
  expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
  execFileSync('mkfifo', [at('pipe')]);
  const reader = spawn('cat', [at('pipe')], { stdio: ['ignore', 'pipe', 'ignore'] });
  const digest = createHash('sha256');
  reader.stdout.on('data', (piece: Buffer) => void digest.update(piece));
  const [result] = await Promise.all([get(A, '-o', 'pipe'), once(reader, 'close')]);
  expect(result).toEqual({ exitCode: 0, err: '' });
  expect(digest.digest('hex')).toBe(hashOf(A));
  expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
});
