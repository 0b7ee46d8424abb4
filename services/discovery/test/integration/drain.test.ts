import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { discoveryRoutes } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { draft, haveMap, type TestPeer } from './peer.ts';
import { isIn, openPeers, type Peers, seeEachOther } from './peers.ts';

jest.setTimeout(60_000);
const { signal } = new AbortController();

let peers: Peers;

beforeEach(async () => {
  peers = await openPeers();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

const sees = (peer: TestPeer, other: TestPeer, isDraining: boolean) =>
  eventually('draining as said', async () => {
    const member = (await peer.members()).find(({ peerId }) => peerId === other.peerId);
    return member?.draining === isDraining;
  });

describe('a draining peer', () => {
  it('says so at once and after a crash, may stay after all, and is out when it leaves', async () => {
    const [a, b, c] = await peers.startThree();
    const { version } = await a.client.call(a.target, discoveryRoutes.members, {}, { signal });
    await c.setDraining(true);
    for (const peer of [a, b, c]) await sees(peer, c, true);
    const after = await a.client.call(a.target, discoveryRoutes.members, {}, { signal });
    expect(after.version).toBeGreaterThan(version);
    await c.setDraining(false);
    for (const peer of [a, b, c]) await sees(peer, c, false);
    await c.setDraining(true);
    await c.kill('SIGKILL');
    for (const peer of [a, b]) await eventually('down', () => isIn(peer, c.peerId, 'down'));

    const again = await peers.restart('c', c);
    await seeEachOther([a, b, again]);
    for (const peer of [a, b, again]) await sees(peer, again, true);
    const metrics = await fetch(`${again.origin}/metrics`).then((reply) => reply.text());
    expect(metrics).toContain('shoal_discovery_draining{service="discovery"} 1');
    await again.kill('SIGTERM');
    for (const peer of [a, b]) {
      await eventually('out', () => isIn(peer, c.peerId, 'out'), { timeoutMs: 3000 });
      await eventually('current', async () => (await peer.pins()).isCurrent);
    }
  });
});

/** Questions that this peer answered. */
async function answers(peer: TestPeer): Promise<number> {
  const metrics = await fetch(`${peer.origin}/metrics`).then((reply) => reply.text());
  const line = /^shoal_discovery_messages_total\{kind="ask",outcome="ok".*\} (\d+)$/m.exec(metrics);
  return Number(line?.[1] ?? 0);
}

describe('health', () => {
  it('tells the copies of several files, and when they were last checked', async () => {
    const [a, b] = await peers.startThree();
    const [one, two] = [await a.put(draft('one')), await a.put(draft('two'))];
    const checked = { ...haveMap(one.root, 3, [0, 1, 2]), checkedAtMs: 700_000 };
    a.held.set(one.root, { ...checked, checkedAtMs: 900_000 });
    b.held.set(one.root, checked);
    a.held.set(two.root, haveMap(two.root, 3, [0, 1]));
    const none = draft('none').root;
    const body = { roots: [two.root, none, one.root] };
    const { files } = await a.client.call(a.target, discoveryRoutes.copies, { body }, { signal });
    expect(files).toEqual([
      { cid: two.root, copies: 0 },
      { cid: none },
      { cid: one.root, copies: 2 },
    ]);
    const health = await a.ask('GET', `/files/${one.root}/health`);
    expect(health.body).toMatchObject({ copies: 2, state: 'safe' });
    // Said as an age, so as much later as the answer was on its way.
    const { checkedAtMs } = health.body as { checkedAtMs: number };
    expect(checkedAtMs).toBeGreaterThanOrEqual(700_000);
    expect(checkedAtMs).toBeLessThan(800_000);
    a.held.set(one.root, haveMap(one.root, 3, [0, 1, 2]));
    const unsure = await a.ask('GET', `/files/${one.root}/health`);
    expect(unsure.body).toMatchObject({ copies: 2 });
    expect(unsure.body).not.toHaveProperty('checkedAtMs');
  });

  it('does not count a peer that went down while the others were asked', async () => {
    const [a, b, c] = await peers.startThree();
    const { root } = await a.put(draft('one'));
    for (const peer of [a, b, c]) peer.held.set(root, haveMap(root, 3, [0, 1, 2]));
    expect((await a.ask('GET', `/files/${root}/health`)).body).toMatchObject({ copies: 3 });
    c.setStorageDelay(700);
    const before = await answers(b);
    const asked = a.ask('GET', `/files/${root}/health`);
    await eventually('b answered', async () => (await answers(b)) > before);
    await b.kill('SIGKILL');
    const { body } = await asked;
    expect(body).toMatchObject({ copies: 2 });
    expect((body as { holders: { peerId: string }[] }).holders.map(({ peerId }) => peerId)).toEqual(
      expect.not.arrayContaining([b.peerId]),
    );
    const list = (await a.ask('GET', '/files')).body as { files: { copies: number }[] };
    expect(list.files[0]?.copies).toBe(2);
  });
});
