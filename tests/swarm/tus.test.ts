import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import {
  download,
  eventually,
  listFiles,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  sha256Of,
  startPeer,
  startSwarm,
  upload,
} from '@shoal/testkit';
import { CID } from 'multiformats/cid';
import { request } from 'undici';

/** What the console's page loads. */
const CONSOLE_SENDER = '../../services/gateway/src/console/files/send-pieces.js';
interface ConsoleSender {
  sendInPieces(
    file: Blob & { readonly name: string },
    options: {
      onSent(offset: number): void;
      onTrouble(message: string): void;
      signal: AbortSignal;
    },
  ): Promise<{ readonly name: string; readonly sha256: string }>;
}

const TUS = { 'tus-resumable': '1.0.0' };
const BODY = { ...TUS, 'content-type': 'application/offset+octet-stream' };
const SIZE_BYTES = 24 * MiB + 321;

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly offset: number;
}

async function ask(
  method: 'POST' | 'HEAD' | 'PATCH' | 'DELETE' | 'GET',
  url: string,
  headers: Record<string, string>,
  body?: Buffer | Readable,
): Promise<Answer> {
  const answer = await request(url, {
    method,
    headers,
    body: body ?? null,
    headersTimeout: 60_000,
  });
  await answer.body.dump();
  const offset = Number(answer.headers['upload-offset'] ?? Number.NaN);
  return { status: answer.statusCode, headers: answer.headers, offset };
}

async function begin(
  origin: string,
  sizeBytes: number,
  name: string,
  headers = {},
): Promise<string> {
  const answer = await ask('POST', `${origin}/uploads`, {
    ...TUS,
    'upload-length': String(sizeBytes),
    'upload-metadata': `filename ${Buffer.from(name).toString('base64')}`,
    ...headers,
  });
  expect(answer.status).toBe(201);
  return new URL(String(answer.headers['location']), `${origin}/uploads`).href;
}

const head = (url: string): Promise<Answer> => ask('HEAD', url, TUS);

const patch = (url: string, offset: number, bytes: Buffer | Readable): Promise<Answer> =>
  ask('PATCH', url, { ...BODY, 'upload-offset': String(offset) }, bytes);

/** A body that does something at its half, and then goes on. */
function interrupted(bytes: Buffer, then: () => Promise<unknown>): Readable {
  return Readable.from(
    (async function* () {
      const half = Math.floor(bytes.length / 2);
      for (let at = 0; at < half; at += 64 * 1024)
        yield bytes.subarray(at, Math.min(half, at + 64 * 1024));
      await then();
      yield bytes.subarray(half);
    })(),
    { objectMode: false },
  );
}

/** Asks until the upload answers. */
const untilAnswered = (url: string): Promise<Answer> =>
  eventually(
    'the upload answers',
    async () => {
      const answer = await head(url);
      return answer.status === 200 ? answer : undefined;
    },
    { timeoutMs: 30_000 },
  );

/** Sends what is missing. */
async function goOn(url: string, bytes: Buffer): Promise<Answer> {
  const { offset } = await untilAnswered(url);
  return patch(url, offset, bytes.subarray(offset));
}

const blocksOf = ({ storage }: RunningPeer): Promise<number> =>
  metric(storage, 'shoal_storage_blocks_held');

const stateFolder = ({ dataDir }: RunningPeer): string => join(dataDir, 'chunker', 'uploads');

const idOf = (url: string): string => url.split('/').pop() ?? '';

describe('resumable uploads in a swarm', () => {
  let swarm: RunningSwarm;
  const first = (): RunningPeer => swarm.peers[0] as RunningPeer; // there are two
  beforeAll(async () => {
    swarm = await startSwarm(2, {
      // The first one's chunker is killed alone.
      optionsOf: (index) => ({ processes: index === 0 ? 'per service' : 'per peer' }),
    });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  const expectFile = async ({ status, headers }: Answer, bytes: Buffer, name: string) => {
    expect(status).toBe(204);
    const cid = String(headers['x-cid']);
    const sha256 = await sha256Of(bytes);
    for (const { gateway } of swarm.peers)
      expect(await download(gateway, cid)).toMatchObject({ sha256 });
    expect((await listFiles(first().gateway)).map((file) => file.name)).toContain(name);
    const { reply } = await upload(first().gateway, { name, seed: name, sizeBytes: bytes.length });
    expect(reply.cid).toBe(cid);
  };

  it('go on through the gateway where the client left off', async () => {
    const bytes = seededBytes('client', SIZE_BYTES);
    const url = await begin(first().gateway, SIZE_BYTES, 'client');
    const body = interrupted(bytes, () => Promise.reject(new Error('the client goes')));
    await expect(patch(url, 0, body)).rejects.toThrow(/the client goes/);
    const { offset } = await head(url);
    expect(offset).toBeLessThan(SIZE_BYTES);
    await expectFile(await goOn(url, bytes), bytes, 'client');
  });

  it('outlive a chunker that is killed in the middle of a request', async () => {
    const bytes = seededBytes('chunker', SIZE_BYTES);
    const url = await begin(first().gateway, SIZE_BYTES, 'chunker');
    const kept = await patch(url, 0, bytes.subarray(0, 3 * MiB + 77));
    expect(kept.offset).toBe(3 * MiB + 77);
    const body = interrupted(bytes.subarray(3 * MiB + 77), async () => {
      first().killOne('chunker');
    });
    await patch(url, kept.offset, body).catch(() => {});
    const { offset } = await untilAnswered(url);
    expect(offset).toBeGreaterThanOrEqual(kept.offset);
    await expectFile(await goOn(url, bytes), bytes, 'chunker');
  });

  it('outlive a peer that is killed as a whole, twice, with a torn last line', async () => {
    const bytes = seededBytes('peer', SIZE_BYTES);
    const url = await begin(first().gateway, SIZE_BYTES, 'peer');
    let killed: Promise<void> | undefined;
    const body = interrupted(bytes, () => (killed = first().kill()));
    await patch(url, 0, body).catch(() => {});
    await killed;
    await appendFile(
      join(stateFolder(first()), `${idOf(url)}.upload`),
      'bafkreigl4kzgeba2rw2h3bclz',
    );
    await first().start();
    const again = await untilAnswered(url);
    const next = bytes.subarray(again.offset, again.offset + 5 * MiB);
    const { offset } = await patch(url, again.offset, next);
    expect(offset).toBe(Math.min(SIZE_BYTES, again.offset + 5 * MiB));
    await first().kill();
    await first().start();
    expect((await untilAnswered(url)).offset).toBe(offset); // not a byte that was told is lost
    await expectFile(await goOn(url, bytes), bytes, 'peer');
    const last = await head(url);
    expect([last.status, last.offset]).toEqual([200, SIZE_BYTES]);
    expect(last.headers['x-cid']).toBeDefined();
  });

  it('are how the console sends large files, through a restart of the chunker', async () => {
    const peer = first();
    const at = (input: string, init: RequestInit) => ownFetch(new URL(input, peer.gateway), init);
    const ownFetch = globalThis.fetch;
    const storage = { getItem: () => null };
    const page = { location: { hash: '' }, sessionStorage: storage, localStorage: storage };
    Object.assign(globalThis, { fetch: at, ...page });
    try {
      const bytes = seededBytes('console', SIZE_BYTES);
      const file = Object.assign(new Blob([new Uint8Array(bytes)]), { name: 'größe.bin' });
      const troubles: string[] = [];
      let isKilled = false;
      const sender = (await import(CONSOLE_SENDER)) as ConsoleSender;
      const reply = await sender.sendInPieces(file, {
        onSent() {
          if (!isKilled) peer.killOne('chunker');
          isKilled = true;
        },
        onTrouble: (message) => troubles.push(message),
        signal: new AbortController().signal,
      });
      expect(reply).toMatchObject({ name: 'größe.bin', sha256: await sha256Of(bytes) });
      expect(troubles.length).toBeGreaterThan(0);
    } finally {
      globalThis.fetch = ownFetch;
    }
  });

  it('free their blocks everywhere when they are ended, also after a restart', async () => {
    const before = await Promise.all(swarm.peers.map(blocksOf));
    const bytes = seededBytes('ended', 70 * MiB);
    const url = await begin(first().gateway, bytes.length + 1, 'ended');
    await patch(url, 0, bytes);
    expect(await blocksOf(first())).toBeGreaterThan(before[0] ?? 0);
    await eventually('some are copied', async () => {
      const counts = await Promise.all(swarm.peers.map(blocksOf));
      return (counts[1] ?? 0) > (before[1] ?? 0);
    });
    first().killOne('chunker');
    const status = await eventually(
      'it is ended',
      async () => {
        const answer = await ask('DELETE', url, TUS);
        return answer.status === 204 ? answer.status : undefined;
      },
      { timeoutMs: 20_000 },
    );
    expect(status).toBe(204);
    await eventually(
      'the blocks are gone',
      async () => {
        const counts = await Promise.all(swarm.peers.map(blocksOf));
        return counts.every((count, at) => count <= (before[at] ?? 0));
      },
      { timeoutMs: 20_000 },
    );
    expect((await head(url)).status).toBe(404);
  });
});

describe('resumable uploads whose blocks were lost', () => {
  it('step back to the first of them, before the end and at it', async () => {
    await using peer = await startPeer({ processes: 'per peer' });
    const bytes = seededBytes('lost', 9 * MiB);
    const url = await begin(peer.gateway, bytes.length, 'lost');
    await patch(url, 0, bytes.subarray(0, 5 * MiB));
    await peer.kill();
    await rm(join(peer.dataDir, 'storage'), { recursive: true });
    await peer.start();
    expect((await untilAnswered(url)).offset).toBe(0);
    expect((await patch(url, 5 * MiB, bytes.subarray(5 * MiB))).status).toBe(409);

    await patch(url, 0, bytes.subarray(0, 8 * MiB + 10));
    await peer.kill(); // from here on the chunks are read back for the file's hash
    const log = await readFile(join(stateFolder(peer), `${idOf(url)}.upload`), 'utf8');
    const leaves = log.split('\n').filter((line) => line.startsWith('baf'));
    await damage(peer, leaves.at(-3) ?? '');
    await peer.start();
    expect((await untilAnswered(url)).offset).toBe(8 * MiB + 10); // a glance at the index tells nothing
    const refused = await patch(url, 8 * MiB + 10, bytes.subarray(8 * MiB + 10));
    expect(refused.status).toBe(409);
    expect((await head(url)).offset).toBe(5 * MiB);
    const last = await goOn(url, bytes);
    expect(last.status).toBe(204);
    const sha256 = await sha256Of(bytes);
    expect(await download(peer.gateway, String(last.headers['x-cid']))).toMatchObject({ sha256 });
  });
});

describe('resumable uploads with a token', () => {
  it('are begun, gone on with and ended by whoever has it alone', async () => {
    const token = 'a-token-for-this-test-only';
    await using peer = await startPeer({ env: { WRITE_TOKEN: token }, processes: 'per peer' });
    const authorization = `Bearer ${token}`;
    for (const origin of [peer.gateway, peer.chunker]) {
      const refused = await ask('POST', `${origin}/uploads`, { ...TUS, 'upload-length': '3' });
      expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, 'Bearer']);
      const url = await begin(origin, 3, 'guarded', { authorization });
      expect((await patch(url, 0, Buffer.from('abc'))).status).toBe(401);
      expect((await ask('DELETE', url, TUS)).status).toBe(401);
      expect((await head(url)).status).toBe(200);
      const headers = { ...BODY, 'upload-offset': '0', authorization };
      const answer = await ask('PATCH', url, headers, Buffer.from('abc'));
      expect([answer.status, typeof answer.headers['x-cid']]).toEqual([204, 'string']);
    }
  });
});

/** Changes a byte of a block on the disk. */
async function damage({ dataDir }: RunningPeer, cid: string): Promise<void> {
  const hex = Buffer.from(CID.parse(cid).multihash.digest).toString('hex');
  const path = join(dataDir, 'storage', 'blocks', hex.slice(0, 2), hex);
  const bytes = await readFile(path);
  bytes[1000] = 255 - (bytes[1000] ?? 0);
  await writeFile(path, bytes);
}
