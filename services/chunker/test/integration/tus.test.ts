import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB, ServiceUnavailable } from '@shoal/protocol';
import { openStand, sample, type Stand, until } from './stand.ts';

const TUS = { 'tus-resumable': '1.0.0' };
const BODY = { ...TUS, 'content-type': 'application/offset+octet-stream' };
const SIZE_BYTES = 3 * MiB + 5;

const metadata = (fields: Record<string, string>): string =>
  Object.entries(fields)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
    .join(',');

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes that no other test uploads. */
const distinct = (sizeBytes: number, seed: string): Buffer => {
  const bytes = sample(sizeBytes);
  for (let at = 0; at < sizeBytes; at += MiB) bytes.write(seed, at);
  return bytes;
};

/** A client of one chunker, as small as tus allows. */
function clientOf(origin: string) {
  const call = async (url: string, init: RequestInit & { headers: Record<string, string> }) =>
    fetch(new URL(url, origin), init);
  const create = (
    sizeBytes: number | undefined,
    headers: Record<string, string> = {},
    query = '',
  ) =>
    call(`/uploads${query}`, {
      method: 'POST',
      headers: {
        ...TUS,
        ...(sizeBytes === undefined
          ? { 'upload-defer-length': '1' }
          : { 'upload-length': String(sizeBytes) }),
        ...headers,
      },
    });
  return {
    create,
    async begin(sizeBytes: number | undefined, fields: Record<string, string> = {}) {
      const answer = await create(sizeBytes, {
        'upload-metadata': metadata({ filename: 'a.bin', ...fields }),
      });
      expect(answer.status).toBe(201);
      return addressIn(answer);
    },
    head: (url: string) => call(url, { method: 'HEAD', headers: TUS }),
    patch: (url: string, offset: number, bytes: Uint8Array, headers: Record<string, string> = {}) =>
      call(url, {
        method: 'PATCH',
        headers: { ...BODY, 'upload-offset': String(offset), ...headers },
        body: new Uint8Array(bytes),
      }),
    remove: (url: string) => call(url, { method: 'DELETE', headers: TUS }),
    get: (url: string) => call(url, { headers: {} }),
    /** Begins a PATCH whose body stays open. */
    async openPatch(url: string, offset: number, first: Uint8Array, length?: number) {
      const { hostname, port } = new URL(origin);
      const sent = httpRequest({
        hostname,
        port,
        path: url,
        method: 'PATCH',
        headers: {
          ...BODY,
          'upload-offset': String(offset),
          ...(length === undefined ? {} : { 'content-length': String(length) }),
        },
      });
      sent.on('error', () => {});
      const answer = once(sent, 'response');
      answer.catch(() => {});
      await new Promise<void>((resolve) => {
        sent.write(first, () => resolve());
      });
      return { sent, answer };
    },
  };
}

const offsetIn = (answer: Response): number => Number(answer.headers.get('upload-offset'));

/** Where the answer says that the upload is. */
const addressIn = ({ headers, url }: Response): string =>
  new URL(headers.get('location') ?? '', url).pathname;

describe('a resumable upload', () => {
  let stand: Stand;
  let client: ReturnType<typeof clientOf>;
  beforeAll(async () => {
    stand = await openStand({
      CHUNKER_TUS_UPLOADS_MAX: '12',
      CHUNKER_TUS_SIZE_MAX_BYTES: String(64 * MiB),
    });
    client = clientOf(stand.chunker.origin);
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });

  it.each([1, 2])('has the CID of a plain one, whatever the pieces (%p)', async (round) => {
    const bytes = distinct(SIZE_BYTES, 'plain');
    const plain = await fetch(`${stand.chunker.origin}/files/a.bin`, {
      method: 'PUT',
      body: new Uint8Array(bytes),
    });
    const { cid } = (await plain.json()) as { cid: string };
    const url = await client.begin(SIZE_BYTES, { sha256: sha256Of(bytes), replicas: '2' });
    const pieceBytes = round === 1 ? 300_000 : 2 * MiB;
    let last: Response | undefined;
    for (let offset = 0; offset < SIZE_BYTES; offset += pieceBytes) {
      last = await client.patch(url, offset, bytes.subarray(offset, offset + pieceBytes));
      expect([last.status, offsetIn(last)]).toEqual([
        204,
        Math.min(SIZE_BYTES, offset + pieceBytes),
      ]);
    }
    expect(last?.headers.get('x-cid')).toBe(cid);
    expect(last?.headers.get('x-sha256')).toBe(sha256Of(bytes));
    expect(stand.pins.get(cid)).toMatchObject({
      name: 'a.bin',
      replicas: 2,
      sizeBytes: SIZE_BYTES,
    });
    const head = await client.head(url);
    expect([head.status, offsetIn(head), head.headers.get('x-cid')]).toEqual([
      200,
      SIZE_BYTES,
      cid,
    ]);
    expect(head.headers.get('upload-length')).toBe(String(SIZE_BYTES));
    expect(head.headers.get('access-control-allow-origin')).toBeNull();
    const got = await client.get(url);
    expect(await got.json()).toMatchObject({
      cid,
      name: 'a.bin',
      sizeBytes: SIZE_BYTES,
      blocks: 5,
    });
    expect((await client.remove(url)).status).toBe(204);
    expect(await stand.hasBlock(cid as never)).toBe(true); // the file stays: its pin holds it
    expect((await client.head(url)).status).toBe(404);
  });

  it('tells how far it is before', async () => {
    const url = await client.begin(SIZE_BYTES);
    await client.patch(url, 0, distinct(MiB + 7, 'far'));
    expect(await (await client.get(url)).json()).toMatchObject({
      state: 'receiving',
      name: 'a.bin',
      receivedBytes: MiB + 7,
      sizeBytes: SIZE_BYTES,
    });
    await client.remove(url);
  });

  it('may bring its first bytes with the creation, be empty, and be named by query', async () => {
    const bytes = distinct(MiB + 1, 'with');
    const whole = await fetch(`${stand.chunker.origin}/uploads?name=b.bin&replicas=1`, {
      method: 'POST',
      headers: { ...BODY, 'upload-length': String(bytes.length) },
      body: new Uint8Array(bytes),
    });
    expect([whole.status, offsetIn(whole)]).toEqual([201, bytes.length]);
    const cid = whole.headers.get('x-cid') ?? '';
    expect(stand.pins.get(cid)).toMatchObject({ name: 'b.bin', replicas: 1 });
    const empty = await client.create(0);
    expect(empty.headers.get('x-cid')).toBe(
      'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku',
    );
    expect(stand.pins.get(empty.headers.get('x-cid') ?? '')?.name).toBe(empty.headers.get('x-cid'));
  });

  it('may learn its length last, also with a body of unknown length', async () => {
    const bytes = distinct(2 * MiB, 'late');
    const url = await client.begin(undefined);
    expect((await client.head(url)).headers.get('upload-defer-length')).toBe('1');
    const { sent, answer } = await client.openPatch(url, 0, bytes.subarray(0, MiB + 3));
    sent.end(bytes.subarray(MiB + 3, 2 * MiB - 9));
    await answer;
    expect(offsetIn(await client.head(url))).toBe(2 * MiB - 9);
    const last = await client.patch(url, 2 * MiB - 9, bytes.subarray(2 * MiB - 9), {
      'upload-length': String(2 * MiB),
    });
    expect([last.status, last.headers.get('x-sha256')]).toEqual([204, sha256Of(bytes)]);
    const twice = await client.begin(undefined);
    await client.patch(twice, 0, bytes);
    const known = await client.patch(twice, bytes.length, new Uint8Array(), {
      'upload-length': String(bytes.length),
    });
    expect(known.headers.get('x-cid')).toBe(last.headers.get('x-cid'));
  });

  it('goes on where a client left off in the middle of a request', async () => {
    const bytes = distinct(SIZE_BYTES, 'left');
    const url = await client.begin(SIZE_BYTES);
    const before = await stand.stats();
    const { sent } = await client.openPatch(url, 0, bytes.subarray(0, MiB + 100), SIZE_BYTES);
    await until('a chunk is here', async () => (await stand.stats()).blocks > before.blocks);
    sent.destroy();
    const offset = offsetIn(await client.head(url));
    expect(offset).toBeGreaterThanOrEqual(MiB);
    const last = await client.patch(url, offset, bytes.subarray(offset));
    expect(last.headers.get('x-sha256')).toBe(sha256Of(bytes));
  });

  it('is taken over by who comes last, and two that write at once make one file', async () => {
    const bytes = distinct(SIZE_BYTES, 'taken');
    const url = await client.begin(SIZE_BYTES);
    const { sent, answer } = await client.openPatch(url, 0, bytes.subarray(0, 10), SIZE_BYTES);
    await until('the first one writes', async () => {
      const body = (await (await client.get(url)).json()) as { receivedBytes: number };
      return body.receivedBytes === 0;
    });
    const offset = offsetIn(await client.head(url)); // makes the first one let go
    const [first] = (await answer) as [{ statusCode: number; headers: Record<string, string> }];
    expect(first.statusCode).toBe(204);
    expect(Number(first.headers['upload-offset'])).toBe(offset);
    sent.destroy();
    const both = await Promise.all([
      client.patch(url, offset, bytes.subarray(offset)).catch(() => undefined),
      client.patch(url, offset, bytes.subarray(offset)).catch(() => undefined),
    ]);
    expect(both.map((each) => each?.status)).toContain(204);
    const now = offsetIn(await client.head(url));
    if (now < SIZE_BYTES) await client.patch(url, now, bytes.subarray(now));
    expect((await client.head(url)).headers.get('x-sha256')).toBe(sha256Of(bytes));
  });

  it('refuses a wrong offset, a wrong address and what breaks the protocol', async () => {
    const url = await client.begin(10);
    const wrong = await client.patch(url, 5, Buffer.from('12345'));
    expect([wrong.status, wrong.headers.get('content-type')]).toEqual([
      409,
      'application/problem+json',
    ]);
    expect(await wrong.json()).toMatchObject({
      type: 'problems/upload-offset-wrong',
      offsetBytes: 0,
    });
    for (const id of ['0'.repeat(32), '..%2f..%2fidentity', 'a.upload', '%00', 'x'.repeat(5000)]) {
      expect((await client.head(`/uploads/${id}`)).status).toBe(404);
      expect((await client.patch(`/uploads/${id}`, 0, Buffer.from('x'))).status).toBe(404);
      expect((await client.remove(`/uploads/${id}`)).status).toBe(404);
      expect((await client.get(`/uploads/${id}`)).status).toBe(404);
    }
    expect((await client.patch(url, 0, Buffer.alloc(11))).status).toBe(413);
    const { sent, answer } = await client.openPatch(url, 0, Buffer.alloc(11));
    sent.end();
    const [tooMuch] = (await answer) as [{ statusCode: number }];
    expect(tooMuch.statusCode).toBe(413);
    expect((await client.create(65 * MiB)).status).toBe(413);
    for (const headers of [{}, { 'tus-resumable': '0.2.2' }]) {
      const answer = await fetch(new URL(url, stand.chunker.origin), { method: 'HEAD', headers });
      expect([answer.status, answer.headers.get('tus-version')]).toEqual([412, '1.0.0']);
    }
    for (const type of [{}, { 'content-type': 'text/plain' }])
      for (const [method, at, state] of [
        ['PATCH', url, { 'upload-offset': '0' }],
        ['POST', '/uploads', { 'upload-length': '1' }],
        ['POST', url, { 'upload-offset': '0', 'x-http-method-override': 'PATCH' }],
      ] as const) {
        const answer = await fetch(new URL(at, stand.chunker.origin), {
          method,
          headers: { ...TUS, ...state, ...type },
          body: Buffer.from('x'), // unlike a text, without a type of its own
        });
        expect([method, at, answer.status]).toEqual([method, at, 415]);
        expect(await answer.json()).toMatchObject({
          type: 'problems/media-type-unsupported',
          expected: 'application/offset+octet-stream',
        });
      }
    expect(offsetIn(await client.head(url))).toBe(0);
    const coded = await client.patch(url, 0, Buffer.from('x'), { 'content-encoding': 'gzip' });
    expect(coded.status).toBe(415);
    expect((await client.remove(url)).status).toBe(204);
  });

  it.each([
    [{ replicas: '0' }, /replicas/],
    [{ expiresAt: '2001-01-01T00:00:00Z' }, /past/],
    [{ filename: 'a/b' }, /path separator/],
    [{ sha256: 'abc' }, /sha256/],
  ])('refuses wishes that can not be met: %p', async (fields, reason) => {
    const answer = await client.create(5, { 'upload-metadata': metadata(fields) });
    expect(answer.status).toBe(400);
    expect(((await answer.json()) as { detail: string }).detail).toMatch(reason);
  });

  it('of other bytes than its sha-256 says is refused and gone, blocks and all', async () => {
    const bytes = distinct(MiB + 9, 'false');
    const before = await stand.stats();
    const url = await client.begin(bytes.length, { sha256: '0'.repeat(64) });
    const answer = await client.patch(url, 0, bytes);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ type: 'problems/digest-mismatch' });
    expect((await client.head(url)).status).toBe(404);
    await until('its blocks are gone', async () => (await stand.stats()).blocks === before.blocks);
  });

  it('that is ended frees its blocks, also while it is being written', async () => {
    const bytes = distinct(5 * MiB, 'ended');
    const before = await stand.stats();
    const url = await client.begin(bytes.length);
    await client.patch(url, 0, bytes.subarray(0, 2 * MiB + 1));
    expect((await stand.stats()).blocks).toBe(before.blocks + 2);
    const { sent } = await client.openPatch(url, 2 * MiB + 1, bytes.subarray(2 * MiB + 1, 4 * MiB));
    expect((await client.remove(url)).status).toBe(204);
    sent.destroy();
    await until('its blocks are gone', async () => (await stand.stats()).blocks === before.blocks);
    expect((await client.head(url)).status).toBe(404);
  });

  it('whose pin was not taken is kept by the next question', async () => {
    const bytes = distinct(MiB + 2, 'pin');
    const url = await client.begin(bytes.length);
    stand.swarm.pinRefusal = new ServiceUnavailable({ service: 'discovery' });
    const failed = await client.patch(url, 0, bytes);
    expect(failed.status).toBe(503);
    stand.swarm.pinRefusal = undefined;
    const head = await client.head(url);
    expect([head.status, head.headers.get('x-sha256')]).toEqual([200, sha256Of(bytes)]);
  });

  it('is refused from a stranger’s page, and says to browsers what it may', async () => {
    const foreign = await client.create(5, { origin: 'https://evil.example' });
    expect(foreign.status).toBe(403);
    const asked = await fetch(`${stand.chunker.origin}/uploads`, { method: 'OPTIONS' });
    expect(asked.status).toBe(204);
    expect(asked.headers.get('tus-extension')).toBe(
      'creation,creation-with-upload,creation-defer-length,termination,expiration',
    );
    expect(asked.headers.get('tus-max-size')).toBe(String(64 * MiB));
  });

  it('may say only POST', async () => {
    const url = await client.begin(3);
    const answer = await fetch(new URL(url, stand.chunker.origin), {
      method: 'POST',
      headers: { ...BODY, 'upload-offset': '0', 'x-http-method-override': 'PATCH' },
      body: 'abc',
    });
    expect([answer.status, answer.headers.get('x-sha256')]).toEqual([
      204,
      sha256Of(Buffer.from('abc')),
    ]);
  });

  it('is one too many when as many are unfinished as may be', async () => {
    const urls: string[] = [];
    let last: Response;
    for (;;) {
      last = await client.create(5);
      if (last.status !== 201) break;
      urls.push(addressIn(last));
    }
    expect([last.status, urls.length <= 12]).toEqual([503, true]);
    for (const url of urls) await client.remove(url);
    expect((await client.create(5)).status).toBe(201);
  });
});

describe('a resumable upload on a small disk', () => {
  it('is refused at once when it can not fit, and may go on when there is room again', async () => {
    await using stand = await openStand(
      {},
      {
        storageEnv: { STORAGE_CAPACITY_BYTES: String(4 * MiB), STORAGE_REPAIR_RESERVE_SHARE: '0' },
      },
    );
    const client = clientOf(stand.chunker.origin);
    const early = await client.create(6 * MiB);
    expect(early.status).toBe(507);
    expect(await early.json()).toMatchObject({ type: 'problems/storage-full' });
    const other = await client.begin(3 * MiB);
    await client.patch(other, 0, distinct(2 * MiB, 'other'));
    const bytes = distinct(3 * MiB, 'grows');
    const url = await client.begin(undefined);
    // Of a body without a length nobody can say early that it does not fit.
    const first = await client.openPatch(url, 0, bytes);
    first.sent.end();
    const [full] = (await first.answer) as [{ statusCode: number }];
    expect(full.statusCode).toBe(507);
    const offset = offsetIn(await client.head(url));
    expect([offset >= MiB, offset < 3 * MiB]).toEqual([true, true]); // what was stored counts
    const { sent, answer } = await client.openPatch(url, offset, bytes.subarray(offset));
    sent.end();
    const [late] = (await answer) as [{ statusCode: number }];
    expect(late.statusCode).toBe(507);
    await client.remove(other);
    await until('it knows of the room', async () => {
      const answer = await client.create(3 * MiB - offset); // what the last request below needs
      await client.remove(answer.status === 201 ? addressIn(answer) : '/uploads/none');
      return answer.status === 201;
    });
    const last = await client.patch(url, offset, bytes.subarray(offset), {
      'upload-length': String(bytes.length),
    });
    expect([last.status, last.headers.get('x-sha256')]).toEqual([204, sha256Of(bytes)]);
  });
});

describe('a resumable upload that is left alone', () => {
  it('expires, and its blocks go; one that is gone on with does not', async () => {
    await using stand = await openStand({ CHUNKER_TUS_EXPIRES_MS: '2000' });
    const client = clientOf(stand.chunker.origin);
    const url = await client.begin(SIZE_BYTES);
    const begun = await client.patch(url, 0, distinct(MiB, 'alone'));
    expect(Date.parse(begun.headers.get('upload-expires') ?? '')).toBeGreaterThan(Date.now());
    const kept = await client.begin(SIZE_BYTES);
    const startMs = performance.now();
    await until('it is gone', async () => {
      expect((await client.head(kept)).status).toBe(200);
      return (await stand.stats()).blocks === 0;
    });
    expect(performance.now() - startMs).toBeGreaterThan(1500);
    expect([404, 410]).toContain((await client.head(url)).status);
  });

  it('keeps its lease for as long as it may be gone on with', async () => {
    await using stand = await openStand(
      { CHUNKER_TUS_EXPIRES_MS: '8000' },
      { storageEnv: { STORAGE_LEASE_IDLE_MS: '3000' } },
    );
    const client = clientOf(stand.chunker.origin);
    const bytes = distinct(2 * MiB, 'leased');
    const url = await client.begin(bytes.length);
    await client.patch(url, 0, bytes.subarray(0, MiB));
    const startMs = performance.now();
    await until('the lease would have run out', () => performance.now() - startMs > 5500);
    expect((await client.remove(url)).status).toBe(204);
    // Blocks whose lease had run out would stay until the sweep.
    await until('its blocks are gone', async () => (await stand.stats()).blocks === 0);
  });
});
