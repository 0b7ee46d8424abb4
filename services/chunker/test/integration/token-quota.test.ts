/** What is put with a token: its pin names the token by whatever way it comes in, and a quota ends it on all of them. */
import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Pin, ProblemBody, QuotaExceeded } from '@shoal/protocol';
import { request } from 'undici';
import { carOf, makeDag } from './dags.ts';
import { openStand, sample, type Stand, until } from './stand.ts';

const TUS = { 'tus-resumable': '1.0.0' };
const BOUNDARY = 'multipart/form-data; boundary=b';
const form = (name: string, text: string) =>
  `--b\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: application/octet-stream\r\n\r\n${text}\r\n--b--\r\n`;

interface Sent {
  readonly method: 'POST' | 'PUT';
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body: string | Uint8Array | Readable;
}

/** Every way in, for content that is new each time. */
async function waysFor(text: string, stand: Stand): Promise<Record<string, Sent>> {
  const bytes = (way: string) => Buffer.from(`${way} ${text}`);
  const { root, blocks } = await makeDag([{ content: bytes('car') }]);
  const [block] = (await makeDag([{ content: bytes('pin') }])).blocks;
  if (block === undefined) throw new Error('a file has a block');
  const cid = block.cid.toString();
  stand.swarmBlocks.set(cid, block.bytes);
  const proven = (path: string) => ({ 'content-type': BOUNDARY, ...stand.prove('POST', path) });
  const car = Buffer.from(carOf([root], blocks)).toString('latin1');
  return {
    put: { method: 'PUT', path: '/files/a', body: bytes('put') },
    post: { method: 'POST', path: '/files?name=a', body: bytes('post') },
    form: {
      method: 'POST',
      path: '/files',
      headers: { 'content-type': BOUNDARY },
      body: form('a', `form ${text}`),
    },
    directory: {
      method: 'POST',
      path: '/directories',
      headers: { 'content-type': BOUNDARY },
      body: form('d/a', `directory ${text}`),
    },
    car: {
      method: 'POST',
      path: '/ipfs',
      headers: { 'content-type': 'application/vnd.ipld.car' },
      body: Buffer.from(car, 'latin1'),
    },
    pin: {
      method: 'POST',
      path: '/pins',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ cid }),
    },
    tus: {
      method: 'POST',
      path: '/uploads',
      headers: {
        ...TUS,
        'content-type': 'application/offset+octet-stream',
        'upload-length': String(bytes('tus').length),
      },
      body: bytes('tus'),
    },
    'kubo add': {
      method: 'POST',
      path: '/kubo/add',
      headers: proven('/kubo/add'),
      body: form('a', `kubo ${text}`),
    },
    'kubo import': {
      method: 'POST',
      path: '/kubo/import?as=block&pin=true',
      headers: proven('/kubo/import?as=block&pin=true'),
      body: form('a', `kubo import ${text}`),
    },
  };
}

describe('what is put with a token', () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand();
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });

  const send = async ({ method, path, headers = {}, body }: Sent, token: string) => {
    const answer = await request(stand.chunker.origin + path, {
      method,
      headers: { ...headers, authorization: `Bearer ${token}` },
      body,
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  };
  const pinsOf = (token: string): Pin[] =>
    [...stand.pins.values()].filter((pin) => pin.token === token);

  it('is known by the token’s id, by every way in', async () => {
    for (const [way, sent] of Object.entries(await waysFor('of a token', stand))) {
      const { id, text } = stand.owner.token(['write'], { name: way });
      const { status } = await send(sent, text);
      expect([way, status < 300]).toEqual([way, true]);
      await until(`${way} is pinned`, () => pinsOf(id).length === 1);
    }
  });

  it('is refused by every way in when it is more than the token may keep', async () => {
    for (const [way, sent] of Object.entries(await waysFor('too much', stand))) {
      const { id, text } = stand.owner.token(['write'], { name: way, maxBytes: 3 });
      const answer = await send(sent, text);
      expect([way, answer.text]).toEqual([
        way,
        expect.stringMatching(/quota-exceeded|may have 3 bytes/),
      ]);
      expect([way, pinsOf(id)]).toEqual([way, []]);
    }
  });

  it('may be as much as that, and a file that is kept already is no more', async () => {
    const { id, text } = stand.owner.token(['write'], { maxBytes: 10 });
    const put = (name: string, body: string) =>
      send({ method: 'PUT', path: `/files/${name}`, body }, text);
    expect((await put('a', '123456')).status).toBe(201);
    expect((await put('b', 'abcd')).status).toBe(201);
    const refused = await put('c', 'x');
    expect(refused.status).toBe(413);
    const { type, ...fields } = ProblemBody.parse(JSON.parse(refused.text));
    expect([type, fields]).toEqual([
      QuotaExceeded.type,
      expect.objectContaining({ token: 'a token', maxBytes: 10, leftBytes: 0 }),
    ]);
    // The length of this one is known only once it is here.
    const body = Readable.from([Buffer.from('abcd')]);
    const [pin] = pinsOf(id);
    stand.pins.set('another', { ...pin, sizeBytes: -1 } as Pin); // a byte is left
    expect((await send({ method: 'PUT', path: '/files/b', body }, text)).status).toBe(201);
  });

  it('is never left unpinned, where nobody would count it', async () => {
    const { car } = await waysFor('unpinned', stand);
    if (car === undefined) throw new Error('it is one of the ways');
    const { text } = stand.owner.token(['write'], { maxBytes: 1000 });
    const answer = await send({ ...car, path: '/ipfs?pin=false' }, text);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('has a quota')]);
    const free = stand.owner.token(['write']);
    expect((await send({ ...car, path: '/ipfs?pin=false' }, free.text)).status).toBe(201);
  });

  it('ends in the middle of a body that doesn’t say how long it is', async () => {
    const { text } = stand.owner.token(['write'], { maxBytes: 1000 });
    const sending = httpRequest(`${stand.chunker.origin}/files/endless`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${text}` },
    });
    sending.on('error', () => {}); // it is closed while it is written to
    const answered = once(sending, 'response') as Promise<[IncomingMessage]>;
    const piece = sample(64 * 1024);
    let isAnswered = false;
    void answered.then(() => (isAnswered = true));
    const write = (): void => {
      if (!isAnswered) sending.write(piece, () => setTimeout(write, 20));
    };
    write();
    const [answer] = await answered;
    expect(answer.statusCode).toBe(413);
    sending.destroy();
  });
});
