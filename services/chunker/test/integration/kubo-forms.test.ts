import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { hashBlock, parseCid } from '@shoal/blocks';
import { KuboAddEvent, KuboImportEvent, MiB, ServiceUnavailable } from '@shoal/protocol';
import { request } from 'undici';
import { carOf } from './dags.ts';
import { openStand, type Stand, until } from './stand.ts';

const cidOf = (text: string | Buffer): string => hashBlock('raw', Buffer.from(text));

const part = (
  fileName: string,
  body: string | Buffer,
  type = 'application/octet-stream',
  /** Of the field, and where the file is at its sender, as Kubo's command line says them. */
  { name = 'file', path }: { readonly name?: string; readonly path?: string } = {},
) =>
  Buffer.concat([
    Buffer.from(
      `--b\r\n${path === undefined ? '' : `Abspath-Encoded: ${path}\r\n`}Content-Disposition: form-data; name="${name}"; filename="${fileName}"\r\nContent-Type: ${type}\r\n\r\n`,
    ),
    Buffer.from(body),
    Buffer.from('\r\n'),
  ]);
const form = (...parts: Buffer[]) => Buffer.concat([...parts, Buffer.from('--b--\r\n')]);
const DIRECTORY = 'application/x-directory';
const SYMLINK = 'application/symlink';

describe("a form of Kubo's clients", () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand();
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });

  const send = async (path: string, body: Buffer | Readable, headers = {}) => {
    const answer = await request(`${stand.chunker.origin}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'multipart/form-data; boundary=b',
        ...stand.prove('POST', path),
        ...headers,
      },
      body,
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  };
  const post = (query: string, body: Buffer, headers: Record<string, string> = {}) =>
    send(`/kubo/add${query}`, body, headers);
  const importing = async (query: string, body: Buffer | Readable) => {
    const { status, text } = await send(`/kubo/import${query}`, body);
    expect([status, text]).toEqual([200, expect.any(String)]);
    const lines = text.split('\n').filter((line) => line !== '');
    return lines.map((line) => KuboImportEvent.parse(JSON.parse(line)));
  };
  const add = async (query: string, ...parts: Buffer[]): Promise<KuboAddEvent[]> => {
    const { status, text } = await post(query, form(...parts));
    expect(status).toBe(200);
    const lines = text.split('\n').filter((line) => line !== '');
    return lines.map((line) => KuboAddEvent.parse(JSON.parse(line)));
  };
  const added = (events: readonly KuboAddEvent[]) =>
    events.flatMap((event) => ('added' in event ? [event.added] : []));

  it('is cut into files, each pinned under its own name', async () => {
    const events = await add(
      '',
      part('a%20b.txt', 'hello world'),
      part('', 'no name'),
      part('c+d', 'x'),
      part('100%', 'not encoded'),
    );
    expect(events).toEqual([
      { added: { path: 'a b.txt', cid: cidOf('hello world'), treeSizeBytes: 11 } },
      { added: { path: '', cid: cidOf('no name'), treeSizeBytes: 7 } },
      { added: { path: 'c d', cid: cidOf('x'), treeSizeBytes: 1 } },
      { added: { path: '100%', cid: cidOf('not encoded'), treeSizeBytes: 11 } },
    ]);
    const names = ['hello world', 'no name', 'x'].map((text) => stand.pins.get(cidOf(text))?.name);
    expect(names).toEqual(['a b.txt', 'unnamed', 'c d']);
  });

  it('makes a directory of parts that share their first name, whose lines come before its own', async () => {
    const lines = added(
      await add(
        '',
        part('dir', '', DIRECTORY),
        part('dir%2Fa', 'A'),
        part('dir%2Fsub%2F%C3%BC+b', 'B'),
        part('dir%2Flink', 'a', SYMLINK),
        part('lone', 'C'),
      ),
    );
    expect(lines.map(({ path }) => path)).toEqual([
      'dir/a',
      'dir/link',
      'dir/sub/ü b',
      'dir/sub',
      'dir',
      'lone',
    ]);
    expect(lines[0]?.cid).toBe(cidOf('A'));
    const [root, lone] = [lines[4], lines[5]];
    expect(stand.pins.get(root?.cid ?? '')).toMatchObject({ kind: 'directory', name: 'dir' });
    expect(stand.pins.get(lone?.cid ?? '')).toMatchObject({ kind: 'file', name: 'lone' });
    expect(stand.pins.has(cidOf('A'))).toBe(false);
  });

  it('is one directory without a name when that is asked for', async () => {
    const lines = added(await add('?wrap=true', part('a.txt', 'A'), part('b.txt', 'BB')));
    expect(lines.map(({ path }) => path)).toEqual(['a.txt', 'b.txt', '']);
    const root = lines.at(-1);
    expect(root?.treeSizeBytes).toBeGreaterThan(3);
    expect(stand.pins.get(root?.cid ?? '')?.name).toBe('a.txt');
  });

  it('names modes and times that nobody asked for, and they change no CID', async () => {
    const deep = '%C3%A9%2F'.repeat(1300);
    const lines = added(
      await add(
        '',
        part('f', 'lone', undefined, {
          name: 'file?mode=0644&mtime=1795863359&mtime-nsecs=578872248',
        }),
        part('timed', '', DIRECTORY, { name: 'file?mode=020000000755&mtime=1795863359' }),
        part('timed%2Fa', 'A', undefined, { path: `%2Fhome%2F${deep}a` }),
      ),
    );
    const plain = added(await add('', part('timed', '', DIRECTORY), part('timed%2Fa', 'A')));
    expect(lines.map(({ path }) => path)).toEqual(['f', 'timed/a', 'timed']);
    expect([lines[0]?.cid, lines[2]?.cid]).toEqual([cidOf('lone'), plain.at(-1)?.cid]);
  });

  it('has parts of any field, also those that say neither a type nor a file name', async () => {
    const bare = Buffer.from(
      '--b\r\nContent-Disposition: form-data; name="anything"\r\n\r\nbare\r\n',
    );
    const typed = part('t', 'typed', 'text/plain', { name: 'data' });
    expect(added(await add('', bare, typed)).map(({ path, cid }) => [path, cid])).toEqual([
      ['', cidOf('bare')],
      ['t', cidOf('typed')],
    ]);
  });

  it('tells how many bytes came, when that is asked for', async () => {
    const events = await add('?progress=true', part('big', Buffer.alloc(3 * MiB + 5)));
    const sums = events.flatMap((event) => ('received' in event ? [event.received.sizeBytes] : []));
    expect(sums.length).toBeGreaterThan(1);
    expect(sums).toEqual(sums.toSorted((a, b) => a - b));
    expect(sums.at(-1)).toBe(3 * MiB + 5);
    expect(events.at(-1)).toHaveProperty('added.path', 'big');
  });

  it.each([
    ['no part', form(), /file-missing/],
    ['no end', part('a', 'cut off'), /multipart-malformed/],
    [
      'a name that is not UTF-8',
      Buffer.from(form(part('?', 'x')).toString('latin1').replace('"?"', '"\xff"'), 'latin1'),
      /file-name-invalid.*not valid UTF-8/,
    ],
    ['a name that is none', form(part('..', 'x')), /file-name-invalid.*names a folder/],
    [
      'a name of 256 bytes in a directory',
      form(part(`dir/${'n'.repeat(256)}`, 'x')),
      /directory-invalid.*longer than 255 bytes/,
    ],
    [
      'a symlink that is in no directory',
      form(part('link', 'x', SYMLINK)),
      /inside of a directory/,
    ],
  ])('with %s is refused', async (_, body, reason) => {
    const { status, text } = await post('', body);
    expect([status, text]).toEqual([400, expect.stringMatching(reason)]);
  });

  it('is refused from a stranger, and when it is no form', async () => {
    expect((await post('', form(part('a', 'x')), { 'shoal-proof': 'x' })).status).toBe(401);
    const { status } = await post('', Buffer.from('{}'), { 'content-type': 'application/json' });
    expect(status).toBe(415);
  });

  it('whose rest fails says why in its last line, and keeps what was added before', async () => {
    const before = await stand.stats();
    const [first, bad] = [part('kept', 'kept before'), part('..', 'never')];
    const events = await add('', first, bad, part('behind', 'it'));
    expect(events).toHaveLength(2);
    expect(events[0]).toHaveProperty('added.cid', cidOf('kept before'));
    expect(events[1]).toHaveProperty('failed.detail', expect.stringContaining('name'));
    expect(stand.pins.has(cidOf('kept before'))).toBe(true);
    await until('one block more', async () => (await stand.stats()).blocks === before.blocks + 1);
  });

  it('that can not be pinned is a problem, while nothing was said', async () => {
    stand.swarm.pinRefusal = new ServiceUnavailable({ service: 'discovery' });
    const refused = post('', form(part('unpinned', 'unpinned')));
    const { status, text } = await refused;
    stand.swarm.pinRefusal = undefined;
    expect([status, text]).toEqual([503, expect.stringContaining('discovery')]);
  });

  it.each([1, 13, 4096])(
    'is cut into blocks whatever their bytes, come in pieces of %d',
    async (size) => {
      const blocks = [
        Buffer.from('\r\n--\r\n--c\r\n--\r\n\r\n-b\r\r\n-'),
        Buffer.alloc(0),
        Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 31) % 256)),
      ];
      const body = form(...blocks.map((bytes) => part('', bytes)));
      const pieces = Readable.from(
        (function* () {
          for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
        })(),
        { objectMode: false },
      );
      const events = await importing('?as=block&pin=false', pieces);
      expect(events).toEqual(
        blocks.map((bytes) => ({
          imported: {
            blocks: 1,
            blockBytes: bytes.length,
            pinned: [],
            unpinned: [{ cid: cidOf(bytes), reason: 'not asked for' }],
            roots: [cidOf(bytes)],
          },
        })),
      );
      expect(await stand.hasBlock(hashBlock('raw', blocks[0] ?? Buffer.alloc(0)))).toBe(true);
    },
  );

  it('reads blocks by the codec that is asked for, and keeps them if asked to', async () => {
    const [event] = await importing('?as=block&pin=true', form(part('', 'a kept block')));
    const cid = cidOf('a kept block');
    expect(event).toMatchObject({ imported: { pinned: [{ cid }], unpinned: [] } });
    expect(stand.pins.has(cid)).toBe(true);
    const node = hashBlock('dag-pb', Buffer.alloc(0));
    expect(await importing('?as=block&codec=dag-pb&pin=false', form(part('', '')))).toMatchObject([
      { imported: { roots: [node] } },
    ]);
  });

  it('has CARs one after the other, whose roots are answered as they are spelled', async () => {
    const node = Buffer.alloc(0); // an empty dag-pb node
    const v1 = parseCid(hashBlock('dag-pb', node));
    const cars = [
      carOf([v1.toV0()], [{ cid: v1.toV0(), bytes: node }]),
      carOf([v1], [{ cid: v1, bytes: node }]),
    ];
    const events = await importing(
      '?as=car&pin=false',
      form(...cars.map((car) => part('', Buffer.from(car)))),
    );
    expect(events).toMatchObject([
      { imported: { blocks: 1, roots: [v1.toV0().toString()] } },
      { imported: { blocks: 1, roots: [v1.toString()] } },
    ]);
  });

  it.each([
    ['a block that is too large', 'block', part('', Buffer.alloc(2 * MiB + 1)), 413],
    ['a CAR that is none', 'car', part('', 'no CAR'), 400],
    ['no part', 'block', Buffer.alloc(0), 400],
  ])('to be imported, with %s, is refused', async (_, as, parts, status) => {
    const refused = await send(`/kubo/import?as=${as}&pin=true`, form(parts));
    expect(refused.status).toBe(status);
  });

  it('to be imported is refused when it is cut off before its last boundary', async () => {
    const body = form(part('', 'hello'));
    const ends = [3, 40, body.length - 12, body.length - 5];
    const answers = await Promise.all(
      ends.map((end) => send('/kubo/import?as=block&pin=false', body.subarray(0, end))),
    );
    for (const { status, text } of answers)
      expect([status, text]).toEqual([400, expect.stringMatching(/multipart-malformed/)]);
  });
});
