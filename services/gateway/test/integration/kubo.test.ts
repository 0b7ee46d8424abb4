import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { hashBlock, parseCid } from '@shoal/blocks';
import { BLOCK_SIZE_MAX_BYTES, BodyTooLarge, FileMissing, FileNotFound } from '@shoal/protocol';
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
import { openGateway } from './support.ts';

describe('an option that is neither', () => {
  it.each([
    'dag/import?stats=maybe',
    'pin/ls?upgrade-cidv0-in-output=maybe',
    'ls?arg=bafy&size=maybe',
    'get?arg=bafy&compress=true&archive=maybe',
  ])('is refused before anything is done: %s', async (command) => {
    const asked: Asked[] = [];
    const nothing = service(asked, () => ({}));
    await using gateway = await open({ chunker: nothing, transfer: nothing, discovery: nothing });
    const { status, text } = await rpc(gateway.origin, command, { body: form(part('', 'x')) });
    expect([status, text]).toEqual([400, expect.stringContaining('must be true or false')]);
    expect(asked).toEqual([]);
  });
});

describe('who may call', () => {
  it('is nobody while the peer has no token, and the answer names the setting', async () => {
    await using gateway = await openGateway({});
    const { status, text } = await rpc(gateway.origin, 'version');
    expect(status).toBe(403);
    expect(JSON.parse(text)).toEqual({
      Message: expect.stringMatching(/no write token.*WRITE_TOKEN.*--api-auth "bearer:<token>"/),
      Code: 0,
      Type: 'error',
    });
  });

  it('is who has the token, as Bearer or as the password of Basic', async () => {
    await using gateway = await open();
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    for (const authorization of [`Bearer ${TOKEN}`, basic(`me:${TOKEN}`), basic(`:${TOKEN}`)]) {
      const { status, text } = await rpc(gateway.origin, 'version', { headers: { authorization } });
      expect(status).toBe(200);
      expect(JSON.parse(text)).toHaveProperty('Version');
    }
    for (const authorization of ['', 'Bearer x', TOKEN, basic(TOKEN), basic(`${TOKEN}:me`)]) {
      const { status, text } = await rpc(gateway.origin, 'version', { headers: { authorization } });
      expect(status).toBe(403);
      expect(text).not.toContain(TOKEN);
      const { Message: message } = JSON.parse(text) as { Message: string };
      // Where the token is from, and how Kubo's command line, a library, and one that knows Basic alone send it.
      expect(message).toContain('its setting WRITE_TOKEN, else what "shoal token" prints there');
      expect(message).toContain('ipfs --api-auth "bearer:<token>"');
      expect(message).toContain('"Authorization: Bearer <token>"');
      expect(message).toContain('Basic with any user and the token as the password');
    }
  });

  it('is no web page, not even our own', async () => {
    await using gateway = await open();
    for (const origin of ['https://app.example', gateway.origin, 'null']) {
      const { status, text } = await rpc(gateway.origin, 'version', { headers: { origin } });
      expect(status).toBe(403);
      expect(JSON.parse(text)).toHaveProperty('Type', 'error');
    }
    const preflight = await request(`${gateway.origin}/api/v0/add`, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    });
    expect(preflight.statusCode).toBe(403);
    expect(preflight.headers['access-control-allow-origin']).toBeUndefined();
    await preflight.body.dump();
  });

  it.each(['GET', 'HEAD', 'PUT', 'DELETE'] as const)('does not call with %s', async (method) => {
    await using gateway = await open();
    const answer = await request(`${gateway.origin}/api/v0/id`, { method, headers: BEARER });
    expect([answer.statusCode, answer.headers['allow']]).toEqual([405, 'POST']);
    await answer.body.dump();
  });

  it('finds no command that there is none of', async () => {
    await using gateway = await open();
    for (const name of ['files/ls', 'constructor', 'repo/gc', 'add/x'])
      expect((await rpc(gateway.origin, name)).status).toBe(404);
  });
});

describe('reading', () => {
  const bytes = createHash('sha512').update('bytes').digest();
  const transfer =
    (asked: string[]): RequestListener =>
    (incoming, outgoing) => {
      asked.push(`${incoming.method} ${incoming.url} ${incoming.headers.range ?? ''}`.trim());
      const path = String(incoming.url);
      if (path.endsWith('/dir')) outgoing.writeHead(301, { location: `${path}/` }).end();
      else if (path.includes('/absent'))
        outgoing.writeHead(404, { 'content-type': 'text/plain' }).end('no link named "absent"');
      else if (path.includes('/empty')) outgoing.writeHead(416).end('');
      else if (path.includes('/broken')) {
        outgoing.writeHead(200, { 'content-length': '1000' });
        outgoing.write(bytes, () => outgoing.destroy());
      } else {
        outgoing.writeHead(200, {
          'content-length': String(bytes.length),
          'x-ipfs-roots': `${ROOT},${cidOf('below')}`,
        });
        outgoing.end(incoming.method === 'HEAD' ? undefined : bytes);
      }
    };

  it('cat streams the bytes of a path, or of several', async () => {
    const asked: string[] = [];
    await using gateway = await open({ transfer: transfer(asked) });
    const answer = await request(
      `${gateway.origin}/api/v0/cat?arg=/ipfs/${ROOT}/a%2520b&arg=${ROOT}`,
      { method: 'POST', headers: BEARER },
    );
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['x-stream-output']).toBe('1');
    expect(Buffer.from(await answer.body.arrayBuffer())).toEqual(Buffer.concat([bytes, bytes]));
    expect(asked).toEqual([`GET /ipfs/${ROOT}/a%2520b`, `GET /ipfs/${ROOT}`]);
  });

  it('cat asks for the range that is wanted, and gives nothing behind the end', async () => {
    const asked: string[] = [];
    await using gateway = await open({ transfer: transfer(asked) });
    await rpc(gateway.origin, `cat?arg=${ROOT}&offset=5&length=10`);
    await rpc(gateway.origin, `cat?arg=${ROOT}&offset=5`);
    await rpc(gateway.origin, `cat?arg=${ROOT}&length=10`);
    expect(asked.map((line) => line.split(' ')[2])).toEqual([
      'bytes=5-14',
      'bytes=5-',
      'bytes=0-9',
    ]);
    const behind = await rpc(gateway.origin, `cat?arg=${ROOT}/empty&offset=5`);
    expect([behind.status, behind.text]).toEqual([200, '']);
  });

  it('asks for what this peer has itself, when the call says offline, and for no bytes at all of a length of 0', async () => {
    const asked: (string | undefined)[] = [];
    await using gateway = await open({
      transfer: (incoming, outgoing) => {
        asked.push(incoming.headers['cache-control']);
        outgoing.end(bytes);
      },
    });
    for (const command of ['cat', 'block/get', 'block/stat', 'dag/export'])
      for (const query of ['&offline=true', '&offline=false', ''])
        expect((await rpc(gateway.origin, `${command}?arg=${ROOT}${query}`)).status).toBe(200);
    expect(asked).toEqual(
      Array.from({ length: 4 }, () => ['only-if-cached', undefined, undefined]).flat(),
    );
    const none = await rpc(gateway.origin, `cat?arg=${ROOT}&length=0`);
    expect([none.status, none.text, asked.length]).toEqual([200, '', 12]);
  });

  it('takes its arguments from the body, where the command line sends what came by standard input', async () => {
    const asked: string[] = [];
    await using gateway = await open({ transfer: transfer(asked) });
    const body = form(part('stdin', `/ipfs/${ROOT}/a\n${ROOT}\r\n`));
    expect((await rpc(gateway.origin, 'cat?progress=true', { body })).status).toBe(200);
    expect(asked).toEqual([`GET /ipfs/${ROOT}/a`, `GET /ipfs/${ROOT}`]);
    const refused: [string, Buffer][] = [
      ['block/get', body],
      ['cat', form(part('stdin', '\n'))],
      ['cat', form(part('stdin', `${ROOT}\n`.repeat(8000)))],
      ['cat', part('stdin', ROOT)], // cut off
    ];
    for (const [command, bad] of refused) {
      const { status, text } = await rpc(gateway.origin, command, { body: bad });
      expect([status, JSON.parse(text)]).toEqual([
        400,
        { Message: expect.stringContaining('argument'), Code: 1, Type: 'error' },
      ]);
    }
  });

  it('keeps version 0 of a CID in its answers, unless it is to be upgraded', async () => {
    const v1 = hashBlock('dag-pb', Buffer.from('node'));
    const v0 = parseCid(v1).toV0().toString();
    await using gateway = await open({
      transfer: transfer([]),
      chunker: service([], () => entryOf(v1, 'x', 1)),
      discovery: service([], ({ line }) =>
        line.startsWith('DELETE')
          ? { cid: v1, name: 'x', deletedAtMs: 1 }
          : { total: 1, files: [entryOf(v1, 'x', 1)] },
      ),
    });
    const keyOf = async (query: string) =>
      JSON.parse((await rpc(gateway.origin, query)).text) as Record<string, unknown>;
    for (const [query, name] of [
      ['', v0],
      ['&upgrade-cidv0-in-output=true', v1],
      ['&cid-base=base32', v1],
    ] as const) {
      expect(await keyOf(`block/stat?arg=${v0}${query}`)).toHaveProperty('Key', name);
      for (const command of ['pin/add', 'pin/rm'])
        expect(await keyOf(`${command}?arg=${v0}${query}`)).toEqual({ Pins: [name] });
      expect(Object.keys((await keyOf(`pin/ls?arg=${v0}${query}`))['Keys'] ?? {})).toEqual([name]);
    }
    expect((await rpc(gateway.origin, 'pin/ls?cid-base=base36')).status).toBe(400);
  });

  it('cat says what is wrong with a directory, and with what is absent', async () => {
    await using gateway = await open({ transfer: transfer([]) });
    const directory = await rpc(gateway.origin, `cat?arg=${ROOT}/dir/`);
    expect([directory.status, JSON.parse(directory.text)]).toEqual([
      500,
      { Message: 'this dag node is a directory', Code: 0, Type: 'error' },
    ]);
    const absent = await rpc(gateway.origin, `cat?arg=${ROOT}/absent`);
    expect(JSON.parse(absent.text)).toHaveProperty('Message', 'no link named "absent"');
    expect((await rpc(gateway.origin, 'cat')).status).toBe(400);
    expect((await rpc(gateway.origin, 'cat?arg=/ipns/x')).status).toBe(500);
  });

  it('breaks off when the bytes do, and never ends short', async () => {
    await using gateway = await open({ transfer: transfer([]) });
    await expect(rpc(gateway.origin, `cat?arg=${ROOT}/broken`)).rejects.toThrow(
      /other side closed/,
    );
  });

  it('block/get, block/stat and dag/export ask for the block or the CAR', async () => {
    const asked: string[] = [];
    await using gateway = await open({ transfer: transfer(asked) });
    expect((await rpc(gateway.origin, `block/get?arg=${ROOT}`)).status).toBe(200);
    const stat = await rpc(gateway.origin, `block/stat?arg=${ROOT}`);
    expect(JSON.parse(stat.text)).toEqual({ Key: ROOT, Size: bytes.length });
    const car = await rpc(gateway.origin, `dag/export?arg=${ROOT}`);
    expect(car.headers['content-type']).toBe('application/vnd.ipld.car');
    expect(asked).toEqual([
      `GET /ipfs/${ROOT}?format=raw`,
      `HEAD /ipfs/${ROOT}?format=raw`,
      `GET /ipfs/${ROOT}?format=car`,
    ]);
    for (const command of ['block/get', 'block/stat', 'dag/export'])
      expect((await rpc(gateway.origin, `${command}?arg=nonsense`)).status).not.toBe(404);
  });

  it('resolves a path to the block that it leads to', async () => {
    await using gateway = await open({ transfer: transfer([]) });
    const stat = await rpc(gateway.origin, `block/stat?arg=/ipfs/${ROOT}/a/b`);
    expect(JSON.parse(stat.text)).toHaveProperty('Key', cidOf('below'));
    const absent = await rpc(gateway.origin, `block/stat?arg=/ipfs/${ROOT}/absent`);
    expect([absent.status, JSON.parse(absent.text)]).toMatchObject([
      500,
      { Message: 'no link named "absent"' },
    ]);
  });
});

describe('importing', () => {
  /** A chunker that notes the form and says this of its parts. */
  const importing = (asked: Asked[], ...parts: readonly object[]): RequestListener =>
    service(asked, () => parts.map((imported) => `${JSON.stringify({ imported })}\n`).join(''));
  const block = (cid: string, blockBytes: number) => ({
    blocks: 1,
    blockBytes,
    pinned: [],
    unpinned: [{ cid, reason: 'not asked for' }],
    roots: [cid],
  });
  const car = {
    blocks: 3,
    blockBytes: 300,
    pinned: [entryOf(ROOT, 'x', 5)],
    unpinned: [{ cid: cidOf('lost'), reason: 'block x is missing' }],
    roots: [ROOT, cidOf('lost')],
  };

  it('block/put hands the form on as it came, and answers the name of each block', async () => {
    const asked: Asked[] = [];
    const parts = [block(cidOf('a block'), 7), block(cidOf('two'), 3)];
    await using gateway = await open({ chunker: importing(asked, ...parts) });
    const body = form(part('', 'a block'), part('', 'two'));
    const raw = await rpc(gateway.origin, 'block/put', { body });
    expect(lines(raw.text)).toEqual([
      { Key: cidOf('a block'), Size: 7 },
      { Key: cidOf('two'), Size: 3 },
    ]);
    await rpc(gateway.origin, 'block/put?format=dag-pb&mhtype=sha2-256&pin=true', { body });
    const type = 'multipart/form-data; boundary=b';
    expect(asked.map(({ line, type: sent }) => [line, sent])).toEqual([
      ['POST /kubo/import?as=block&codec=raw&pin=false', type],
      ['POST /kubo/import?as=block&codec=dag-pb&pin=true', type],
    ]);
    expect(asked[0]?.body).toEqual(body);
  });

  it('block/put takes the format of old clients, beside the codec that the command line always states', async () => {
    const asked: Asked[] = [];
    const nodeCid = hashBlock('dag-pb', Buffer.from('a block'));
    await using gateway = await open({
      chunker: service(asked, ({ line }) => {
        const cid = line.includes('codec=dag-pb') ? nodeCid : cidOf('a block');
        return `${JSON.stringify({ imported: block(cid, 7) })}\n`;
      }),
    });
    const body = form(part('', 'a block', undefined, { name: 'file?mode=0644&mtime=1795863359' }));
    const always = 'cid-codec=raw&mhlen=-1&mhtype=sha2-256&pin=false&allow-big-block=false';
    const named = new Map<string, unknown>();
    for (const format of ['v0', 'protobuf', 'dag-pb', 'raw', ''])
      named.set(
        format,
        JSON.parse(
          (await rpc(gateway.origin, `block/put?${always}&format=${format}`, { body })).text,
        ).Key,
      );
    expect(Object.fromEntries(named)).toEqual({
      v0: parseCid(nodeCid).toV0().toString(),
      protobuf: nodeCid,
      'dag-pb': nodeCid,
      raw: cidOf('a block'),
      '': cidOf('a block'),
    });
    expect(asked[0]?.line).toBe('POST /kubo/import?as=block&codec=dag-pb&pin=false');
    const both = await rpc(gateway.origin, 'block/put?cid-codec=dag-pb&format=v0', { body });
    expect([both.status, both.text]).toEqual([400, expect.stringContaining('exclude each other')]);
  });

  it.each([
    'format=v1',
    'format=dag-cbor',
    'cid-codec=protobuf',
    'cid-codec=dag-cbor',
    'mhtype=blake3',
    'allow-big-block=true',
    'cid-version=0',
  ])('block/put refuses %s', async (query) => {
    await using gateway = await open();
    const { status } = await rpc(gateway.origin, `block/put?${query}`, {
      body: form(part('', 'x')),
    });
    expect(status).toBe(400);
  });

  it('block/put refuses a block that is too large, a form without one, and no form', async () => {
    await using gateway = await open({
      chunker: service([], ({ body }) =>
        body.equals(form())
          ? new FileMissing({})
          : new BodyTooLarge({ sizeMaxBytes: BLOCK_SIZE_MAX_BYTES }),
      ),
    });
    const large = await rpc(gateway.origin, 'block/put', { body: form(part('', 'large')) });
    expect([large.status, large.text]).toEqual([500, expect.stringContaining('larger than')]);
    const none = await rpc(gateway.origin, 'block/put', { body: form() });
    expect([none.status, none.text]).toEqual([400, expect.stringContaining('argument \\"data\\"')]);
    const headers = { 'content-type': 'application/json' };
    const json = await rpc(gateway.origin, 'block/put', { body: Buffer.from('{}'), headers });
    expect([json.status, json.text]).toEqual([400, expect.stringContaining('must be a form')]);
  });

  it('breaks off when a part of the form was not imported', async () => {
    const events = [{ imported: block(ROOT, 1) }, { failed: { detail: 'there is no room' } }];
    await using gateway = await open({
      chunker: service([], () => events.map((event) => `${JSON.stringify(event)}\n`).join('')),
    });
    const body = form(part('', 'x'), part('', 'y'));
    await expect(rpc(gateway.origin, 'block/put', { body })).rejects.toMatchObject({
      name: expect.stringMatching(/Error/),
    });
  });

  it('dag/import hands CARs on as they are, and tells of each root', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({ chunker: importing(asked, car, car) });
    const bytes = createHash('sha512').update('car').digest();
    const body = form(part('a.car', bytes), part('b.car', bytes));
    const { text } = await rpc(gateway.origin, 'dag/import?stats=true', { body });
    const roots = [
      { Root: { Cid: { '/': ROOT }, PinErrorMsg: '' } },
      { Root: { Cid: { '/': cidOf('lost') }, PinErrorMsg: 'block x is missing' } },
    ];
    expect(lines(text)).toEqual([
      ...roots,
      ...roots,
      { Stats: { BlockCount: 6, BlockBytesCount: 600 } },
    ]);
    expect(asked.map(({ line, body: sent }) => [line, sent])).toEqual([
      ['POST /kubo/import?as=car&pin=true', body],
    ]);
    const loose = await rpc(gateway.origin, 'dag/import?pin-roots=false', { body });
    expect([loose.status, loose.text]).toEqual([200, '']);
    expect(asked.at(-1)?.line).toBe('POST /kubo/import?as=car&pin=false');
  });

  it('dag/import answers a root that a CAR spells in version 0 under that name', async () => {
    const v1 = hashBlock('dag-pb', Buffer.from('x'));
    const v0 = parseCid(v1).toV0().toString();
    const old = { ...car, pinned: [entryOf(v1, 'x', 5)], unpinned: [], roots: [v0] };
    await using gateway = await open({ chunker: importing([], old) });
    for (const [query, name] of [
      ['', v0],
      ['?cid-base=base32', v1],
    ] as const) {
      const told = await rpc(gateway.origin, `dag/import${query}`, {
        body: form(part('c', 'car')),
      });
      expect(lines(told.text)).toEqual([{ Root: { Cid: { '/': name }, PinErrorMsg: '' } }]);
    }
  });
});

describe('pins', () => {
  it('pin/add keeps each DAG under its name', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      chunker: service(asked, ({ body }) => entryOf(JSON.parse(String(body)).cid, 'x', 1)),
    });
    const query = `pin/add?arg=${ROOT}&arg=/ipfs/${cidOf('b')}&recursive=true&name=mine&stream=true`;
    const { text } = await rpc(gateway.origin, query);
    expect(JSON.parse(text)).toEqual({ Pins: [ROOT, cidOf('b')] });
    expect(asked.map(({ line, body }) => [line, JSON.parse(String(body))])).toEqual([
      ['POST /pins', { cid: ROOT, name: 'mine' }],
      ['POST /pins', { cid: cidOf('b'), name: 'mine' }],
    ]);
    for (const bad of ['', `?arg=${ROOT}&recursive=false`, `?arg=${ROOT}&name=a/b`])
      expect((await rpc(gateway.origin, `pin/add${bad}`)).status).toBe(400);
    expect((await rpc(gateway.origin, 'pin/add?arg=nonsense')).status).toBe(500);
  });

  it('pin/rm ends pins, and says which one was none', async () => {
    const asked: Asked[] = [];
    await using gateway = await open({
      discovery: service(asked, ({ line }) =>
        line.endsWith(ROOT)
          ? { cid: ROOT, name: 'x', deletedAtMs: 1 }
          : new FileNotFound({ hash: cidOf('b'), peersAsked: 2 }),
      ),
    });
    const { text } = await rpc(gateway.origin, `pin/rm?arg=${ROOT}`);
    expect(JSON.parse(text)).toEqual({ Pins: [ROOT] });
    expect(asked[0]).toMatchObject({
      line: `DELETE /files/${ROOT}`,
      authorization: `Bearer ${TOKEN}`,
    });
    const none = await rpc(gateway.origin, `pin/rm?arg=${cidOf('b')}`);
    expect([none.status, none.text]).toEqual([500, expect.stringContaining('no file')]);
  });

  it('pin/ls lists all pages, as one object or a line each', async () => {
    const all = Array.from({ length: 1001 }, (_, index) =>
      entryOf(cidOf(String(index)), `file ${index}`, 1),
    );
    await using gateway = await open({
      discovery: service([], ({ line }) => {
        const query = new URL(line.split(' ')[1] ?? '', 'http://x').searchParams;
        const after = query.get('after');
        const from = after === null ? 0 : all.findIndex(({ cid }) => `1.${cid}` === after) + 1;
        const files = all.slice(from, from + Number(query.get('limit')));
        const isLast = from + files.length === all.length;
        return { total: all.length, files, ...(isLast ? {} : { next: `1.${files.at(-1)?.cid}` }) };
      }),
    });
    const { text } = await rpc(gateway.origin, 'pin/ls');
    const { Keys } = JSON.parse(text) as { Keys: Record<string, unknown> };
    expect(Object.keys(Keys)).toHaveLength(1001);
    expect(Keys[cidOf('7')]).toEqual({ Type: 'recursive', Name: '' });
    const stream = await rpc(gateway.origin, 'pin/ls?stream=true&names=true&name=file%20100');
    expect(lines(stream.text).map(({ Name }) => Name)).toEqual(['file 100', 'file 1000']);
    const one = await rpc(gateway.origin, `pin/ls?arg=${cidOf('1000')}&stream=true`);
    expect(lines(one.text)).toEqual([{ Cid: cidOf('1000'), Type: 'recursive', Name: '' }]);
    const none = await rpc(gateway.origin, `pin/ls?arg=${ROOT}`);
    expect([none.status, none.text]).toEqual([500, expect.stringContaining('is not pinned')]);
    const direct = await rpc(gateway.origin, 'pin/ls?type=direct');
    expect(JSON.parse(direct.text)).toEqual({ Keys: {} });
    expect((await rpc(gateway.origin, 'pin/ls?type=odd')).status).toBe(400);
  });
});

describe('id', () => {
  it('tells of this peer, or of another one', async () => {
    const other = '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X';
    await using gateway = await open({
      discovery: service([], ({ line }) => ({
        Peers: [
          {
            Schema: 'peer',
            ID: line.split('/').at(-1),
            Addrs: ['/ip4/127.0.0.1/tcp/1/http'],
            Protocols: ['transport-ipfs-gateway-http'],
          },
        ],
      })),
    });
    const own = JSON.parse((await rpc(gateway.origin, 'id')).text) as Record<string, unknown>;
    expect(own).toMatchObject({
      ID: expect.stringMatching(/^12D3Koo/),
      AgentVersion: expect.stringMatching(/^shoal\//),
    });
    expect(own['Addresses']).toEqual(['/ip4/127.0.0.1/tcp/1/http']);
    const answer = JSON.parse((await rpc(gateway.origin, `id?arg=${other}`)).text);
    expect(answer).toMatchObject({ ID: other, AgentVersion: '' });
  });
});
