import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { batchesOf } from '@shoal/blocks';
import { discoveryRoutes, FileNotFound, PINS_PER_CALL_MAX } from '@shoal/protocol';
import { eventually, metric, startRedis } from '@shoal/testkit';
import { Redis } from 'ioredis';
import { draft, haveMap, type TestPeer, writeKey } from './peer.ts';
import { isIn, openPeers, type Peers, seedOf, seeEachOther } from './peers.ts';

jest.setTimeout(60_000);
const { signal } = new AbortController();
const MESSAGES = 'shoal_discovery_messages_total';
const sum = (numbers: readonly number[]) => numbers.reduce((one, other) => one + other, 0);

let peers: Peers;

beforeEach(async () => {
  peers = await openPeers();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

const start: Peers['start'] = (name, options) => peers.start(name, options);
const startThree: Peers['startThree'] = (options) => peers.startThree(options);

describe('a swarm of discovery processes', () => {
  it('meets through one seed and through a DNS name, without Redis, and tells what peers hold', async () => {
    const a = await start('a');
    const b = await start('b', { seeds: seedOf(a) });
    const c = await start('c', { seeds: `localhost:${b.libp2pPort}` });
    await seeEachOther([a, b, c]);
    const member = await eventually('figures', async () => {
      const found = (await a.members()).find(({ peerId }) => peerId === c.peerId);
      return found?.capacityBytes === 100 && found;
    });
    expect(member).toMatchObject({ isSelf: false, domain: { disk: 'c' }, freeBytes: 90 });
    expect(member.http.discovery).toBe(c.origin);
  });

  it('meets by multicast DNS alone, and keeps strangers out', async () => {
    const env = { DISCOVERY_MDNS: 'true' };
    const [a, b] = await Promise.all([start('a', { env }), start('b', { env })]);
    await seeEachOther([a, b]);
    const stranger = await start('x', {
      env,
      seeds: seedOf(a),
      keyFile: await writeKey(peers.folder, 'other.key'),
    });
    await eventually(
      'the stranger tried',
      async () => (await fetch(`${stranger.origin}/readyz`)).ok,
      { timeoutMs: 20_000 },
    );
    expect(await stranger.members()).toHaveLength(1);
    expect(await a.stateOf(stranger.peerId)).toBeUndefined();
    expect(await b.members()).toHaveLength(2);
  });

  it('is not ready while a seed is there that is too busy to answer, and then takes itself for alone', async () => {
    const server = createServer().listen({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo; // of a server that listens
    try {
      const peer = await start('a', { seeds: `127.0.0.1:${port}` });
      const reasons = new Set<string>();
      await eventually('ready', async () => {
        const answer = await fetch(`${peer.origin}/readyz`);
        if (!answer.ok) reasons.add(await answer.text());
        return answer.ok;
      });
      expect([...reasons].join()).toMatch(/not been asked yet.*no member has answered yet/s);
    } finally {
      server.close();
    }
  });

  it('sees a killed peer down at once and back after its restart', async () => {
    const [a, b, c] = await startThree();
    const before = (await a.members()).find(({ peerId }) => peerId === c.peerId);
    await c.kill('SIGKILL');
    const killedAtMs = performance.now();
    for (const peer of [a, b])
      await eventually('down', () => isIn(peer, c.peerId, 'down'), { timeoutMs: 3000 });
    expect(performance.now() - killedAtMs).toBeLessThan(3000);
    const again = await start('c', { libp2pPort: c.libp2pPort });
    await seeEachOther([a, b, again]);
    const after = (await a.members()).find(({ peerId }) => peerId === c.peerId);
    expect(after?.incarnation).toBeGreaterThan(Number(before?.incarnation));
  });

  it('suspects a peer that hangs, then gives it up, and welcomes it when it wakes', async () => {
    const [a, , c] = await startThree();
    c.process.kill('SIGSTOP');
    await eventually('suspect', () => isIn(a, c.peerId, 'suspect'), { timeoutMs: 5000 });
    await eventually('down', () => isIn(a, c.peerId, 'down'), { timeoutMs: 16_000 });
    c.process.kill('SIGCONT');
    await eventually('alive again', () => isIn(a, c.peerId, 'alive'), { timeoutMs: 16_000 });
    expect((await c.members()).map(({ state }) => state)).toEqual(['alive', 'alive', 'alive']);
  });

  it('of two members one pings, since the other hears it by that', async () => {
    const pingMs = 200;
    const all = await startThree({ env: { DISCOVERY_PING_MS: `${pingMs}` } });
    const served = async () => {
      const counts = all.map(({ origin }) =>
        metric(origin, 'shoal_discovery_messages_total', { kind: 'ping', outcome: 'ok' }),
      );
      return sum(await Promise.all(counts));
    };
    const [before, sinceMs] = [await served(), performance.now()];
    await eventually('many pings', async () => (await served()) - before > 60);
    // Each of three pairs twice in this time if both pinged.
    const pings = (await served()) - before;
    expect(pings / 3).toBeLessThan((1.5 * (performance.now() - sinceMs)) / pingMs);
  });

  it('hears of a leave, and a service that leaves ends soon', async () => {
    const [a, , c] = await startThree();
    const askedAtMs = performance.now();
    await c.kill('SIGTERM');
    expect(performance.now() - askedAtMs).toBeLessThan(2500);
    await eventually('down', () => isIn(a, c.peerId, 'down'), { timeoutMs: 1000 });
    const left = (await a.members()).find(({ peerId }) => peerId === c.peerId);
    expect(left?.leaving).toBe(true);
  });

  it('finds itself again without seeds after all were killed', async () => {
    const three = await startThree();
    for (const peer of three) await peer.kill('SIGTERM');
    const again = await Promise.all(
      ['a', 'b', 'c'].map((name, index) => {
        const libp2pPort = three[index]?.libp2pPort;
        return start(name, libp2pPort === undefined ? {} : { libp2pPort });
      }),
    );
    await seeEachOther(again);
    for (const peer of again) expect(await peer.members()).toHaveLength(3);
  });

  it('says of files that it does not know, until it heard from somebody or took itself for alone', async () => {
    const env = { MEMBER_OUT_AFTER_MS: '1000' };
    const [a, b] = await startThree({ env });
    const { root } = await a.put(draft('one'));
    for (const { held } of [a, b]) held.set(root, haveMap(root, 3, [0, 1, 2]));
    const standing = async (peer: TestPeer) => {
      const list = await fetch(`${peer.origin}/files`).then((reply) => reply.json());
      const { files } = list as { files: { state: string; causes: { kind: string }[] }[] };
      return `${files[0]?.state} ${files[0]?.causes.map(({ kind }) => kind).join()}`;
    };
    await eventually('safe', async () => (await standing(a)) === 'safe ');
    await a.kill('SIGTERM'); // it writes down whom it knows
    await peers.stopAll();
    await wait(1000); // by now all whom it remembers count as gone
    const alone = await start('a', { env, libp2pPort: a.libp2pPort });
    alone.held.set(root, haveMap(root, 3, [0, 1, 2]));
    expect(await standing(alone)).toBe('unknown joining');
    await eventually('alone', async () => (await standing(alone)).includes('few-peers'), {
      timeoutMs: 20_000,
    });
  });

  it('wakes those who wait for the member table', async () => {
    const a = await start('a');
    const read = (query: object) =>
      a.client.call(a.target, discoveryRoutes.members, { query }, { signal });
    const { version } = await eventually('figures', async () => {
      const reply = await read({});
      return reply.members[0]?.capacityBytes === 100 && reply;
    });
    const waiting = read({ after: version, waitMs: 20_000 });
    await start('b', { seeds: seedOf(a) });
    expect((await waiting).version).toBeGreaterThan(version);
  });
});

describe('pins', () => {
  it('reach every member, also one that joins later, by hash and by sha-256', async () => {
    const [a, b, c] = await startThree();
    const pin = await a.put(draft('one'));
    const putAtMs = performance.now();
    for (const peer of [b, c])
      await eventually('the pin', () => peer.find(pin.root, false), { timeoutMs: 2000 });
    expect(performance.now() - putAtMs).toBeLessThan(1500);
    expect(await b.find(draft('one').sha256, false)).toEqual(pin);
    for (let index = 0; index < 20; index += 1) await a.put(draft(`more ${index}`));
    const d = await start('d', { seeds: seedOf(b) });
    await eventually('the pin', () => d.find(pin.root, false));
    await eventually('all pins', async () => {
      const list = await d.client.call(d.target, discoveryRoutes.listPins, {}, { signal });
      return list.pins.length === 21;
    });
  });

  it('keep the copies once promised, survive a crash, and are asked for where unknown', async () => {
    const a = await start('a');
    const first = await a.put({ ...draft('one'), replicas: 3 });
    const second = await a.put({ ...draft('one'), name: 'renamed' });
    expect(second).toMatchObject({ replicas: 3, createdAtMs: first.createdAtMs, name: 'renamed' });
    expect(second.clock).toBeGreaterThan(first.clock);
    await a.kill('SIGKILL');
    const again = await start('a');
    expect(await again.find(first.root, false)).toEqual(second);
  });

  it('are given to transfer to settle, also when Redis was away', async () => {
    await using redis = await startRedis();
    const a = await start('a', { env: { REDIS_SOCKET: redis.socket } });
    await redis.kill();
    const { root } = await a.put(draft('one'));
    await redis.restart();
    const connection = new Redis({ path: redis.socket });
    const found = await eventually('the job', () =>
      connection.hget('bull:settle:1', 'data').then((data) => data ?? undefined),
    );
    expect(JSON.parse(found)).toEqual({ v: 2, roots: [root] });
    connection.disconnect();
  });

  it('that nobody has are 404 soon', async () => {
    const [, b] = await startThree();
    // A member that is known and not linked yet is waited for: it may have the file.
    await eventually(
      'all are linked',
      async () => (await metric(b.origin, 'shoal_discovery_connections')) === 2,
    );
    const askedAtMs = performance.now();
    const error = await b.find(draft('nothing').root).catch((err: unknown) => err);
    expect(error).toBeInstanceOf(FileNotFound);
    expect((error as InstanceType<typeof FileNotFound>).fields).toMatchObject({ peersAsked: 2 });
    expect(performance.now() - askedAtMs).toBeLessThan(2000);
  });
});

describe('a list', () => {
  it('asks of files once, and after that only whether somebody lost something', async () => {
    const all = await startThree();
    const [a, b, c] = all;
    const drafts = Array.from({ length: 150 }, (_, index) => draft(`file ${index}`, 1));
    for (const some of batchesOf(drafts, PINS_PER_CALL_MAX))
      await a.client.call(
        a.target,
        discoveryRoutes.putPins,
        { body: { drafts: some } },
        { signal },
      );
    for (const { root } of drafts)
      for (const { held } of [a, b]) held.set(root, haveMap(root, 1, [0]));
    const asked = async () =>
      sum(await Promise.all([a, b].map(({ origin }) => metric(origin, MESSAGES, { kind: 'ask' }))));
    const list = async () =>
      discoveryRoutes.listFiles.reply.parse(
        await fetch(`${c.origin}/files?limit=1000`).then((reply) => reply.json()),
      ).files;
    await eventually('all pins', async () => (await list()).length === 150);
    await eventually('all safe', async () => (await list()).every(({ state }) => state === 'safe'));
    const before = await asked();
    await wait(6000); // past the age at which an answer about a safe file is too old
    const files = await list();
    expect(files.every(({ state, copies }) => state === 'safe' && copies === 2)).toBe(true);
    for (const { verifiedAtMs } of files)
      expect(Date.now() - (verifiedAtMs ?? 0)).toBeLessThan(5000);
    expect(await asked()).toBe(before);

    const [{ root } = draft('none')] = drafts;
    a.lose(root);
    const lost = await eventually('the loss', async () =>
      (await list()).find(({ cid, copies }) => cid === root && copies === 1),
    );
    expect(lost.state).not.toBe('safe');
    expect(await asked()).toBeGreaterThan(before);
    const others = (await list()).filter(({ cid }) => cid !== root);
    expect(others.every(({ state, copies }) => state === 'safe' && copies === 2)).toBe(true);
  });
});

describe('holdings', () => {
  it('are told by want, announcement, health and list', async () => {
    const [a, b, c] = await startThree();
    await eventually('figures', async () =>
      (await c.members()).every(({ capacityBytes }) => capacityBytes === 100),
    );
    const { root } = await a.put(draft('one'));
    a.held.set(root, haveMap(root, 3, [0, 1, 2]));
    b.held.set(root, haveMap(root, 3, [0, 2]));
    const call = a.client.call(
      a.target,
      discoveryRoutes.want,
      { body: { roots: [root] } },
      { signal },
    );
    const wanted = await call;
    expect(wanted).toEqual({
      asked: 2,
      answers: [{ peerId: b.peerId, haveMap: haveMap(root, 3, [0, 2]), ageMs: 0 }],
    });
    const timesMs: number[] = [];
    for (let index = 0; index < 20; index += 1) {
      const startMs = performance.now();
      const body = { roots: [root], enough: 1 };
      await a.client.call(a.target, discoveryRoutes.want, { body }, { signal });
      timesMs.push(performance.now() - startMs);
    }
    expect(timesMs.toSorted((x, y) => x - y)[10]).toBeLessThan(200);

    const health = await fetch(`${c.origin}/files/${root}/health`).then((reply) => reply.json());
    expect(health).toMatchObject({ copies: 1, disks: 1, state: 'spreading', survivesPeers: 0 });
    b.held.set(root, haveMap(root, 3, [0, 1, 2]));
    await b.client.call(
      b.target,
      discoveryRoutes.announce,
      { body: { roots: [root] } },
      { signal },
    );
    await eventually('the announcement', async () => {
      const { answers } = await c.client.call(
        c.target,
        discoveryRoutes.holders,
        { params: { cid: root } },
        { signal },
      );
      return answers.find(({ peerId }) => peerId === b.peerId)?.haveMap.bits === '4A';
    });
    const files = await eventually('safe', async () => {
      const list = await fetch(`${c.origin}/files`).then((reply) => reply.json());
      return (list as { files: { state: string }[] }).files[0]?.state === 'safe' && list;
    });
    expect(files).toMatchObject({ total: 1, files: [{ cid: root, copies: 2, replicas: 2 }] });
    await b.kill('SIGKILL');
    await eventually('one copy', async () => {
      const list = await fetch(`${a.origin}/files`).then((reply) => reply.json());
      return (list as { files: { copies: number }[] }).files[0]?.copies === 1;
    });
  });
});
