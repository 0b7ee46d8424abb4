import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  type Cid,
  discoveryRoutes,
  EVENTS_CHANNEL,
  type FileEntry,
  isFileMissing,
  type Pin,
  SwarmEvent,
} from '@shoal/protocol';
import { eventually, startRedis } from '@shoal/testkit';
import { Redis } from 'ioredis';
import { openState } from '../../../src/state/state.ts';
import { draft, type TestPeer } from '../peer.ts';
import { openPeers, type Peers, seedOf, seeEachOther } from '../peers.ts';

jest.setTimeout(60_000);

let peers: Peers;

beforeEach(async () => {
  peers = await openPeers();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

/** Whether this peer, asked alone, says that there is no such file. */
async function lacks(peer: TestPeer, hash: string): Promise<boolean> {
  const found = await peer.find(hash, false).catch((error: unknown) => error);
  return isFileMissing(found);
}
async function knows(peer: TestPeer, root: string, part: Partial<Pin>): Promise<boolean> {
  const pin = await peer.find(root, false);
  return Object.entries(part).every(([key, value]) => pin[key as keyof Pin] === value);
}
async function listed(peer: TestPeer): Promise<{ total: number; files: { cid: string }[] }> {
  const { body } = await peer.ask('GET', '/files');
  return body as { total: number; files: { cid: string }[] };
}
const metric = async (peer: TestPeer, line: string) =>
  (await fetch(`${peer.origin}/metrics`).then((reply) => reply.text())).includes(line);

describe('deletion', () => {
  it('reaches all members, and a peer that was away can not undo it', async () => {
    const [a, b, c] = await peers.startThree();
    const kept = await a.put(draft('kept'));
    const pin = await a.put(draft('gone'));
    for (const each of [b, c]) await eventually('the pin', () => each.find(pin.root, false));
    await c.kill('SIGKILL');
    for (const headers of [{ 'if-match': '"other"' }, { 'if-none-match': `"${pin.root}"` }])
      for (const method of ['DELETE', 'PATCH']) {
        const json = { 'content-type': 'application/json', ...headers };
        const request =
          method === 'DELETE' ? { headers } : { headers: json, body: '{"replicas":1}' };
        const reply = await fetch(`${b.origin}/files/${pin.sha256}`, { method, ...request });
        expect([method, headers, reply.status]).toEqual([method, headers, 412]);
      }
    const { status, body } = await b.ask('DELETE', `/files/${pin.sha256}`);
    expect({ status, body }).toMatchObject({ status: 200, body: { cid: pin.root, name: 'gone' } });
    expect(await lacks(b, pin.root)).toBe(true);
    await eventually('deleted at a', () => lacks(a, pin.root), { timeoutMs: 2000 });

    const again = await peers.restart('c', c);
    await seeEachOther([a, b, again]);
    await eventually('deleted at the returned', () => lacks(again, pin.sha256 ?? ''));
    for (const peer of [a, b, again]) {
      await eventually('current', async () => (await peer.pins()).isCurrent);
      expect((await peer.pins()).pins.map(({ root }) => root)).toEqual([kept.root]);
      expect(await listed(peer)).toMatchObject({ total: 1, files: [{ cid: kept.root }] });
      expect(await metric(peer, 'shoal_discovery_pins{kind="recoverable",service="discovery"} 1'))
        .toBe(true); // prettier-ignore
    }
    for (const hash of [pin.root, pin.sha256])
      expect(await a.ask('DELETE', `/files/${hash}`)).toMatchObject({
        status: 410,
        body: { type: 'problems/file-gone', hash, why: 'deleted' },
      });
    expect((await a.ask('GET', `/files/${pin.root}/health`)).status).toBe(410);
  });

  it('is told to transfer and to whoever follows events, on every member', async () => {
    await using redis = await startRedis();
    const env = { REDIS_SOCKET: redis.socket };
    const a = await peers.start('a');
    const b = await peers.start('b', { seeds: seedOf(a), env });
    await seeEachOther([a, b]);
    const { root } = await a.put(draft('one'));
    await eventually('the pin', () => b.find(root, false));
    const [reader, jobs] = [new Redis({ path: redis.socket }), new Redis({ path: redis.socket })];
    const events: SwarmEvent[] = [];
    reader.on('message', (_, text) => events.push(...SwarmEvent.array().parse(JSON.parse(text))));
    await reader.subscribe(EVENTS_CHANNEL);
    await jobs.flushall();
    await a.ask('DELETE', `/files/${root}`);
    await eventually('the job', async () => {
      const found = await jobs.hget('bull:settle:1', 'data');
      return found !== null && (JSON.parse(found) as { roots: string[] }).roots.includes(root);
    });
    await eventually('the event', () => events.find(({ kind }) => kind === 'deleted'));
    expect(events.find(({ kind }) => kind === 'deleted')).toMatchObject({ cid: root, name: 'one' });
    reader.disconnect();
    jobs.disconnect();
  });

  it('wins over a change that was made later on the far side of a partition', async () => {
    const a = await peers.start('a');
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    const { root } = await a.put({ ...draft('one'), replicas: 3 });
    await eventually('the pin', () => b.find(root, false));
    await b.kill('SIGKILL');
    expect((await a.ask('DELETE', `/files/${root}`)).status).toBe(200);
    await a.kill('SIGKILL');
    const far = await peers.restart('b', b);
    const changed = await far.ask('PATCH', `/files/${root}`, { replicas: 1, name: 'new' });
    expect(changed).toMatchObject({ status: 200, body: { replicas: 1, name: 'new' } });
    const near = await peers.restart('a', a, { seeds: seedOf(far) });
    await seeEachOther([near, far]);
    await eventually('deleted there too', () => lacks(far, root));
    expect(await lacks(near, root)).toBe(true);

    await far.put(draft('one'));
    await eventually('uploaded again', () => knows(near, root, { deleted: false, replicas: 2 }));
  });

  it('finds a file that is unknown here, and says when nobody knows it', async () => {
    const a = await peers.start('a');
    const { root } = await a.put(draft('one'));
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    expect((await b.ask('DELETE', `/files/${root}`)).status).toBe(200);
    await eventually('deleted', () => lacks(a, root));
    expect(await b.ask('DELETE', `/files/${draft('none').root}`)).toMatchObject({
      status: 404,
      body: { type: 'problems/file-not-found' },
    });
  });
});

/** The deleted files that can be brought back, as this peer lists them. */
async function recoverable(peer: TestPeer): Promise<FileEntry[]> {
  const { body } = await peer.ask('GET', '/files?deleted');
  return (body as { files: FileEntry[] }).files;
}
const purgedAt = async (peer: TestPeer, root: string) =>
  (await recoverable(peer)).every(({ cid }) => cid !== root) && (await lacks(peer, root));

describe('a deleted file', () => {
  it('is brought back at any peer, as it was, with what a sweep needs to keep it until then', async () => {
    const [a, b, c] = await peers.startThree({ env: { DISCOVERY_UNDELETE_MS: '3600000' } });
    const pin = await a.put({ ...draft('one'), replicas: 3 });
    for (const each of [b, c]) await eventually('the pin', () => each.find(pin.root, false));
    const beforeMs = Date.now();
    const deleted = await a.ask('DELETE', `/files/${pin.root}`);
    const { purgeAtMs } = deleted.body as { purgeAtMs: number };
    expect(purgeAtMs).toBeGreaterThanOrEqual(beforeMs + 3_600_000);
    for (const peer of [a, b, c]) {
      await eventually('deleted', () => lacks(peer, pin.root));
      expect(await listed(peer)).toMatchObject({ total: 0, files: [] });
      expect(await recoverable(peer)).toMatchObject([{ cid: pin.root, name: 'one', replicas: 3 }]);
      expect(await peer.pins()).toMatchObject({ pins: [] });
      const { pins } = await peer.client.call(
        peer.target,
        discoveryRoutes.listPins,
        { query: { deleted: 'true' } },
        { signal: AbortSignal.timeout(10_000) },
      );
      expect(pins).toMatchObject([{ root: pin.root, deleted: true, replicas: 3 }]);
    }
    const gone = await b.ask('GET', `/files/${pin.root}/health`);
    expect(gone).toMatchObject({ status: 410, body: { why: 'deleted' } });
    expect(Date.parse((gone.body as { purgeAt: string }).purgeAt)).toBeGreaterThan(beforeMs);
    expect((gone.body as { detail: string }).detail).toContain(`shoal undelete ${pin.root}`);
    expect((await b.ask('PATCH', `/files/${pin.root}`, { replicas: 1 })).status).toBe(410);
    expect((await b.ask('DELETE', `/files/${pin.root}`)).status).toBe(410);

    const back = await b.ask('POST', `/files/${pin.sha256}/undelete`);
    expect(back).toMatchObject({ status: 200, body: { cid: pin.root, name: 'one', replicas: 3 } });
    expect(back.body).not.toHaveProperty('deletedAtMs');
    for (const peer of [a, b, c]) {
      await eventually('back', () => knows(peer, pin.root, { deleted: false, replicas: 3 }));
      expect(await recoverable(peer)).toEqual([]);
    }
    const again = await c.ask('POST', `/files/${pin.root}/undelete`); // it lives already
    expect(again).toMatchObject({ status: 200, body: { cid: pin.root } });
    expect((await c.ask('POST', `/files/${draft('none').root}/undelete`)).status).toBe(404);
  });

  it('is purged at once when asked to, deleted before or not, and for room; a purge is final', async () => {
    await using redis = await startRedis();
    const env = { REDIS_SOCKET: redis.socket };
    const a = await peers.start('a');
    const b = await peers.start('b', { seeds: seedOf(a), env });
    await seeEachOther([a, b]);
    const pins = [
      await a.put(draft('one')),
      await a.put(draft('two')),
      await a.put(draft('three')),
    ];
    const [one, two, three] = pins.map(({ root }) => root);
    for (const { root } of pins) await eventually('the pin', () => b.find(root, false));
    const reader = new Redis({ path: redis.socket });
    const events: SwarmEvent[] = [];
    reader.on('message', (_, text) => events.push(...SwarmEvent.array().parse(JSON.parse(text))));
    await reader.subscribe(EVENTS_CHANNEL);

    const now = await a.ask('DELETE', `/files/${one}?now`);
    expect(now.status).toBe(200);
    expect(now.body).not.toHaveProperty('purgeAtMs');
    for (const root of [two, three]) await a.ask('DELETE', `/files/${root}`);
    await eventually('deleted', async () => (await recoverable(b)).length === 2);
    expect((await b.ask('DELETE', `/files/${two}?now=true`)).status).toBe(200);
    const purges = { body: { roots: [one, two, three] as Cid[] } };
    const signal = AbortSignal.timeout(10_000);
    const order = await b.client.call(b.target, discoveryRoutes.listPurgeable, {}, { signal });
    expect(order.roots).toEqual([three]);
    const reply = await b.client.call(b.target, discoveryRoutes.purgeForRoom, purges, { signal });
    expect(reply).toEqual({ purged: 1 });
    for (const peer of [a, b])
      for (const root of [one, two, three]) {
        await eventually('purged', () => purgedAt(peer, root ?? ''));
        const refused = await peer.ask('POST', `/files/${root}/undelete`);
        expect(refused).toMatchObject({ status: 410, body: { why: 'deleted' } });
        expect(refused.body).not.toHaveProperty('purgeAt');
        expect((await peer.ask('DELETE', `/files/${root}?now`)).status).toBe(410);
      }
    await eventually(
      'the events',
      () => events.filter(({ kind }) => kind === 'purged').length === 2,
    );
    expect(events.filter(({ kind }) => kind === 'purged')).toMatchObject([
      { cid: two, isForRoom: false },
      { cid: three, isForRoom: true, name: 'three' },
    ]);
    expect(b.log()).toContain('this peer needs its room');
    expect(await metric(b, 'pins_purged_total{why="room",service="discovery"} 1')).toBe(true);
    reader.disconnect();
    await a.put(draft('one'));
    await eventually('uploaded again', () => knows(b, one ?? '', { deleted: false }));
  });

  it('is purged when its time is over, and at once where that is the setting', async () => {
    const a = await peers.start('a', { env: { DISCOVERY_UNDELETE_MS: '1500' } });
    const { root } = await a.put(draft('one'));
    await a.ask('DELETE', `/files/${root}`);
    expect(await lacks(a, root)).toBe(true);
    await eventually('purged', async () => (await recoverable(a)).length === 0);
    expect((await a.ask('POST', `/files/${root}/undelete`)).status).toBe(410);
    expect(await metric(a, 'pins_purged_total{why="time",service="discovery"} 1')).toBe(true);

    const b = await peers.start('b', { env: { DISCOVERY_UNDELETE_MS: '0' } });
    await b.put(draft('one'));
    expect((await b.ask('DELETE', `/files/${root}`)).body).not.toHaveProperty('purgeAtMs');
    expect(await recoverable(b)).toEqual([]);
  });
});

describe('the list of files', () => {
  it('goes on behind a page, whatever is deleted or added meanwhile', async () => {
    const peer = await peers.start('alone');
    const pins: Pin[] = [];
    for (const name of ['1', '2', '3', '4', '5', '6']) pins.push(await peer.put(draft(name)));
    const page = async (query: string) => {
      const { status, body } = await peer.ask('GET', `/files?limit=3${query}`);
      expect(status).toBe(200);
      return body as { files: FileEntry[]; next?: string };
    };
    const first = await page('');
    await peer.ask('DELETE', `/files/${first.files[1]?.cid}`);
    await peer.put(draft('7'));
    const second = await page(`&after=${first.next}`);
    const read = [...first.files, ...second.files].map(({ cid }) => cid);
    expect(read.toSorted()).toEqual(pins.map(({ root }) => root).toSorted());
    expect(second.next).toBeUndefined();
  });

  it('refuses to be paged by number, which leaves files out, and says how it goes', async () => {
    const peer = await peers.start('alone');
    for (const offset of ['0', '10', ''])
      expect(await peer.ask('GET', `/files?limit=10&offset=${offset}`)).toMatchObject({
        status: 400,
        body: { detail: expect.stringContaining('give the `next` of the page before as `after`') },
      });
  });
});

describe('a change', () => {
  it('reaches all members, also one that was away', async () => {
    const [a, b, c] = await peers.startThree();
    const { root } = await a.put({ ...draft('one'), replicas: 3 });
    for (const each of [b, c]) await eventually('the pin', () => each.find(root, false));
    await c.kill('SIGKILL');
    const changed = await b.ask('PATCH', `/files/${root}`, { replicas: 1, name: 'new name' });
    expect(changed).toMatchObject({ status: 200, body: { cid: root, replicas: 1 } });
    const again = await peers.restart('c', c);
    for (const peer of [a, b, again])
      await eventually('changed', () => knows(peer, root, { replicas: 1, name: 'new name' }));
    expect(await listed(a)).toMatchObject({ files: [{ name: 'new name', replicas: 1 }] });
  });

  it('is refused when it makes no sense', async () => {
    const a = await peers.start('a');
    const { root } = await a.put(draft('one'));
    const statusOf = async (body: unknown, cid: string = root) =>
      (await a.ask('PATCH', `/files/${cid}`, body)).status;
    expect(await statusOf({})).toBe(400);
    expect(await statusOf({ replicas: 0 })).toBe(400);
    expect(await statusOf({ name: '../x' })).toBe(400);
    expect(await statusOf({ expiresAt: '2001-01-01T00:00:00Z' })).toBe(400);
    expect(await statusOf({ expiresAt: 'tomorrow' })).toBe(400);
    expect(await statusOf({ size: 3 })).toBe(400);
    expect(await statusOf({ replicas: 1 }, draft('none').root)).toBe(404);
    expect(await a.find(root, false)).toMatchObject({ name: 'one', replicas: 2 });
  });
});

describe('an end', () => {
  const soon = () => new Date(Date.now() + 1500).toISOString();

  it('takes a file out of all lists everywhere, and survives a crash', async () => {
    const env = { DISCOVERY_EXPIRY_SLACK_MS: '6000' };
    const a = await peers.start('a', { env });
    const b = await peers.start('b', { seeds: seedOf(a), env });
    await seeEachOther([a, b]);
    const pin = await a.put(draft('one'));
    await eventually('the pin', () => b.find(pin.root, false));
    const { body } = await a.ask('PATCH', `/files/${pin.root}`, { expiresAt: soon() });
    expect(body).toHaveProperty('expiresAtMs');
    await b.kill('SIGKILL');
    await eventually('ended', async () => (await listed(a)).total === 0);
    // At once: on a busy machine the other one's start takes longer than the slack.
    expect((await a.pins(true)).pins).toMatchObject([{ root: pin.root }]);
    const again = await peers.restart('b', b, { env });
    for (const peer of [a, again]) {
      await eventually('ended', async () => (await listed(peer)).total === 0);
      expect(await lacks(peer, pin.sha256 ?? '')).toBe(true);
      expect((await peer.pins()).pins).toEqual([]);
    }
    expect(await metric(a, 'shoal_discovery_pins_expired_total{service="discovery"} 1')).toBe(true);
    await eventually('beyond the slack', async () => (await a.pins(true)).pins.length === 0, {
      timeoutMs: 30_000,
    });
    expect(await a.ask('PATCH', `/files/${pin.sha256}`, { expiresAt: null })).toMatchObject({
      status: 410,
      body: { why: 'expired' },
    });

    await a.put(draft('one'));
    for (const peer of [a, again])
      await eventually('uploaded again', async () => (await listed(peer)).total === 1);
    expect((await a.find(draft('one').sha256, false)).expiresAtMs).toBeUndefined();
  });

  it('moves when it is changed', async () => {
    const a = await peers.start('a');
    const { root } = await a.put({ ...draft('one'), expiresAtMs: Date.now() + 2500 });
    await a.put(draft('two'));
    await a.ask('PATCH', `/files/${draft('two').root}`, { expiresAt: soon() });
    await a.ask('PATCH', `/files/${root}`, { expiresAt: null });
    await eventually('one of them ended', async () => (await listed(a)).total === 1);
    expect(await listed(a)).toMatchObject({ files: [{ cid: root }] });
    expect((await a.pins()).pins[0]?.expiresAtMs).toBeUndefined();
  });
});

describe('the set of pins', () => {
  const isCurrent = async (peer: TestPeer) => (await peer.pins()).isCurrent;

  it('is current at a peer that is alone, not while all others are away', async () => {
    const a = await peers.start('a');
    expect(await isCurrent(a)).toBe(true);
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    for (const peer of [a, b]) await eventually('current', () => isCurrent(peer));
    await b.kill('SIGKILL');
    await eventually('not current', async () => !(await isCurrent(a)));
    const again = await peers.restart('b', b);
    for (const peer of [a, again]) await eventually('current', () => isCurrent(peer));
  });

  it('is not current at a peer whose seeds can not be reached', async () => {
    const a = await peers.start('a', { seeds: '127.0.0.1:1' });
    await eventually('tried', async () => (await fetch(`${a.origin}/readyz`)).ok);
    expect(await isCurrent(a)).toBe(false);
  });

  it('is not current at a peer that lost its state until it has all again', async () => {
    const [a, b, c] = await peers.startThree();
    for (let index = 0; index < 30; index += 1) await a.put(draft(`file ${index}`));
    await eventually('all pins', async () => (await c.pins()).pins.length === 30);
    for (const peer of [a, b, c]) await peer.kill('SIGTERM');
    const dir = join(peers.folder, 'c', 'discovery');
    const full = openState(dir);
    const members = new Map(full.loadMembers().map((saved) => [idOf(saved), saved]));
    await full[Symbol.asyncDispose]();
    await rm(dir, { recursive: true });
    const empty = openState(dir);
    await empty.saveMembers(members);
    await empty[Symbol.asyncDispose]();

    const wiped = await peers.restart('c', c);
    expect(await wiped.pins()).toEqual({ pins: [], isCurrent: false });
    await peers.restart('a', a);
    const { pins } = await eventually('current', async () => {
      const reply = await wiped.pins();
      return reply.isCurrent && reply;
    });
    expect(pins).toHaveLength(30);
  });

  function idOf({ signed }: { signed: { payload: string } }): TestPeer['peerId'] {
    return (JSON.parse(signed.payload) as { peerId: TestPeer['peerId'] }).peerId;
  }

  it('gives a file uploaded where its deletion is unknown a later epoch than the deletion', async () => {
    const a = await peers.start('a');
    const { root } = await a.put(draft('one'));
    await a.ask('DELETE', `/files/${root}`);
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    const again = await b.put(draft('one'));
    await eventually('there again', () => knows(a, root, { epoch: again.epoch }));
  });
});
