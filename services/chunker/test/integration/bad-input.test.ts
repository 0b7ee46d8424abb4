import { readdirSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Cid, MiB, PROBLEM_TYPE, ProblemBody } from '@shoal/protocol';
import { openStand, sample, type Stand, until } from './stand.ts';

const BOUNDARY = 'xxSHOALxx';

describe('bad input', () => {
  let stand: Stand;
  let blocksBefore: number;
  beforeAll(async () => {
    stand = await openStand({ CHUNKER_BODY_RATE_WINDOW_MS: '1500', CHUNKER_UPLOADS_MAX: '4' });
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    blocksBefore = (await stand.stats()).blocks;
  });
  // Whatever was sent: nothing is kept, nothing is listed, the process lives.
  afterEach(async () => {
    await until('nothing is kept', async () => (await stand.stats()).blocks === blocksBefore);
    await until('nothing is listed', () => stand.pins.size === 0);
    await until('no upload is open and no buffer in use', async () => {
      const text = await (await fetch(`${stand.chunker.origin}/metrics`)).text();
      return (
        /open_uploads_count\{.*\} 0\n/.test(text) && /chunker_buffers_count\{.*\} 0\n/.test(text)
      );
    });
  });

  const url = (path: string) => `${stand.chunker.origin}${path}`;
  /** Status and type of an answer that must be a problem. */
  const problem = async (answer: Response): Promise<string> => {
    const text = await answer.text();
    const isProblem = answer.headers.get('content-type')?.startsWith(PROBLEM_TYPE);
    if (isProblem !== true) throw new Error(`not a problem: ${answer.status} ${text}`);
    const { status, type } = ProblemBody.parse(JSON.parse(text));
    if (status !== answer.status) throw new Error(`${answer.status} says that it is ${status}`);
    return `${status} ${type}`;
  };
  const postForm = (
    parts: string,
    end = `\r\n--${BOUNDARY}--\r\n`,
    { path = '/files', encoding = 'utf8' as BufferEncoding } = {},
  ) =>
    fetch(url(path), {
      method: 'POST',
      headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
      body: new Uint8Array(Buffer.from(parts + end, encoding)),
    });
  const part = (disposition: string, text = 'hello') =>
    `--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${text}`;

  it('a page of another site, writing through a browser', async () => {
    const answer = await fetch(url('/files?name=x'), {
      method: 'POST',
      body: 'stolen',
      headers: { origin: 'http://evil.example' },
    });
    expect(answer.status).toBe(403);
    expect(ProblemBody.parse(await answer.json()).type).toBe('problems/origin-refused');
  });

  it('a form without a file', async () => {
    const body = new FormData();
    body.append('replicas', '2');
    expect(await problem(await fetch(url('/files'), { method: 'POST', body }))).toBe(
      '400 problems/file-missing',
    );
    expect(await problem(await postForm('', `--${BOUNDARY}--\r\n`))).toBe(
      '400 problems/file-missing',
    );
  });

  it.each([
    ['alone', []],
    ['beside a good one', [part('name="file"; filename="a.txt"')]],
  ])('a part that has no file name, %s, is told so', async (_, before) => {
    for (const path of ['/files', '/directories?name=d']) {
      const answer = await postForm([...before, part('name="file"')].join('\r\n'), undefined, {
        path,
      });
      expect(await answer.json()).toMatchObject({
        type: 'problems/request-invalid',
        detail: expect.stringMatching(/field "file" has no file name/),
      });
    }
  });

  it('a name that is not UTF-8, in any form of it, and nothing of the form is kept', async () => {
    const good = part('name="file"; filename="a.txt"');
    for (const bad of [
      part('name="file"; filename="\xff\xfe.txt"'),
      part(`name="file"; filename*=UTF-8''%ff.txt`),
    ])
      for (const path of ['/files', '/directories?name=d'])
        for (const parts of [[bad], [good, bad], [bad, good]]) {
          const answer = await postForm(parts.join('\r\n'), undefined, {
            path,
            encoding: 'latin1',
          });
          expect(await answer.json()).toMatchObject({
            type: 'problems/file-name-invalid',
            status: 400,
            detail: expect.stringContaining('not valid UTF-8'),
          });
        }
    const field = `${part('name="name"', '\xff')}\r\n${good}`;
    expect(await problem(await postForm(field, undefined, { encoding: 'latin1' }))).toBe(
      '400 problems/request-invalid',
    );
  });

  it('a file in another field is named', async () => {
    const body = new FormData();
    body.append('upload', new Blob(['x']), 'x');
    const answer = await fetch(url('/files'), { method: 'POST', body });
    const detail = (await answer.json()) as unknown;
    expect(detail).toMatchObject({
      type: 'problems/request-invalid',
      detail: expect.stringContaining('"upload"'),
    });
  });

  it('a field that means nothing here is named, and no file of the form is kept', async () => {
    const body = new FormData();
    body.append('expiresAt', '2030-01-01T00:00:00Z');
    body.append('file', new Blob(['x']), 'x');
    const answer = await fetch(url('/files'), { method: 'POST', body });
    expect(await answer.json()).toMatchObject({
      type: 'problems/request-invalid',
      detail: expect.stringContaining('"expiresAt" is not known'),
    });
  });

  const file = (name: string) =>
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\n\r\nof ${name}\r\n`;
  const odd = (headers: string, body = '\r\nhello') => `--${BOUNDARY}\r\n${headers}\r\n${body}\r\n`;
  const disposition = 'Content-Disposition: form-data; name="file"; filename="b.txt"';
  // All that the parser passes over, so that it would be left out of a 201.
  it.each([
    ['a bare CR in its file name', file('Icon\r')],
    ['a line break in its file name', file('a\nb')],
    ['a bare CR in its field', odd('Content-Disposition: form-data; name="fi\rle"; filename="b"')],
    ['no headers', odd('')],
    ['no disposition', odd('Content-Type: text/plain\r\n')],
    ['another disposition', odd('Content-Disposition: attachment; filename="b.txt"\r\n')],
    ['two dispositions', odd(`${disposition}\r\n${disposition}\r\n`)],
    ['no field', odd('Content-Disposition: form-data; filename="b.txt"\r\n')],
    ['a line that is no header', odd(`oops\r\n${disposition}\r\n`)],
    ['more headers than are read', odd(`${'X-A: b\r\n'.repeat(40)}${disposition}\r\n`)],
    ['longer headers than are read', odd(`X-A: ${'b'.repeat(40_000)}\r\n${disposition}\r\n`)],
    ['headers that do not end', odd(disposition, '').replace(/\r\n\r\n$/, '\r\n')],
    ['no line between headers and boundary', `--${BOUNDARY}\r\n${disposition}\r\n\r\n`],
    ['a boundary that goes on', file('b.txt').replace(BOUNDARY, `${BOUNDARY}x`)],
    ['spaces behind its boundary', file('b.txt').replace(BOUNDARY, `${BOUNDARY}  `)],
    ['coded bytes', odd(`${disposition}\r\nContent-Transfer-Encoding: base64\r\n`)],
    ['the last boundary before it', `--${BOUNDARY}--\r\n${file('b.txt')}`],
  ])('a part with %s, wherever in the form', async (_, part) => {
    const forms = [
      [file('a.txt'), part, file('c.txt')],
      [part, file('a.txt')],
      [file('a.txt'), part],
    ];
    for (const path of ['/files?copies=1', '/directories?name=d&items=true&copies=1'])
      for (const parts of forms) {
        const answer = await fetch(url(path), {
          method: 'POST',
          headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
          body: `${parts.join('')}--${BOUNDARY}--\r\n`,
        });
        expect(await problem(answer)).toMatch(/^400 problems\/(multipart-malformed|file-missing)$/);
      }
  });

  it('two names', async () => {
    const body = new FormData();
    body.append('file', new Blob(['x']), 'x');
    expect(await problem(await fetch(url('/files?name=y'), { method: 'POST', body }))).toBe(
      '400 problems/file-name-invalid',
    );
    expect(
      await problem(await fetch(url('/files?name=y&name=z'), { method: 'POST', body: 'x' })),
    ).toBe('400 problems/request-invalid');
    expect(
      await problem(
        await postForm(
          `${part('name="name"', 'a')}\r\n${part('name="name"', 'b')}\r\n${part('name="file"; filename="a"')}`,
        ),
      ),
    ).toBe('400 problems/file-name-invalid');
  });

  it.each([
    ['a path', '../x'],
    ['NUL', 'a%00b'],
    ['10 kB', 'x'.repeat(10_000)],
    ['a right-to-left override', 'a%E2%80%AEgpj.exe'],
    ['nothing', ''],
  ])('a name that is %s', async (_, encoded) => {
    const name = decodeURIComponent(encoded);
    const path = encodeURIComponent(name);
    expect(await problem(await fetch(url(`/files/${path}`), { method: 'PUT', body: 'x' }))).toBe(
      '400 problems/file-name-invalid',
    );
    expect(
      await problem(await fetch(url(`/files?name=${path}`), { method: 'POST', body: 'x' })),
    ).toBe('400 problems/file-name-invalid');
    expect(await problem(await postForm(part(`name="file"; filename="${name}"`)))).toBe(
      '400 problems/file-name-invalid',
    );
  });

  it('no name at all', async () => {
    expect(await problem(await fetch(url('/files'), { method: 'POST', body: 'x' }))).toBe(
      '400 problems/file-name-invalid',
    );
  });

  it('a second file with a bad name takes the first along', async () => {
    expect(
      await problem(
        await postForm(
          `${part('name="file"; filename="good"')}\r\n${part('name="file"; filename="../bad"')}`,
        ),
      ),
    ).toBe('400 problems/file-name-invalid');
  });

  it.each([
    ['no boundary in the type', 'multipart/form-data', 'x'],
    ['no part at all', `multipart/form-data; boundary=${BOUNDARY}`, 'nonsense'],
    [
      'a file cut off',
      `multipart/form-data; boundary=${BOUNDARY}`,
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello`,
    ],
    [
      'a header cut off',
      `multipart/form-data; boundary=${BOUNDARY}`,
      `--${BOUNDARY}\r\nContent-Disposition: form-`,
    ],
    [
      'a field cut off',
      `multipart/form-data; boundary=${BOUNDARY}`,
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="x"\r\n\r\nhel`,
    ],
    [
      'a skipped part cut off',
      `multipart/form-data; boundary=${BOUNDARY}`,
      `--${BOUNDARY}\r\nX: y\r\n\r\nhel`,
    ],
  ])('a malformed form: %s', async (_, type, body) => {
    const startMs = performance.now();
    const answer = await fetch(url('/files'), {
      method: 'POST',
      headers: { 'content-type': type },
      body,
    });
    expect(await problem(answer)).toBe('400 problems/multipart-malformed');
    expect(performance.now() - startMs).toBeLessThan(5000);
  });

  it('more parts and fields than a form may have', async () => {
    const many = Array.from({ length: 2000 }, (_, index) => part(`name="f${index}"`, 'x')).join(
      '\r\n',
    );
    const answer = await postForm(many);
    expect(await problem(answer)).toBe('400 problems/request-invalid');
  });

  it('a field with the name of a prototype', async () => {
    expect(await problem(await postForm(part('name="__proto__"')))).toBe(
      '400 problems/multipart-malformed',
    );
  });

  it('a digest that does not match, through both doors', async () => {
    const headers = { 'repr-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` };
    const put = { method: 'PUT', body: new Uint8Array(sample(3 * MiB + 1)), headers };
    expect(await problem(await fetch(url('/files/d'), put))).toBe('400 problems/digest-mismatch');
    const body = new FormData();
    body.append('file', new Blob(['x']), 'x');
    expect(await problem(await fetch(url('/files'), { method: 'POST', body, headers }))).toBe(
      '400 problems/digest-mismatch',
    );
    const bad = { method: 'PUT', body: 'x', headers: { 'repr-digest': 'sha-256=oops' } };
    expect(await problem(await fetch(url('/files/d'), bad))).toBe('400 problems/request-invalid');
  });

  it('a coded body', async () => {
    const init = { method: 'PUT', body: 'x', headers: { 'content-encoding': 'gzip' } };
    expect(await problem(await fetch(url('/files/z'), init))).toBe(
      '415 problems/media-type-unsupported',
    );
  });

  it.each([
    'replicas=0',
    'replicas=99',
    'replicas=x',
    'copies=-1',
    'expiresAt=tomorrow',
    'expiresAt=2101-01-01',
    'expiresAt=2001-01-01T00:00:00Z',
  ])('the query %s', async (query) => {
    const answer = await fetch(url(`/files/q?${query}`), { method: 'PUT', body: 'x' });
    expect(await problem(answer)).toBe('400 problems/request-invalid');
  });

  it('a body that stops coming', async () => {
    const { socket, answer } = await openBody(
      'PUT /files/slow HTTP/1.1',
      'content-length: 5000000',
    );
    socket.write(sample(2 * MiB));
    expect(await answer).toMatch(/^HTTP\/1.1 408 [^]*connection: close[^]*body-too-slow/);
    await once(socket, 'end'); // the rest of the body is not waited for
    socket.destroy();
  });

  it('a form that stops coming', async () => {
    const { socket, answer } = await openBody(
      'POST /files HTTP/1.1',
      `content-length: 5000000\r\ncontent-type: multipart/form-data; boundary=${BOUNDARY}`,
    );
    socket.write(part('name="file"; filename="a"'));
    expect(await answer).toMatch(/^HTTP\/1.1 408 [^]*body-too-slow/);
    socket.destroy();
  });

  it('a body shorter than its length', async () => {
    const { socket, answer } = await openBody(
      'PUT /files/short HTTP/1.1',
      'content-length: 5000000',
    );
    socket.end(sample(2 * MiB));
    expect(await answer).toMatch(/^HTTP\/1.1 400 [^]*problems\//);
  });

  it('one upload too many', async () => {
    const open = await Promise.all(
      Array.from({ length: 4 }, () => openBody('PUT /files/many HTTP/1.1', 'content-length: 10')),
    );
    await until('four uploads are open', async () =>
      /open_uploads_count\{.*\} 4\n/.test(await (await fetch(url('/metrics'))).text()),
    );
    const answer = await fetch(url('/files/fifth'), { method: 'PUT', body: 'x' });
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(await problem(answer)).toBe('503 problems/overloaded');
    for (const { socket } of open) socket.destroy();
  });

  it('one client with all the uploads there may be gives way to another', async () => {
    const open = await Promise.all(
      Array.from({ length: 4 }, () =>
        openBody('PUT /files/slow HTTP/1.1', 'content-length: 9999999'),
      ),
    );
    // Quick enough for a body, as long as nobody else waits.
    const timer = setInterval(() => {
      for (const { socket } of open) if (socket.writable) socket.write(Buffer.alloc(2048));
    }, 200);
    try {
      await until('four uploads are open', async () =>
        /open_uploads_count\{.*\} 4\n/.test(await (await fetch(url('/metrics'))).text()),
      );
      const sent = request(url('/files/other'), {
        method: 'PUT',
        localAddress: '127.0.0.2',
        headers: { 'repr-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` },
      });
      sent.end('x');
      const [answer] = (await once(sent, 'response')) as [IncomingMessage];
      expect(answer.resume().statusCode).toBe(400); // it was read to its end: its digest is another
      expect(await Promise.race(open.map((each) => each.answer))).toMatch(/ 503 [^]*gave-way/);
    } finally {
      clearInterval(timer);
      for (const { socket } of open) socket.destroy();
    }
  });

  it('fifty senders that leave half-way hold nothing', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await abortUpload();
    const before = descriptors();
    for (let round = 0; round < 50; round += 1) await abortUpload();
    await until('descriptors are closed', () => descriptors() <= before + 3);
    expect(descriptors()).toBeLessThanOrEqual(before + 3);
  });

  /** Opens a connection, sends the head of a request, and collects what is answered. */
  async function openBody(
    line: string,
    headers: string,
  ): Promise<{ socket: Socket; answer: Promise<string> }> {
    const { port, hostname } = new URL(stand.chunker.origin);
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    socket.on('error', () => socket.destroy());
    await once(socket, 'connect');
    socket.write(`${line}\r\nhost: x\r\n${headers}\r\n\r\n`);
    let text = '';
    const answer = new Promise<string>((resolve) => {
      socket.on('data', (piece) => {
        text += piece.toString();
        if (text.includes('}')) resolve(text);
      });
      socket.on('close', () => resolve(text));
    });
    return { socket, answer };
  }

  async function abortUpload(): Promise<void> {
    const { socket } = await openBody('PUT /files/left HTTP/1.1', 'content-length: 50000000');
    await new Promise<void>((resolve) => socket.write(sample(MiB + 1000), () => resolve()));
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
    await until('the upload is over', async () =>
      /open_uploads_count\{.*\} 0\n/.test(await (await fetch(url('/metrics'))).text()),
    );
  }
});

describe('a storage that fails', () => {
  it('being full is said at once, with its reason', async () => {
    await using stand = await openStand(
      {},
      { storageEnv: { STORAGE_CAPACITY_BYTES: String(4 * MiB) } },
    );
    const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      // Without a length: only the puts can tell.
      const sending = request(`${stand.chunker.origin}/files/big`, { method: 'PUT' });
      let isAnswered = false;
      sending.on('response', (response) => {
        isAnswered = true;
        let text = '';
        response.on('data', (piece: Buffer) => (text += piece.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sending.on('error', (error) => (isAnswered ? undefined : reject(error)));
      let sent = 0;
      const more = () => {
        // Each piece is another block: equal ones would be stored once.
        let isTaken = true;
        while (!isAnswered && isTaken && sent < 1024) {
          const piece = sample(MiB);
          piece.writeUInt32BE((sent += 1));
          isTaken = sending.write(piece);
        }
      };
      sending.on('drain', more);
      more();
    });
    expect([answer.status, answer.text]).toEqual([507, answer.text]);
    expect(JSON.parse(answer.text)).toMatchObject({
      type: 'problems/storage-full',
      peersWithRoom: [],
    });
    expect(stand.pins.size).toBe(0);
    await until('nothing is kept', async () => (await stand.stats()).blocks === 0);
  });

  it('being too small is said before the body is read, with the peers that have room', async () => {
    await using stand = await openStand(
      {},
      { storageEnv: { STORAGE_CAPACITY_BYTES: String(4 * MiB) } },
    );
    const free = [4, 4, 64, 512, 32, 256, 128, 1024, 2048].map((mebibytes) => mebibytes * MiB);
    stand.swarm.members = free.length;
    stand.swarm.describe = (index) => ({
      freeBytes: free[index] ?? 0,
      draining: index === 7,
      state: index === 8 ? 'down' : 'alive',
      http: {
        gateway: `http://peer-${index}.test`,
        chunker: 'http://x',
        storage: 'http://x',
        transfer: 'http://x',
        discovery: 'http://x',
      },
    });
    /** Sends a head and not one byte of the body. */
    const refuse = (path: string, headers: Record<string, string>) =>
      new Promise<{ status: number; body: unknown }>((resolve, reject) => {
        const sending = request(`${stand.chunker.origin}${path}`, { method: 'POST', headers });
        sending.on('error', reject).flushHeaders();
        sending.on('response', (response) => {
          let text = '';
          response.on('data', (piece: Buffer) => (text += piece.toString()));
          response.on('end', () => {
            resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown });
            sending.destroy();
          });
        });
      });
    const problem = (...roomiest: number[]) => ({
      status: 507,
      body: expect.objectContaining({
        type: 'problems/storage-full',
        limit: expect.any(String),
        freeBytes: expect.any(Number),
        peersWithRoom: roomiest.map((index) =>
          expect.objectContaining({
            gateway: `http://peer-${index}.test`,
            freeBytes: free[index],
          }),
        ),
      }),
    });
    const form = { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` };
    expect(await refuse('/files?name=a', { 'content-length': String(5 * MiB) })).toEqual(
      problem(3, 5, 6, 2, 4),
    );
    expect(await refuse('/files', { ...form, 'content-length': String(200 * MiB) })).toEqual(
      problem(3, 5),
    );
    expect(await refuse('/files?name=c', { 'content-length': String(1024 * MiB) })).toEqual(
      problem(),
    );
    await until('no upload is open', async () =>
      /open_uploads_count\{.*\} 0\n/.test(
        await (await fetch(`${stand.chunker.origin}/metrics`)).text(),
      ),
    );
    expect((await stand.stats()).blocks).toBe(0);
    // What fits is taken, also by a form whose body is a little larger than the room.
    const body = new FormData();
    body.append('file', new Blob([new Uint8Array(sample(3 * MiB))]), 'fits');
    expect(
      (await fetch(`${stand.chunker.origin}/files?copies=1`, { method: 'POST', body })).status,
    ).toBe(201);
  });

  it('being killed in the middle is a 503, and nothing is listed', async () => {
    await using stand = await openStand();
    async function* body() {
      yield sample(4 * MiB);
      await stand.killStorage();
      yield sample(20 * MiB);
    }
    const answer = await fetch(`${stand.chunker.origin}/files/cut`, {
      method: 'PUT',
      body: body(),
      duplex: 'half',
    } as RequestInit);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({
      type: 'problems/service-unavailable',
      service: 'storage',
    });
    expect(stand.pins.size).toBe(0);
    const ready = await fetch(`${stand.chunker.origin}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ reason: 'storage does not answer' });
  });
});

describe('a discovery that is away', () => {
  it('is a 503 after the time for it, and nothing is kept', async () => {
    await using stand = await openStand({ CHUNKER_PIN_TIMEOUT_MS: '500' });
    expect((await fetch(`${stand.chunker.origin}/readyz`)).status).toBe(200);
    await stand.stopDiscovery();
    const answer = await fetch(`${stand.chunker.origin}/files/x`, { method: 'PUT', body: 'x' });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ service: 'discovery' });
    await until('nothing is kept', async () => (await stand.stats()).blocks === 0);
    expect(await stand.hasBlock(Cid.parse(EMPTY_CID))).toBe(false);
  });
});

const EMPTY_CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
