import type { RequestListener } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import {
  DirectoryInvalid,
  FileMissing,
  FileNameInvalid,
  type KuboAddEvent,
  MiB,
  MultipartMalformed,
  PROBLEM_TYPE,
  StorageFull,
} from '@shoal/protocol';
import { request } from 'undici';
import {
  type Asked,
  BEARER,
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

/** A chunker that notes the form and says this of it. */
const adding = (asked: Asked[], events: readonly KuboAddEvent[]): RequestListener =>
  service(asked, () => events.map((event) => `${JSON.stringify(event)}\n`).join(''));

describe('add', () => {
  it('hands the form on as it came, and answers a line for each file', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      chunker: adding(asked, [
        { added: { path: 'a b.txt', cid: cidOf('hello world'), treeSizeBytes: 11 } },
        { added: { path: '', cid: cidOf('no name'), treeSizeBytes: 7 } },
      ]),
    });
    const query = 'add?stream-channels=true&cid-version=1&pin=true&progress=false';
    const body = form(part('a%20b.txt', 'hello world'), part('', 'no name'));
    const { status, headers, text } = await rpc(gateway.origin, query, { body });
    expect(status).toBe(200);
    expect(headers['x-chunked-output']).toBe('1');
    expect(headers['content-type']).toBe('application/json');
    const unnamed = cidOf('no name');
    expect(lines(text)).toEqual([
      { Name: 'a b.txt', Hash: cidOf('hello world'), Size: '11' },
      { Name: unnamed, Hash: unnamed, Size: '7' },
    ]);
    expect(asked.map(({ line, type }) => [line, type])).toEqual([
      ['POST /kubo/add?wrap=false&progress=false', 'multipart/form-data; boundary=b'],
    ]);
    expect(asked[0]?.body).toEqual(body);
  });

  it('names a directory and what is in it, and none when everything is wrapped', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      chunker: adding(asked, [
        { added: { path: 'a.txt', cid: cidOf('a'), treeSizeBytes: 1 } },
        { added: { path: '', cid: ROOT, treeSizeBytes: 52 } },
      ]),
    });
    const body = form(part('a.txt', 'A'));
    const { text } = await rpc(gateway.origin, 'add?wrap-with-directory=true', { body });
    expect(asked.map(({ line }) => line)).toEqual(['POST /kubo/add?wrap=true&progress=false']);
    expect(lines(text)).toEqual([
      { Name: 'a.txt', Hash: cidOf('a'), Size: '1' },
      { Name: '', Hash: ROOT, Size: '52' },
    ]);
  });

  it('tells its progress, and says nothing when it shall be silent', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      chunker: adding(asked, [
        { received: { path: 'big', sizeBytes: MiB } },
        { received: { path: 'big', sizeBytes: 3 * MiB + 5 } },
        { added: { path: 'big', cid: ROOT, treeSizeBytes: 3 * MiB + 160 } },
      ]),
    });
    const body = form(part('big', 'large'));
    const { text } = await rpc(gateway.origin, 'add?progress=true', { body });
    expect(lines(text)).toEqual([
      { Name: 'big', Bytes: MiB },
      { Name: 'big', Bytes: 3 * MiB + 5 },
      { Name: 'big', Hash: ROOT, Size: String(3 * MiB + 160) },
    ]);
    const silent = await rpc(gateway.origin, 'add?silent=true&progress=true', { body });
    expect([silent.status, silent.text]).toEqual([200, '']);
    expect(asked.map(({ line }) => line)).toEqual([
      'POST /kubo/add?wrap=false&progress=true',
      'POST /kubo/add?wrap=false&progress=false',
    ]);
  });

  it('says what is added while the form still comes in', async () => {
    const file = { added: { path: 'a', cid: cidOf('x'), treeSizeBytes: 1 } };
    await using gateway = await open({
      chunker: (incoming, outgoing) => {
        incoming.once('data', () => outgoing.write(`${JSON.stringify(file)}\n\n`));
        incoming.on('end', () => outgoing.end());
      },
    });
    const body = new Readable({ read() {} });
    body.push(part('a', 'x'));
    const answer = await request(`${gateway.origin}/api/v0/add`, {
      method: 'POST',
      headers: { ...BEARER, 'content-type': 'multipart/form-data; boundary=b' },
      body,
    });
    const pieces = answer.body[Symbol.asyncIterator]();
    const first = (await pieces.next()) as IteratorResult<Uint8Array, undefined>;
    expect(JSON.parse(String(first.value))).toHaveProperty('Name', 'a');
    body.push('--b--\r\n');
    body.push(null);
    expect((await pieces.next()).done).toBe(true);
  });

  it('breaks off when a part of the form was not added, and says why when it is silent', async () => {
    await using gateway = await open({
      chunker: adding(
        [],
        [
          { added: { path: 'a', cid: ROOT, treeSizeBytes: 1 } },
          { failed: { detail: 'there is no room' } },
        ],
      ),
    });
    const body = form(part('a', 'x'), part('b', 'y'));
    await expect(rpc(gateway.origin, 'add', { body })).rejects.toMatchObject({
      name: expect.stringMatching(/Error/),
    });
    const { status, text } = await rpc(gateway.origin, 'add?silent=true', { body });
    expect([status, JSON.parse(text)]).toEqual([
      500,
      { Message: 'there is no room', Code: 0, Type: 'error' },
    ]);
  });

  it('says that the chunker broke off', async () => {
    const file = { added: { path: 'a', cid: cidOf('x'), treeSizeBytes: 1 } };
    await using gateway = await open({
      chunker: (incoming, outgoing) => {
        outgoing.write(`${JSON.stringify(file)}\n`);
        incoming.resume().on('end', () => outgoing.destroy());
      },
    });
    const { status, text } = await rpc(gateway.origin, 'add?silent=true', {
      body: form(part('a', 'x')),
    });
    expect([status, text]).toEqual([500, expect.stringContaining('chunker')]);
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

  it('takes what Kubo’s command line states by itself', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({ chunker: adding(asked, []) });
    const query =
      'add?encoding=json&stream-channels=true&pin=true&progress=true&inline-limit=32&recursive=true&empty-dirs=true';
    const { status } = await rpc(gateway.origin, query, { body: form(part('f', 'lone')) });
    expect([status, asked.length]).toEqual([200, 1]);
  });

  it('refuses a body that is no form, one without a part, and one that is cut off', async () => {
    await using gateway = await open({
      chunker: service([], ({ body }) =>
        body.equals(form())
          ? new FileMissing({})
          : new MultipartMalformed({ reason: 'the form ends without its last boundary' }),
      ),
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

  it('refuses a name that no file may have, and says why', async () => {
    const refusals = [
      new FileNameInvalid({ reason: 'it names a folder' }),
      new DirectoryInvalid({ path: 'd/..', reason: 'of the segment "..", it names a folder' }),
    ];
    for (const refusal of refusals) {
      await using gateway = await open({ chunker: service([], () => refusal) });
      const { status, text } = await rpc(gateway.origin, 'add', { body: form(part('x', 'y')) });
      expect([status, JSON.parse(text)]).toEqual([
        400,
        { Message: expect.stringContaining('names a folder'), Code: 1, Type: 'error' },
      ]);
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
    const chunker: RequestListener = (incoming) => void incoming.on('error', () => {}).resume();
    await using gateway = await open({ chunker }, { GATEWAY_BODY_IDLE_TIMEOUT_MS: '200' });
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
