/** Uploads against a stand-in for a gateway: what is sent, what is said, and the exit code. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { runCli } from '../../src/cli.ts';

const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const REPLY = {
  cid: CID,
  kind: 'directory',
  name: 'x',
  sizeBytes: 1,
  blocks: 1,
  copies: 2,
  replicas: 3,
  state: 'spreading',
  url: '/files/x',
  entries: 1,
  treeSizeBytes: 1,
};
let sent: { readonly url: string; readonly body: string }[] = [];
/** What happens once the first bytes of an upload are here. */
let onFirst = () => {};
const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => {
    if (pieces.push(piece) === 1) onFirst();
  });
  request.on('end', () => {
    sent.push({ url: request.url ?? '', body: Buffer.concat(pieces).toString() });
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(REPLY));
  });
  request.on('error', () => {}); // one that broke off is not listed
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
  sent = [];
  onFirst = () => {};
  folder = mkdtempSync(join(tmpdir(), 'shoal-add-'));
  mkdirSync(join(folder, 'f'));
  writeFileSync(join(folder, 'f/good'), 'good bytes');
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function add(...words: string[]) {
  let [out, err] = ['', ''];
  const exitCode = await runCli(['add', ...words], {
    env: { SHOAL_PEER: peer },
    cwd: folder,
    out: (text) => (out += text),
    err: (text) => (err += text),
    isWatched: false,
  });
  return { exitCode, out, err };
}

it('sends the rest, lists what was left out, and fails', async () => {
  writeFileSync(join(folder, 'f/.env'), '');
  writeFileSync(Buffer.concat([Buffer.from(join(folder, 'f/\u001b')), Buffer.of(0xff)]), '');
  const { exitCode, out, err } = await add('-r', 'f');
  expect([exitCode, out]).toEqual([1, expect.stringContaining(CID)]);
  expect(err).toBe(
    'shoal: f/\\u001b\ufffd was left out: its name is not valid UTF-8\n' +
      'shoal: f/.env was left out: hidden; --hidden takes it, --no-hidden leaves it out\n',
  );
  expect(sent[0]?.body).toContain('good bytes');
});

it('is content when hidden files are taken, or left out on purpose', async () => {
  writeFileSync(join(folder, 'f/.env'), '');
  expect(await add('-r', 'f', '--no-hidden')).toMatchObject({ exitCode: 0, err: '' });
  expect(await add('-r', 'f', '--hidden')).toMatchObject({ exitCode: 0, err: '' });
  expect(sent.map(({ body }) => body.includes('.env'))).toEqual([false, true]);
  expect((await add('-r', 'f', '--hidden', '--no-hidden')).exitCode).toBe(64);
});

it('takes every word behind "--" for a path', async () => {
  writeFileSync(join(folder, '--help'), 'helpful');
  writeFileSync(join(folder, '-h'), 'short');
  const { exitCode, out } = await add('--', '--help', '-h');
  expect([exitCode, out.split(CID).length]).toEqual([0, 3]);
  expect(sent.map(({ body }) => body)).toEqual(['helpful', 'short']);
});

it('says which file changed while it was sent', async () => {
  writeFileSync(join(folder, 'log'), Buffer.alloc(4_000_000));
  onFirst = () => writeFileSync(join(folder, 'log'), 'new', { flag: 'a' });
  const { exitCode, err } = await add('log');
  expect([exitCode, err]).toEqual([
    1,
    expect.stringMatching(/^shoal: log changed while it was sent/),
  ]);
});

it("tells a fault of the file from one of the connection, with the file's name", async () => {
  const { exitCode, err } = await add('/proc/self/mem');
  expect([exitCode, sent]).toEqual([1, []]);
  expect(err).toMatch(/\/proc\/self\/mem can't be read/);
  writeFileSync(join(folder, 'log'), Buffer.alloc(8_000_000));
  onFirst = () => writeFileSync(join(folder, 'log'), 'short');
  const cut = await add('log');
  expect(cut.exitCode).toBe(1);
  expect(cut.err).toMatch(/log changed while it was sent/);
  expect(cut.err).not.toContain('connection');
});

it('states modes and times only when it is asked to, and says what that means', async () => {
  chmodSync(join(folder, 'f/good'), 0o640);
  await add('-r', 'f');
  await add('f/good');
  const { err } = await add('-r', 'f', '--preserve');
  expect(err).toMatch(/CIDs are other ones/);
  await add('f/good', '--preserve');
  expect(sent.slice(0, 2).map(({ url, body }) => /mode=|mtime=/.test(url + body))).toEqual([
    false,
    false,
  ]);
  expect(sent[2]?.body).toMatch(
    /name="file\?mode=0640&mtime=\d+&mtime-nsecs=\d+"; filename="f%2Fgood"/,
  );
  expect(sent[3]?.url).toMatch(/mode=0640&mtime=\d+&mtime-nsecs=\d+/);
});

it('refuses a name that lists can not show before anything is sent', async () => {
  writeFileSync(join(folder, 'back\\slash'), 'x');
  const { exitCode, err } = await add('back\\slash');
  expect([exitCode, sent]).toEqual([1, []]);
  expect(err).toMatch(/path separator.*--name/);
  expect((await add('back\\slash', '--name', 'plain')).exitCode).toBe(0);
});

it('refuses devices and sockets that are named, sends nothing, and goes on to the next', async () => {
  const socket = createSocket().listen(join(folder, 'socket'));
  await once(socket, 'listening');
  const { exitCode, out, err } = await add('/dev/null', '/dev/zero', 'socket', 'f/good');
  socket.close();
  expect([exitCode, out]).toEqual([1, expect.stringContaining(CID)]);
  expect(err).toMatch(
    /\/dev\/null: it is a device.*\n.*\/dev\/zero: it is a device.*\n.*it is a socket/,
  );
  expect(sent.map(({ body }) => body)).toEqual(['good bytes']);
});

it('sends what comes out of a pipe to its end', async () => {
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  const adding = add('pipe', '--name', 'x');
  await writeInto(join(folder, 'pipe'), async (pipe) => {
    await pipe.write('first, ');
    await pipe.write('last');
  });
  expect(await adding).toMatchObject({ exitCode: 0, err: '' });
  expect(sent).toEqual([{ url: '/files?name=x', body: 'first, last' }]);
});

it.each(['a pipe without a word', 'more on standard input'])(
  'ends at once when it is stopped while it waits for %s',
  async (what) => {
    const isPipe = what.startsWith('a pipe');
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    const asked = once(server, 'request');
    const words = isPipe ? ['pipe'] : ['-', '--name', 'x'];
    const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
    const command = spawn(process.execPath, [main, 'add', ...words, '--peer', peer], {
      cwd: folder,
      env: {},
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    command.stdin.write('some'); // with it the request begins
    let err = '';
    command.stderr.on('data', (piece: Buffer) => (err += piece.toString()));
    const ended = once(command, 'close');
    const stop = async () => {
      if (!isPipe) await asked;
      command.kill('SIGTERM');
      expect(await ended).toEqual([1, null]); // by itself, and not killed
    };
    await (isPipe ? writeInto(join(folder, 'pipe'), stop) : stop());
    expect(err).toBe('shoal add: stopped\n');
  },
);

/** Holds the writing end of a pipe, once somebody reads it. */
async function writeInto(
  path: string,
  use: (pipe: Awaited<ReturnType<typeof open>>) => Promise<unknown>,
): Promise<void> {
  for (;;) {
    try {
      await using pipe = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
      await use(pipe);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
    }
    await sleep(20); // nobody reads it yet
  }
}
