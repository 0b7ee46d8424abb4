/** Real discovery processes of which two run under one identity, because a data folder was copied. */
import { cpSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { discoveryRoutes, IdentityInUse, PeersReply } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { draft, type TestPeer } from './peer.ts';
import { isIn, openPeers, type Peers, seedOf, seeEachOther } from './peers.ts';

/** Fast, so that a twin that ended is forgotten within seconds. */
const env = { DISCOVERY_HEARTBEAT_MS: '300' };
const PATIENT = { timeoutMs: 60_000 };
const signal = new AbortController().signal;

let peers: Peers;
beforeEach(async () => {
  peers = await openPeers();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

const told = async (peer: TestPeer): Promise<PeersReply> =>
  PeersReply.parse((await peer.ask('GET', '/peers')).body);
const copyOf = (name: string, copy: string) =>
  cpSync(join(peers.folder, name), join(peers.folder, copy), { recursive: true });
const httpOf = async (peer: TestPeer, { peerId }: TestPeer) =>
  (await peer.members()).find((each) => each.peerId === peerId)?.http.discovery;

/** The sum of a metric over all of its labels that match. */
async function metric(peer: TestPeer, name: string, labels = /./): Promise<number | undefined> {
  const text = await fetch(`${peer.origin}/metrics`).then((reply) => reply.text());
  const lines = text.split('\n').filter((line) => new RegExp(`^${name}[ {]`).test(line));
  if (lines.length === 0) return undefined;
  const counted = lines.filter((line) => labels.test(line));
  return counted.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

const readiness = async (peer: TestPeer): Promise<unknown> =>
  (await fetch(`${peer.origin}/readyz`)).json();

/** How often a peer saw somebody go. */
const deathsSeen = (peer: TestPeer) =>
  metric(peer, 'shoal_discovery_member_transitions_total', /state="(?:down|out)"/);

/** Both know of each other, one of them is aside, and all others see the peer where the first one is. */
async function untilSettled(first: TestPeer, copy: TestPeer, others: readonly TestPeer[]) {
  await eventually('the copy stands aside', async () => (await told(copy)).twin?.isAside, PATIENT);
  await eventually(
    'the first knows',
    async () => (await told(first)).twin?.isAside === false,
    PATIENT,
  );
  for (const other of others)
    await eventually(
      'the others see the first',
      async () =>
        (await isIn(other, first.peerId, 'alive')) && (await httpOf(other, first)) === first.origin,
      PATIENT,
    );
}

describe('a peer whose folder was copied', () => {
  it('is noticed by both before the copy joins; the copy refuses writes, and its end harms nobody', async () => {
    const a = await peers.start('a', { env });
    const b = await peers.start('b', { env, seeds: seedOf(a) });
    await seeEachOther([a, b]);
    await a.put(draft('in both folders'));
    await a.kill('SIGTERM');
    copyOf('a', 'copy');
    const first = await peers.restart('a', a, { env, seeds: seedOf(b) });
    await seeEachOther([first, b]);
    const before = await deathsSeen(b);
    expect(before).toBeGreaterThan(0);
    const kept = await first.put(draft('kept'));

    const copy = await peers.start('copy', { env, seeds: seedOf(b) });
    expect(copy.peerId).toBe(first.peerId);
    await untilSettled(first, copy, [b]);
    for (const peer of [first, copy]) {
      expect(peer.log()).toContain("another process runs under this peer's identity");
      expect(await metric(peer, 'shoal_discovery_twins')).toBe(1);
    }
    // All that a person may look at says so: both of them, the others, and what asks whether one is ready.
    const gatewayOf = async (peer: TestPeer) =>
      (await told(peer)).peers.find(({ isSelf }) => isSelf)?.http.gateway ?? '';
    const [atFirst, atCopy] = [await gatewayOf(first), await gatewayOf(copy)];
    const identity = "another process runs under this peer's identity, at ";
    expect(await readiness(first)).toMatchObject({
      status: 'ready',
      notices: [expect.stringContaining(`${identity}${atCopy}`)],
    });
    const why = expect.stringContaining(`${identity}${atFirst}`);
    expect(await readiness(copy)).toMatchObject({
      status: 'unready',
      reason: why,
      needsPerson: true,
      notices: [why],
    });
    expect(await readiness(b)).toEqual({ status: 'ready', service: 'discovery' });
    await eventually(
      'the others are told',
      async () => (await told(b)).peers.some(({ twin }) => twin === atCopy),
      PATIENT,
    );
    const listed = await copy.ask('GET', '/files');
    const { files } = discoveryRoutes.listFiles.reply.parse(listed.body);
    expect(files.map(({ name }) => name)).toContain('in both folders');
    for (const { state, causes } of files)
      expect([state, causes]).toEqual(['unknown', [{ kind: 'aside', gateway: atFirst }]]);
    expect(await metric(copy, 'shoal_discovery_twin_aside')).toBe(1);
    expect(await metric(first, 'shoal_discovery_twin_aside')).toBe(0);

    await expect(copy.put(draft('lost'))).rejects.toThrow(IdentityInUse);
    expect((await copy.ask('DELETE', `/files/${kept.root}`)).status).toBe(503);
    const read = await copy.client.call(copy.target, discoveryRoutes.members, {}, { signal });
    expect(read.twin).toMatchObject({ isAside: true });
    await first.put(draft('also kept'));
    await eventually('it spreads', () => b.find(draft('also kept').root, false), PATIENT);
    await eventually('the copy knows the members', () => isIn(copy, b.peerId, 'alive'), PATIENT);

    await copy.kill('SIGTERM');
    await eventually(
      'the first forgets it',
      async () => (await told(first)).twin === undefined,
      PATIENT,
    );
    await seeEachOther([first, b]);
    expect(await readiness(first)).toEqual({ status: 'ready', service: 'discovery' });
    await eventually(
      'the others forget it',
      async () => (await told(b)).peers.every(({ twin }) => twin === undefined),
      PATIENT,
    );
    expect(await httpOf(b, first)).toBe(first.origin);
    expect(await deathsSeen(b)).toBe(before);
  }, 180_000);

  it('is noticed through the others when the copy was run elsewhere before, and takes the name when it is free', async () => {
    const a = await peers.start('a', { env });
    const [b, c] = [
      await peers.start('b', { env, seeds: seedOf(a) }),
      await peers.start('c', { env, seeds: seedOf(a) }),
    ];
    await seeEachOther([a, b, c]);
    await a.kill('SIGTERM');
    copyOf('a', 'copy');
    // Its folder says that it was here last, so it has nobody to ask before it joins.
    const early = await peers.start('copy', { env });
    await early.kill('SIGTERM');
    const first = await peers.restart('a', a, { env, seeds: seedOf(b) });
    await seeEachOther([first, b, c]);

    const copy = await peers.restart('copy', early, { env, seeds: `${seedOf(b)},${seedOf(c)}` });
    await untilSettled(first, copy, [b, c]);
    const pin = await first.put(draft('after'));
    for (const other of [b, c])
      await eventually('gossip goes on', () => other.find(pin.root, false), PATIENT);

    await first.kill('SIGKILL');
    await eventually(
      'the copy takes over',
      async () => (await told(copy)).twin === undefined,
      PATIENT,
    );
    await seeEachOther([copy, b, c]);
    expect(await httpOf(b, copy)).toBe(copy.origin);
    await copy.put(draft('now here'));
  }, 180_000);
});

describe('no copy', () => {
  it('is a peer that was killed and started again, or whose folder was moved', async () => {
    const a = await peers.start('a', { env });
    const b = await peers.start('b', { env, seeds: seedOf(a) });
    await seeEachOther([a, b]);
    await a.kill('SIGKILL');
    const again = await peers.restart('a', a, { env, seeds: seedOf(b) });
    await seeEachOther([again, b]);
    await again.kill('SIGKILL');
    renameSync(join(peers.folder, 'a'), join(peers.folder, 'moved'));
    const moved = await peers.start('moved', { env, seeds: seedOf(b) });
    expect(moved.peerId).toBe(a.peerId);
    await seeEachOther([moved, b]);
    await eventually(
      'b sees it there',
      async () => (await httpOf(b, moved)) === moved.origin,
      PATIENT,
    );
    for (const peer of [again, moved, b]) expect(peer.log()).not.toContain('another process runs');
    expect((await told(moved)).twin).toBeUndefined();
    await moved.put(draft('still written'));
  }, 120_000);
});
