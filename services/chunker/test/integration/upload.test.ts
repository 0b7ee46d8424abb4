import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import { startWorker } from '@shoal/chassis/queue';
import {
  Cid,
  ClockWrong,
  IdentityInUse,
  MiB,
  StorageFull,
  UploadReply,
  UploadsReply,
} from '@shoal/protocol';
import { openStand, sample, type Stand, until } from './stand.ts';

/** What ipfs-unixfs-importer 17 gives with `profile: 'unixfs-v1-2025'` for `sample(size)`. */
const KNOWN = [
  [0, 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'],
  [1, 'bafkreibff4imqnqq5pfbubm4boxievplul4vxzgr266pvcoxesfifwprce'],
  [MiB - 1, 'bafkreib2sagqwdxwago2j73e75c5fcdpdzzpxmogrleto4fl5rnecljwye'],
  [MiB, 'bafkreigl4kzgeba2rw2h3bclzlgpvj3n42jmufaq5gjadgfskbcfc5pbxa'],
  [MiB + 1, 'bafybeics73zsnujkgr7fxco76dwmec4iumw3cbjaci4yqyubwwv75rci6e'],
  [10 * MiB + 3, 'bafybeigugxorvzuujdthl36bsyynsfpof6qvx2373fxasuxqiaqowvnuny'],
] as const;

const NAME = 'Größe 雪 🐟.bin';

describe('an upload', () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand();
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });

  const put = (name: string, body: Uint8Array<ArrayBuffer>, init: RequestInit = {}) =>
    fetch(`${stand.chunker.origin}/files/${encodeURIComponent(name)}`, {
      method: 'PUT',
      body,
      ...init,
    });
  const form = (files: readonly (readonly [string, Buffer])[], query = '') => {
    const body = new FormData();
    for (const [name, bytes] of files) body.append('file', new Blob([new Uint8Array(bytes)]), name);
    return fetch(`${stand.chunker.origin}/files${query}`, { method: 'POST', body });
  };

  it.each(KNOWN)(
    'of %p bytes has the CID of the profile, through all three doors',
    async (sizeBytes, cid) => {
      const bytes = sample(sizeBytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const raw = `${stand.chunker.origin}/files?name=${encodeURIComponent(NAME)}`;
      const answers = [
        await put(NAME, new Uint8Array(bytes)),
        await fetch(raw, { method: 'POST', body: new Uint8Array(bytes) }),
        await form([[NAME, bytes]]),
      ];
      for (const answer of answers) {
        const body: unknown = await answer.json();
        expect(body).toEqual({
          cid,
          kind: 'file',
          name: NAME,
          sizeBytes,
          sha256,
          replicas: 3,
          copies: 1,
          state: 'limited',
          causes: [{ kind: 'few-peers', count: 1 }],
          blocks: sizeBytes <= MiB ? 1 : Math.ceil(sizeBytes / MiB) + 1,
          url: `/files/${cid}`,
        });
        expect(answer.status).toBe(201);
        expect(new URL(answer.headers.get('location') ?? '', answer.url).pathname).toBe(
          `/files/${cid}`,
        );
      }
      expect(await stand.hasBlock(Cid.parse(cid))).toBe(true);
      expect(stand.pins.get(cid)?.name).toBe(NAME);
    },
  );

  it('takes the sha-256 of either digest header, and answers it to those who want it', async () => {
    const bytes = new Uint8Array(sample(3000));
    const digest = createHash('sha256').update(bytes).digest('base64');
    const right = `sha-512=:AAAA:, sha-256=:${digest}:`;
    for (const header of ['repr-digest', 'content-digest'] as const) {
      const headers = { [header]: right, 'want-repr-digest': 'sha-512=3, sha-256=1' };
      const answer = await put('digest.bin', bytes, { headers });
      expect(answer.status).toBe(201);
      expect(answer.headers.get('repr-digest')).toBe(`sha-256=:${digest}:`);
      const wrong = { [header]: `sha-256=:${Buffer.alloc(32).toString('base64')}:` };
      const refused = await put('digest.bin', bytes, { headers: wrong });
      expect([refused.status, await refused.text()]).toEqual([
        400,
        expect.stringContaining('digest-mismatch'),
      ]);
    }
    const unasked = await put('digest.bin', bytes);
    expect(unasked.headers.get('repr-digest')).toBeNull();
  });

  it('of several files in one form answers them in order', async () => {
    const answer = await form([
      ['a.txt', Buffer.from('a')],
      ['b.bin', sample(2 * MiB)],
      ['c.txt', Buffer.from('c')],
    ]);
    const { files } = UploadsReply.parse(await answer.json());
    expect(files.map(({ name }) => name)).toEqual(['a.txt', 'b.bin', 'c.txt']);
    expect(answer.status).toBe(201);
  });

  it('keeps the replicas that the query or the form asks for', async () => {
    const first = UploadReply.parse(
      await (await form([['r', Buffer.from('r1')]], '?replicas=5')).json(),
    );
    expect(stand.pins.get(first.cid)?.replicas).toBe(5);
    const body = new FormData();
    body.append('replicas', '1');
    body.append('file', new Blob(['r2']), 'r');
    const answer = await fetch(`${stand.chunker.origin}/files`, { method: 'POST', body });
    expect(await answer.json()).toMatchObject({ replicas: 1, state: 'safe', copies: 1 });
  });

  it('keeps the end that the query asks for, as a time of the wall clock', async () => {
    const expiresAt = '2101-02-03T04:05:06+01:00';
    const answer = await form(
      [['e', Buffer.from('ends')]],
      `?expiresAt=${encodeURIComponent(expiresAt)}`,
    );
    const { cid } = UploadReply.parse(await answer.json());
    expect(stand.pins.get(cid)?.expiresAtMs).toBe(Date.parse(expiresAt));
    const forEver = UploadReply.parse(await (await put('e', Buffer.from('stays'))).json());
    expect(stand.pins.get(forEver.cid)).not.toHaveProperty('expiresAtMs');
  });

  it('ends the leases of its copies, which the pin keeps from now on', async () => {
    const released: boolean[] = [];
    await using _worker = startWorker(
      'release',
      stand.redisSocket,
      createLog('t', 'silent'),
      1,
      async ({ keep }) => {
        released.push(keep);
      },
    );
    await until('a kept upload is released', async () => {
      await put('kept', Buffer.from('kept'));
      return released.length > 0;
    });
    expect(released).not.toContain(false);
  });

  it('ends the leases of its copies when discovery refuses the pin, and keeps nothing', async () => {
    const released: boolean[] = [];
    await using _worker = startWorker(
      'release',
      stand.redisSocket,
      createLog('t', 'silent'),
      1,
      async ({ keep }) => {
        released.push(keep);
      },
    );
    const { blocks } = await stand.stats();
    stand.swarm.pinRefusal = new StorageFull({ limit: 'disk space', freeBytes: 0 });
    try {
      const answer = await put('unpinned', Buffer.from('no room for the pin'));
      expect(answer.status).toBe(507);
      expect(await answer.json()).toMatchObject({
        type: 'problems/storage-full',
        limit: 'disk space',
        peersWithRoom: [],
      });
    } finally {
      stand.swarm.pinRefusal = undefined;
    }
    await until('its leases are released', () => released.includes(false));
    await until('its blocks are gone', async () => (await stand.stats()).blocks === blocks);
  });

  it('is refused by a peer that stands aside, before its body and before its pin', async () => {
    const gateway = 'http://127.0.0.2:7100';
    stand.swarm.twin = { isAside: true, sinceMs: 1, seenMsAgo: 1, gateway };
    try {
      await until('it is known', async () => (await put('copy', Buffer.from('x'))).status === 503);
      const answer = await put('copy', Buffer.from('at a copy'));
      expect(await answer.json()).toMatchObject({ type: 'problems/identity-in-use', gateway });
      stand.swarm.twin = { ...stand.swarm.twin, isAside: false };
      await until('it is free', async () => (await put('own', Buffer.from('x'))).status < 300);
    } finally {
      stand.swarm.twin = undefined;
    }
    stand.swarm.pinRefusal = new IdentityInUse({ gateway });
    try {
      expect((await put('copy', Buffer.from('noticed meanwhile'))).status).toBe(503);
    } finally {
      stand.swarm.pinRefusal = undefined;
    }
  });

  it('is refused by a peer whose clock is wrong, before its body and before its pin', async () => {
    stand.swarm.clock = { aheadMs: 9 * 24 * 3_600_000, isWrong: true };
    try {
      await until(
        'it is known',
        async () => (await put('late', Buffer.from('late'))).status === 503,
      );
      const before = await stand.stats();
      const answer = await put('late', Buffer.from('by a clock that is wrong'));
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({
        type: 'problems/clock-wrong',
        detail: expect.stringContaining('9 days ahead'),
      });
      expect((await stand.stats()).blocks).toBe(before.blocks);
      const { origin } = stand.chunker;
      for (const path of ['/uploads', '/ipfs', '/directories']) {
        const body = new FormData();
        body.append('file', new Blob(['x']), 'a/x');
        const inits: Readonly<Record<string, RequestInit>> = {
          '/uploads': { headers: { 'tus-resumable': '1.0.0', 'upload-length': '1' } },
          '/ipfs': { headers: { 'content-type': 'application/vnd.ipld.raw' }, body: 'x' },
          '/directories': { body },
        };
        const refusal = await fetch(origin + path, { method: 'POST', ...inits[path] });
        expect({ path, status: refusal.status }).toEqual({ path, status: 503 });
      }
    } finally {
      stand.swarm.clock = undefined;
    }
    await until('it is right', async () => (await put('late', Buffer.from('late'))).status < 300);

    // Discovery has the last word, when it turned wrong meanwhile.
    stand.swarm.pinRefusal = new ClockWrong({ aheadMs: -9 * 24 * 3_600_000 });
    try {
      const answer = await put('behind', Buffer.from('a clock that is behind'));
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({ type: 'problems/clock-wrong' });
    } finally {
      stand.swarm.pinRefusal = undefined;
    }
  });

  it('waits for no more copies than members can take, draining ones left out', async () => {
    stand.swarm.members = 3;
    stand.swarm.describe = (index) => ({ draining: index > 0 });
    try {
      let answer: Response | undefined;
      await until('only this peer counts', async () => {
        const startMs = performance.now();
        answer = await put('draining', Buffer.from('draining'));
        return answer.status === 201 && performance.now() - startMs < 1000;
      });
      expect(await answer?.json()).toMatchObject({
        copies: 1,
        state: 'limited',
        causes: [{ kind: 'few-peers', count: 1 }],
      });
    } finally {
      stand.swarm.members = 1;
      stand.swarm.describe = () => ({});
    }
  });

  it('accepts the digest that the body has', async () => {
    const bytes = new TextEncoder().encode('digest');
    const digest = createHash('sha256').update(bytes).digest('base64');
    const answer = await put('d', bytes, { headers: { 'repr-digest': `sha-256=:${digest}:` } });
    expect(answer.status).toBe(201);
  });

  it('queues its leaves and waits for the copies that the swarm confirms', async () => {
    stand.swarm.members = 3;
    stand.swarm.copies = 1;
    const seen: string[] = [];
    const worker = startWorker(
      'replicate',
      stand.redisSocket,
      createLog('t', 'silent'),
      4,
      async ({ cids, replicas }, job) => {
        expect(replicas).toBe(3);
        seen.push(...cids);
        await job.updateProgress({ copies: 2 });
        stand.swarm.copies = 2;
      },
    );
    try {
      // The count of members is at most a second old.
      let reply: UploadReply | undefined;
      await until('two copies', async () => {
        const answer = await put('copies', new Uint8Array(sample(3 * MiB)));
        reply = UploadReply.parse(await answer.json());
        return reply.copies === 2 && answer.status === 201;
      });
      expect(seen.length).toBeGreaterThanOrEqual(3);
      expect(reply?.state).toBe('spreading');
    } finally {
      await worker[Symbol.asyncDispose]();
      stand.swarm.members = 1;
      stand.swarm.copies = 1;
    }
  });
});

describe('small files', () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand();
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    Object.assign(stand.swarm, {
      members: 5,
      spread: 2,
      spreads: [],
      pinCalls: [],
      healthAsked: 0,
    });
  });

  const put = async (name: string, body: string | Uint8Array<ArrayBuffer>, query = '') => {
    const answer = await fetch(`${stand.chunker.origin}/files/${name}${query}`, {
      method: 'PUT',
      body,
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  it('that are in flight together share calls, and are answered by what transfer confirmed', async () => {
    const answers = await Promise.all(
      Array.from({ length: 32 }, (_, index) => put(`f${index}`, `body ${index}`)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    for (const { body } of answers)
      expect(body).toMatchObject({ copies: 2, replicas: 3, state: 'spreading' });
    const { spreads, pinCalls, healthAsked } = stand.swarm;
    expect(spreads.reduce((sum, count) => sum + count)).toBe(32);
    expect(pinCalls.reduce((sum, count) => sum + count)).toBe(32);
    expect(spreads.length).toBeLessThan(16);
    expect(pinCalls.length).toBeLessThan(16);
    expect(healthAsked).toBe(0);
    // Nothing of it is stored by the chunker: transfer knows where it belongs.
    expect((await stand.stats()).blocks).toBe(0);
  });

  it('that have all their copies are safe', async () => {
    stand.swarm.spread = 3;
    expect((await put('safe', 'three copies', '?copies=3')).body).toMatchObject({
      copies: 3,
      state: 'safe',
      causes: [],
    });
  });

  it('wait for health when too few copies were made at once', async () => {
    stand.swarm.spread = 1;
    stand.swarm.copies = 2;
    const { status, body } = await put('late', 'one at first');
    expect([status, body['copies']]).toEqual([201, 2]);
    expect(stand.swarm.healthAsked).toBeGreaterThan(0);
  });

  it('are stored here when transfer is away', async () => {
    stand.swarm.spread = undefined;
    const { status, body } = await put('alone', 'kept by ourselves', '?copies=1');
    expect(status).toBe(201);
    expect(await stand.hasBlock(Cid.parse(body['cid']))).toBe(true);
  });

  it('are those of 64 KiB at most', async () => {
    await put('small', new Uint8Array(64 * 1024));
    expect(stand.swarm.spreads).toEqual([1]);
    await put('large', new Uint8Array(64 * 1024 + 1), '?copies=1');
    expect(stand.swarm.spreads).toEqual([1]);
    await put('none', new Uint8Array(0), '?copies=1');
    expect(stand.swarm.spreads).toEqual([1, 1]);
  });

  it('of which one has another digest than was said keep nothing of it', async () => {
    const answer = await fetch(`${stand.chunker.origin}/files/wrong`, {
      method: 'PUT',
      body: 'not what was said',
      headers: { 'repr-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` },
    });
    expect(answer.status).toBe(400);
    expect(stand.swarm.spreads).toEqual([]);
    expect(stand.swarm.pinCalls).toEqual([]);
  });
});

describe('an upload whose copies do not come', () => {
  it('is answered 202 with what was confirmed', async () => {
    await using stand = await openStand({ CHUNKER_COPIES_TIMEOUT_MS: '300' });
    stand.swarm.members = 3;
    const answer = await fetch(`${stand.chunker.origin}/files/late`, {
      method: 'PUT',
      body: 'late',
    });
    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ copies: 1, state: 'spreading', replicas: 3 });
    expect(stand.swarm.healthAsked).toBeGreaterThan(0);
    const hurried = await fetch(`${stand.chunker.origin}/files/late?copies=1`, {
      method: 'PUT',
      body: 'x',
    });
    expect(hurried.status).toBe(201);
  });
});

describe('an upload without Redis', () => {
  it('works, and learns of the copies from discovery alone', async () => {
    await using stand = await openStand({}, { withRedis: false });
    stand.swarm.members = 2;
    stand.swarm.copies = 2;
    const answer = await fetch(`${stand.chunker.origin}/files/alone`, {
      method: 'PUT',
      body: new Uint8Array(sample(2 * MiB)),
    });
    expect(answer.status).toBe(201);
    expect(await answer.json()).toMatchObject({ copies: 2 });
    await stand.bringRedis();
    const seen = new Set<string>();
    await using _worker = startWorker(
      'replicate',
      stand.redisSocket,
      createLog('t', 'silent'),
      1,
      async ({ cids }) => {
        for (const cid of cids) seen.add(cid);
      },
    );
    await until('jobs are queued again', async () => {
      const again = await fetch(`${stand.chunker.origin}/files/back`, {
        method: 'PUT',
        body: `back ${performance.now()}`,
      });
      return seen.has(UploadReply.parse(await again.json()).cid);
    });
    expect(seen.size).toBeGreaterThan(0);
  });
});
