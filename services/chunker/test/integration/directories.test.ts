import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DirectoryReply, MiB, ProblemBody, StorageFull } from '@shoal/protocol';
import { makeDag } from './dags.ts';
import { openStand, sample, type Stand, until } from './stand.ts';

interface Part {
  readonly path: string;
  readonly bytes?: Uint8Array;
  readonly type?: string;
}

/** A form as programs write it: any path, any field, any media type. */
function formOf(parts: readonly Part[], field = 'file') {
  const boundary = '----shoal-test';
  const pieces = parts.flatMap(({ path, bytes = new Uint8Array(), type = 'text/plain' }) => [
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${field}"; filename="${path}"\r\nContent-Type: ${type}\r\n\r\n`,
    ),
    bytes,
    Buffer.from('\r\n'),
  ]);
  return {
    body: new Uint8Array(Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  };
}

const FOLDER = 'application/x-directory';
const text = (value: string) => Buffer.from(value);

describe('an upload of a directory', () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand();
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });
  const post = (parts: readonly Part[], query = '', field = 'file') =>
    fetch(`${stand.chunker.origin}/directories${query}`, {
      method: 'POST',
      ...formOf(parts, field),
    });
  const add = async (parts: readonly Part[], query = '', field = 'file') => {
    const answer = await post(parts, query, field);
    const body: unknown = await answer.json();
    expect([answer.status, body]).toEqual([201, expect.anything()]);
    return DirectoryReply.parse(body);
  };
  const problem = async (answer: Response) => {
    const { status, type, detail } = ProblemBody.parse(await answer.json());
    return `${status} ${type}: ${detail}`;
  };

  it('has the CID that the profile says, and answers what stands in it', async () => {
    const big = sample(2 * MiB + 5);
    const parts = [
      { path: 'top/a.txt', bytes: text('a') },
      { path: 'top/sub/big.bin', bytes: big },
      { path: 'top/sub/same.bin', bytes: big },
      { path: 'top/.hidden', bytes: text('hidden') },
      { path: 'top/empty.txt', bytes: text('') },
    ];
    const { root } = await makeDag(
      parts.map(({ path, bytes }) => ({ path, content: new Uint8Array(bytes) })),
    );
    const reply = await add(parts, '?items=true');
    expect(reply).toMatchObject({
      cid: root.toString(),
      kind: 'directory',
      name: 'top',
      sizeBytes: 2 * big.length + 7,
      entries: 6,
      // Two directories, three single blocks, and twice the file of three chunks and a node.
      blocks: 2 + 3 + 2 * 4,
      url: `/ipfs/${root.toString()}/`,
    });
    expect(reply.sha256).toBeUndefined();
    expect(reply.items?.map(({ path, kind }) => `${path} ${kind}`)).toEqual([
      '.hidden file',
      'a.txt file',
      'empty.txt file',
      'sub directory',
      'sub/big.bin file',
      'sub/same.bin file',
    ]);
    expect(stand.pins.get(reply.cid)).toMatchObject({ kind: 'directory', blocks: 13 });
    for (const { cid } of reply.items ?? []) expect(await stand.hasBlock(cid)).toBe(true);
  });

  it('keeps empty folders and symlinks, and lies in ?name= when that is given', async () => {
    const reply = await add(
      [
        { path: 'sub', type: FOLDER },
        { path: 'link', bytes: text('../elsewhere'), type: 'application/symlink' },
        { path: 'a', bytes: text('a') },
      ],
      '?name=around&items=true',
    );
    expect(reply.name).toBe('around');
    expect(reply.items?.map(({ path, kind }) => `${path} ${kind}`)).toEqual([
      'a file',
      'link symlink',
      'sub directory',
    ]);
    expect(reply.sizeBytes).toBe(1);
  });

  it("takes forms of Kubo's clients: numbered fields and percent-encoded paths", async () => {
    const reply = await add(
      [{ path: encodeURIComponent('täg/ö b.txt'), bytes: text('x') }],
      '?encoded=true&items=true',
      'file-7?mode=0644',
    );
    expect(reply.name).toBe('täg');
    expect(reply.items?.map(({ path }) => path)).toEqual(['ö b.txt']);
  });

  it('keeps modes and times that fields state, as the reference implementation does', async () => {
    const [mode, mtime] = [0o750, { secs: 1_700_000_000n, nsecs: 5 }];
    const content = sample(2 * MiB + 5);
    const { root } = await makeDag([
      { path: 'top', mode, mtime },
      { path: 'top/big', content: new Uint8Array(content), mode, mtime },
    ]);
    const parts = [
      { path: 'top', type: FOLDER },
      { path: 'top/big', bytes: content },
    ];
    const reply = await add(parts, '', 'file?mode=0750&mtime=1700000000&mtime-nsecs=5');
    expect(reply.cid).toBe(root.toString());
    const plain = await add(parts);
    expect(plain.cid).not.toBe(reply.cid);
    for (const field of [
      'file?mode=9',
      'file?mode=77777',
      'file?mtime=x',
      'file?mtime=1&mtime-nsecs=1e9',
    ])
      expect(await problem(await post(parts, '', field))).toMatch(/^400 .*a mode or time/);
  });

  it('keeps names as they are, below a name that lists can show', async () => {
    const names = ['Icon\r', '\ufeffx', '\ufffd', '\u202egpj.exe', 'back\\slash'];
    const parts = names.map((name) => ({
      path: encodeURIComponent(`top/${name}`),
      bytes: text('x'),
    }));
    const { items } = await add(parts, '?encoded=true&items=true');
    expect(items?.map(({ path }) => path).toSorted()).toEqual(names.toSorted());
    const odd = { path: encodeURIComponent('t\u202e/a'), bytes: text('x') };
    expect(await problem(await post([odd], '?encoded=true'))).toMatch(/directory-invalid/);
  });

  it('of many small files is a HAMT, the one that the profile says', async () => {
    const parts = Array.from({ length: 5200 }, (_, at) => ({
      path: `many/${at}-${'long name '.repeat(5)}`,
      bytes: text(`file ${at}`),
    }));
    const { root } = await makeDag(
      parts.map(({ path, bytes }) => ({ path, content: new Uint8Array(bytes) })),
    );
    const startedMs = performance.now();
    const reply = await add(parts);
    expect(reply.cid).toBe(root.toString());
    expect(reply.entries).toBe(5200);
    expect(performance.now() - startedMs).toBeLessThan(60_000);
  }, 120_000);

  it('refuses what no directory can be, and keeps nothing', async () => {
    const before = await stand.stats();
    const a = { path: 'top/a', bytes: sample(5000).subarray(4000) };
    expect(await problem(await post([a, a]))).toMatch(/^400 .*directory-invalid: "top\/a".*twice/);
    expect(await problem(await post([a, { path: 'top/../x' }]))).toMatch(/names a folder/);
    expect(await problem(await post([a, { path: '/etc/passwd' }]))).toMatch(/relative path/);
    expect(await problem(await post([a, { path: 'top/a/b' }]))).toMatch(/a file and a folder/);
    expect(await problem(await post([a, { path: 'other/b' }]))).toMatch(/does not begin with/);
    expect(await problem(await post([a, { path: 'top/%zz' }], '?encoded=true'))).toMatch(/encoded/);
    const folder = { path: 'top/f', type: FOLDER, bytes: text('x') };
    expect(await problem(await post([a, folder]))).toMatch(/no bytes of its own/);
    for (const target of ['', 'a\0b', 'x'.repeat(4096)]) {
      const link = { path: 'top/l', type: 'application/x-symlink', bytes: text(target) };
      expect(await problem(await post([a, link]))).toMatch(/target/);
    }
    expect(await problem(await post([]))).toMatch(/^400 problems\/file-missing/);
    const nameless = {
      body: '--b\r\ncontent-disposition: form-data; name="file"\r\ncontent-type: application/octet-stream\r\n\r\nx\r\n--b--\r\n',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    };
    const url = `${stand.chunker.origin}/directories`;
    expect(await problem(await fetch(url, { method: 'POST', ...nameless }))).toMatch(
      /^400 .*directory-invalid: .*no file name/,
    );
    const raw = { method: 'POST', body: 'x', headers: { 'content-type': 'text/plain' } };
    expect(await problem(await fetch(`${stand.chunker.origin}/directories`, raw))).toMatch(/^415/);
    expect(await problem(await post([a], '?name=a/b'))).toMatch(/file-name-invalid/);
    await until('nothing is left', async () => (await stand.stats()).blocks === before.blocks);
  });

  it('that dies half-way keeps nothing', async () => {
    const before = await stand.stats();
    const { body, headers } = formOf([
      { path: 'top/whole', bytes: sample(3 * MiB + 9) },
      { path: 'top/cut', bytes: sample(MiB + 1) },
    ]);
    const leave = new AbortController();
    const half = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(body.subarray(0, body.length - MiB / 2));
        await until('some is stored', async () => (await stand.stats()).blocks > before.blocks);
        leave.abort();
      },
    });
    const init = { method: 'POST', headers, body: half, duplex: 'half', signal: leave.signal };
    const left = fetch(`${stand.chunker.origin}/directories`, init as RequestInit);
    await expect(left).rejects.toThrow(/abort/);
    await until('its blocks go', async () => (await stand.stats()).blocks === before.blocks);
    expect([...stand.pins.values()].some(({ name }) => name === 'whole')).toBe(false);
  });

  it('that can not be pinned keeps nothing', async () => {
    const before = await stand.stats();
    stand.swarm.pinRefusal = new StorageFull({ limit: 'disk space', freeBytes: 0 });
    const parts = [{ path: 'full/x', bytes: text('only here') }];
    expect(await problem(await post(parts))).toMatch(/^507 problems\/storage-full/);
    stand.swarm.pinRefusal = undefined;
    await until('its blocks go', async () => (await stand.stats()).blocks === before.blocks);
  });
});

describe('a directory with too many entries', () => {
  it('is refused by name', async () => {
    await using stand = await openStand({ CHUNKER_DIRECTORY_FILES_MAX: '3' });
    const parts = Array.from({ length: 4 }, (_, at) => ({ path: `d/${at}`, bytes: text(`${at}`) }));
    const init = { method: 'POST', ...formOf(parts) };
    const answer = await fetch(`${stand.chunker.origin}/directories`, init);
    expect(answer.status).toBe(400);
    await until('nothing is left', async () => (await stand.stats()).blocks === 0);
  });
});
