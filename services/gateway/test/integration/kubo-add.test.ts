import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { MiB, PROBLEM_TYPE, StorageFull } from '@shoal/protocol';
import {
  type Asked,
  cidOf,
  entryOf,
  form,
  lines,
  open,
  part,
  ROOT,
  rpc,
  service,
  TOKEN,
} from './kubo-stand.ts';
import { until } from './support.ts';

describe('add', () => {
  it('uploads each file of a form as it is, and answers a line for each', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      chunker: service(asked, ({ body }) => entryOf(hashBlock('raw', body), 'x', body.length)),
    });
    const query = 'add?stream-channels=true&cid-version=1&pin=true&progress=false';
    const body = form(part('a%20b.txt', 'hello world'), part('', 'no name'), part('c+d', 'x'));
    const { status, headers, text } = await rpc(gateway.origin, query, { body });
    expect(status).toBe(200);
    expect(headers['x-chunked-output']).toBe('1');
    expect(headers['content-type']).toBe('application/json');
    const unnamed = cidOf('no name');
    expect(lines(text)).toEqual([
      { Name: 'a b.txt', Hash: cidOf('hello world'), Size: '11' },
      { Name: unnamed, Hash: unnamed, Size: '7' },
      { Name: 'c d', Hash: cidOf('x'), Size: '1' },
    ]);
    expect(asked.map(({ line }) => line)).toEqual([
      'POST /files?name=a+b.txt',
      'POST /files?name=unnamed',
      'POST /files?name=c+d',
    ]);
    expect(asked.map(({ authorization }) => authorization)).toEqual(
      asked.map(() => `Bearer ${TOKEN}`),
    );
    expect(asked[0]?.type).toBe('application/octet-stream');
  });

  it('passes a directory on as one form, and answers what is in it before itself', async () => {
    const asked: Asked[] = [];
    const item = (path: string, kind: string) => ({
      path,
      kind,
      cid: cidOf(path),
      sizeBytes: 1,
      treeSizeBytes: 9,
    });
    const answer = {
      ...entryOf(ROOT, 'dir', 2),
      kind: 'directory',
      entries: 3,
      treeSizeBytes: 99,
      items: [item('a', 'file'), item('sub', 'directory'), item('sub/ü b', 'file')],
    };
    await using gateway = await open({
      chunker: service(asked, ({ line, body }) =>
        line.includes('/directories') ? answer : entryOf(ROOT, 'x', body.length),
      ),
    });
    const body = form(
      part('dir', '', 'application/x-directory'),
      part('dir%2Fa', 'A'),
      part('dir%2Fsub%2F%C3%BC+b', 'B'),
      part('lone', 'C'),
    );
    const { text } = await rpc(gateway.origin, 'add?recursive=true', { body });
    expect(lines(text).map(({ Name }) => Name)).toEqual([
      'dir/a',
      'dir/sub/ü b',
      'dir/sub',
      'dir',
      'lone',
    ]);
    expect(lines(text)[3]).toEqual({ Name: 'dir', Hash: ROOT, Size: '99' });
    expect(asked.map(({ line }) => line)).toEqual([
      'POST /directories?encoded=true&items=true',
      'POST /files?name=lone',
    ]);
    const sent = String(asked[0]?.body);
    expect(sent).toContain('filename="dir"\r\nContent-Type: application/x-directory\r\n\r\n\r\n');
    expect(sent).toContain('filename="dir%2Fsub%2F%C3%BC%20b"');
    expect(sent).not.toContain('lone');
    expect(sent.trimEnd()).toMatch(/--shoal-[0-9a-f-]+--$/);
  });

  it('wraps everything in one directory when that is asked for', async () => {
    const asked: Asked[] = [];
    const items = [
      { path: 'a.txt', kind: 'file', cid: cidOf('a'), sizeBytes: 1, treeSizeBytes: 1 },
    ];
    const answer = {
      ...entryOf(ROOT, 'a.txt', 1),
      kind: 'directory',
      entries: 1,
      treeSizeBytes: 52,
      items,
    };
    await using gateway = await open({ chunker: service(asked, () => answer) });
    const body = form(part('a.txt', 'A'), part('b.txt', 'B'));
    const { text } = await rpc(gateway.origin, 'add?wrap-with-directory=true', { body });
    expect(asked.map(({ line }) => line)).toEqual([
      'POST /directories?encoded=true&items=true&name=a.txt',
    ]);
    expect(lines(text)).toEqual([
      { Name: 'a.txt', Hash: cidOf('a'), Size: '1' },
      { Name: '', Hash: ROOT, Size: '52' },
    ]);
  });

  it('tells its progress, and says nothing when it shall be silent', async () => {
    await using gateway = await open({
      chunker: service([], ({ body }) => entryOf(ROOT, 'x', body.length)),
    });
    const body = form(part('big', Buffer.alloc(3 * MiB + 5)));
    const { text } = await rpc(gateway.origin, 'add?progress=true', { body });
    const told = lines(text);
    const sums = told.slice(0, -1).map(({ Bytes }) => Number(Bytes));
    expect(sums.length).toBeGreaterThan(1);
    expect(sums).toEqual(sums.toSorted((a, b) => a - b));
    expect(sums.at(-1)).toBe(3 * MiB + 5);
    expect(told.at(-1)).toHaveProperty('Hash', ROOT);
    const silent = await rpc(gateway.origin, 'add?silent=true&progress=true', { body });
    expect([silent.status, silent.text]).toEqual([200, '']);
  });

  it.each([
    'cid-version=0',
    'raw-leaves=false',
    'chunker=size-262144',
    'chunker=rabin',
    'hash=blake3',
    'trickle=true',
    'inline=true',
    'max-file-links=174',
    'only-hash=true',
    'nocopy=true',
    'pin=false',
    'mode=0644',
    'preserve-mode=true',
    'preserve-mtime=true',
    'empty-dirs=false',
    'cid-base=base58btc',
    'pin-name=other',
    'to-files=/x',
  ])('refuses %s, since the CID would be another than was asked for', async (query) => {
    const asked: Asked[] = [];
    await using gateway = await open({ chunker: service(asked, () => entryOf(ROOT, 'x', 1)) });
    const { status, text } = await rpc(gateway.origin, `add?${query}`, {
      body: form(part('a', 'x')),
    });
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      Message: expect.stringContaining(`"${query}"`),
      Code: 1,
      Type: 'error',
    });
    expect(asked).toEqual([]);
  });

  it('takes the parts of Kubo’s command line, which name modes and times that nobody asked for', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      chunker: service(asked, ({ line, body }) =>
        line.includes('/directories')
          ? { ...entryOf(ROOT, 'dir', 1), kind: 'directory', entries: 1, treeSizeBytes: 9 }
          : entryOf(hashBlock('raw', body), 'x', body.length),
      ),
    });
    const deep = '%C3%A9%2F'.repeat(1300);
    const file = part('dir%2Fa', 'A', undefined, { path: `%2Fhome%2F${deep}a` });
    const body = form(
      part('f', 'lone', undefined, {
        name: 'file?mode=0644&mtime=1795863359&mtime-nsecs=578872248',
      }),
      part('dir', '', 'application/x-directory', {
        name: 'file?mode=020000000755&mtime=1795863359',
      }),
      file,
    );
    // What the command line states by itself, beside what it always says.
    const query =
      'add?encoding=json&stream-channels=true&pin=true&progress=true&inline-limit=32&recursive=true&empty-dirs=true';
    const { status, text } = await rpc(gateway.origin, query, { body });
    expect(status).toBe(200);
    expect(
      lines(text)
        .filter(({ Hash }) => Hash !== undefined)
        .map(({ Name, Hash }) => [Name, Hash]),
    ).toEqual([
      ['f', cidOf('lone')],
      ['dir', ROOT],
    ]);
    expect(asked.map(({ line }) => line)).toEqual([
      'POST /files?name=f',
      'POST /directories?encoded=true&items=true',
    ]);
    expect(String(asked[1]?.body)).not.toMatch(/mode=|mtime=/);
  });

  it('refuses a body that is no form, one without a part, and one that is cut off', async () => {
    await using gateway = await open({
      chunker: service([], ({ body }) => entryOf(ROOT, 'x', body.length)),
    });
    const type = { 'content-type': 'application/json' };
    const bodies = [
      rpc(gateway.origin, 'add', { body: Buffer.from('{}'), headers: type }),
      rpc(gateway.origin, 'add'),
      rpc(gateway.origin, 'add', { body: form() }),
      rpc(gateway.origin, 'add', { body: part('a', 'cut off') }),
    ];
    for (const { status, text } of await Promise.all(bodies)) {
      expect(status).toBe(400);
      expect(JSON.parse(text)).toHaveProperty('Type', 'error');
    }
  });

  it('passes on why the chunker refused, also in the middle of a large body', async () => {
    const full = new StorageFull({ limit: 'disk space', freeBytes: 5 });
    await using gateway = await open({
      chunker: (incoming, outgoing) => {
        incoming.once('data', () => {
          incoming.pause();
          outgoing.writeHead(507, { 'content-type': PROBLEM_TYPE });
          outgoing.end(JSON.stringify(full.toBody('urn:request:1')));
        });
      },
    });
    const sizeBytes = 64 * MiB;
    const chunk = Buffer.alloc(64 * 1024);
    const body = Readable.from(
      (function* () {
        yield part('big', '').subarray(0, -2);
        for (let sent = 0; sent < sizeBytes; sent += chunk.length) yield chunk;
        yield Buffer.from('\r\n--b--\r\n');
      })(),
      { objectMode: false },
    );
    const { status, text } = await rpc(gateway.origin, 'add', { body });
    expect(status).toBe(500);
    expect(JSON.parse(text)).toHaveProperty('Message', expect.stringContaining('disk space'));
  });

  it('ends the upload when its caller leaves', async () => {
    let isBroken = false;
    await using gateway = await open({
      chunker: (incoming) => {
        incoming.on('error', () => (isBroken = true)).resume();
      },
    });
    const { hostname, port } = new URL(gateway.origin);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(
      `POST /api/v0/add HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n`,
    );
    socket.write(part('a', 'begun'));
    await new Promise((resolve) => socket.once('ready', resolve));
    setTimeout(() => socket.destroy(), 100);
    await until(() => isBroken, 'the upload behind was broken off');
    expect(isBroken).toBe(true);
  });

  it('gives a body that stands still up', async () => {
    await using gateway = await open({}, { GATEWAY_BODY_IDLE_TIMEOUT_MS: '200' });
    const stuck = new Readable({ read() {} });
    stuck.push('--b\r\nContent-Disp');
    const { status, text } = await rpc(gateway.origin, 'add', { body: stuck });
    stuck.destroy();
    expect([status, JSON.parse(text)]).toEqual([
      408,
      { Message: 'the body stood still for too long', Code: 0, Type: 'error' },
    ]);
  });

  it('says so when the chunker is down', async () => {
    await using gateway = await open();
    const { status, text } = await rpc(gateway.origin, 'add', { body: form(part('a', 'x')) });
    expect(status).toBe(500);
    expect(JSON.parse(text)).toHaveProperty('Message', expect.stringContaining('chunker'));
  });
});
