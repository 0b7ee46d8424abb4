/** Who belongs to the swarm, where a roster says it: real discovery processes, with the swarm key all of them. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createInviteSecret,
  createPeerClient,
  createPeerTls,
  createProver,
  keyPairOfInvite,
  openIdentity,
  privateKeyOf,
  proveJoin,
  readRosterFile,
  readSwarmKey,
} from '@shoal/chassis';
import { type PeerId, rosterRoutes } from '@shoal/protocol';
import { createTestRoster, eventually, metric, type TestRoster } from '@shoal/testkit';
import { draft, type TestPeer } from '../peer.ts';
import { isIn, openPeers, type Peers, seedOf, seeEachOther } from '../peers.ts';

jest.setTimeout(90_000);
const signal = new AbortController().signal;
/** A removed peer is refused everywhere by then. */
const REMOVED_WITHIN_MS = 5000;

let peers: Peers;
let roster: TestRoster;

beforeEach(async () => {
  peers = await openPeers();
  roster = createTestRoster();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

const idOf = (name: string): PeerId =>
  openIdentity(join(peers.folder, name, 'identity.key')).peerId;
const post = (peer: TestPeer, records: unknown[]) => peer.ask('POST', '/roster', { records });
/** Puts the roster of a, b and c into their folders, and starts those. */
async function startClosed(names = ['a', 'b', 'c']): Promise<TestPeer[]> {
  const records = ['a', 'b', 'c'].map((name) => roster.add(idOf(name), { mayInvite: true }));
  for (const name of ['a', 'b', 'c']) roster.write(join(peers.folder, name), records);
  const [first, ...rest] = names;
  const a = await peers.start(String(first));
  const others = await Promise.all(rest.map((name) => peers.start(name, { seeds: seedOf(a) })));
  await seeEachOther([a, ...others]);
  return [a, ...others];
}

describe('a swarm with a roster', () => {
  it('lets in nobody that is not on it, whatever key it has', async () => {
    const [a, b] = await startClosed();
    const thief = await peers.start('thief', { seeds: `${seedOf(a!)},${seedOf(b!)}` });
    await eventually('it was refused by both', async () => {
      const counts = await Promise.all([a!, b!].map(refusedAt));
      return counts.every((count) => count > 0);
    });
    expect(await thief.members()).toHaveLength(1);
    for (const peer of [a!, b!]) expect(await peer.stateOf(thief.peerId)).toBeUndefined();
  });

  it('shuts out a removed peer everywhere, and what it knew of before stays its own', async () => {
    const [a, b, c] = await startClosed();
    const pin = await c!.put(draft('from the one that goes'));
    await eventually('all know the file', async () =>
      (await Promise.all([a!, b!].map((each) => each.pins()))).every(
        ({ pins }) => pins.length === 1,
      ),
    );
    expect(await post(a!, [roster.remove(c!.peerId)])).toMatchObject({ body: { added: 1 } });
    const removedAtMs = performance.now();
    await eventually('nobody has it among its members', async () => {
      const states = await Promise.all([a!, b!].map((each) => each.stateOf(c!.peerId)));
      return states.every((state) => state === undefined);
    });
    expect(performance.now() - removedAtMs).toBeLessThan(REMOVED_WITHIN_MS);
    // Its pins stay; what it makes now reaches nobody, and it hears of nothing.
    await a!.put(draft('made after'));
    await c!.put(draft('its own after'));
    await eventually('b has the new one', async () => (await b!.pins()).pins.length === 2);
    const said = await c!.ask('GET', '/peers');
    expect(said.body).toMatchObject({ removed: { by: roster.owner.id } });
    for (const each of [a!, b!]) {
      const { pins } = await each.pins();
      expect(pins.map(({ name }) => name).sort()).toEqual(['from the one that goes', 'made after']);
    }
    expect(pin.origin).toBe(c!.peerId);
    const known = await c!.pins();
    expect(known.pins.map(({ name }) => name)).not.toContain('made after');
    expect(await isIn(a!, b!.peerId, 'alive')).toBe(true);
  });

  it('shuts it out at a peer that was away, before that serves anybody', async () => {
    const [a, b, c] = await startClosed();
    await c!.kill('SIGKILL');
    await eventually('c is down', () => isIn(a!, c!.peerId, 'down'));
    expect(await post(b!, [roster.remove(a!.peerId)])).toMatchObject({ status: 200 });
    // The first that the returning peer calls is the removed one, which keeps quiet about it.
    const back = await peers.restart('c', c!, { seeds: `${seedOf(a!)},${seedOf(b!)}` });
    await eventually('it is back', () => isIn(b!, back.peerId, 'alive'));
    await back.put(draft('made by the one that came back'));
    expect(await back.stateOf(a!.peerId)).toBeUndefined();
    const removed = await a!.pins();
    expect(removed.pins).toEqual([]);
  });

  it('is begun where all know a key, by records that an owner posts', async () => {
    const [a, b, c] = await peers.startThree();
    const records = [roster.genesis, ...[a, b].map(({ peerId }) => roster.add(peerId))];
    expect(await post(a, records)).toMatchObject({ status: 200, body: { added: 3 } });
    await eventually('both have it', () =>
      ['a', 'b'].every((name) => readRosterFile(join(peers.folder, name)).isClosed),
    );
    await eventually('the one that it leaves out is out', async () => {
      const states = await Promise.all([a, b].map((each) => each.stateOf(c.peerId)));
      return states.every((state) => state === undefined);
    });
    // It was not asked to join a roster without it.
    expect(readRosterFile(join(peers.folder, 'c')).isClosed).toBe(false);
    expect(await isIn(a, b.peerId, 'alive')).toBe(true);
  });

  it('refuses records of those who have no right, by name of the reason', async () => {
    const [a, , c] = await startClosed();
    const by = openIdentity(join(peers.folder, 'c', 'identity.key'));
    const forged = roster.sign(
      { kind: 'add', peerId: idOf('friend'), mayChange: 'any' },
      { id: by.peerId, privateKey: privateKeyOf(by.privateKeyRaw) },
    );
    const answer = await post(a!, [forged]);
    expect(answer.status).toBe(403);
    expect(JSON.stringify(answer.body)).toContain('has no right to that');
    const other = createTestRoster();
    const foreign = await post(a!, [other.genesis]);
    expect(JSON.stringify(foreign.body)).toContain('of another swarm');
    expect((await a!.ask('GET', '/roster')).body).toMatchObject({ swarm: roster.swarm });
    expect(await isIn(a!, c!.peerId, 'alive')).toBe(true);
  });
});

describe('an invitation', () => {
  const secret = createInviteSecret();
  const invited = keyPairOfInvite(secret);

  /** Joins as the command does. */
  async function join_(at: TestPeer, name: string, key = invited) {
    const identity = openIdentity(join(peers.folder, name, 'identity.key'));
    const tls = createPeerTls(identity, readSwarmKey(peers.keyFile));
    const nothing = new Uint8Array(32);
    await using client = createPeerClient({
      prover: createProver(nothing, identity.peerId, nothing),
      self: identity.peerId,
      own: { gateway: '', chunker: '', storage: '', transfer: '', discovery: '' },
      tls,
    });
    const target = { peerId: at.peerId, origin: at.origin, hasTls: true };
    const { swarm } = await client.call(target, rosterRoutes.joinInfo, {}, { signal });
    const proof = proveJoin(swarm, identity.peerId, key);
    const body = { invite: invited.id, proof, name: 'the new one' };
    return await client.call(target, rosterRoutes.join, { body }, { signal });
  }
  const inviteBy = (inviter: PeerId, life = 60_000, uses = 1) =>
    roster.sign({
      kind: 'invite',
      key: invited.id,
      inviter,
      uses,
      expiresAtMs: Date.now() + life,
      mayChange: 'own',
    });

  it('lets in one peer, once, and all take it for a member', async () => {
    const [a, b] = await startClosed();
    expect(await post(b!, [inviteBy(a!.peerId)])).toMatchObject({ status: 200 });
    await eventually('a knows it', async () => {
      const { body } = await a!.ask('GET', '/roster');
      return (body as { invites: unknown[] }).invites.length === 1;
    });
    const { records, seeds, swarmKey } = await join_(a!, 'new');
    expect(swarmKey).toBe(Buffer.from(readSwarmKey(peers.keyFile)).toString('hex'));
    roster.write(
      join(peers.folder, 'new'),
      records.filter(({ payload }) => !payload.includes('"genesis"')),
    );
    const joined = await peers.start('new', { seeds: seeds.join(',') });
    await seeEachOther([a!, b!, joined]);
    const named = (await b!.members()).find(({ peerId }) => peerId === joined.peerId);
    expect(named?.name).toBe('the new one');
    // The same one may ask again; another one may not.
    await join_(a!, 'new');
    await expect(join_(a!, 'second')).rejects.toThrow(/used as often as it may be/);
  });

  it('is refused when it has expired, was withdrawn, is of another peer, or is not had', async () => {
    const [a, b] = await startClosed();
    await expect(join_(a!, 'new')).rejects.toThrow(/not known here/);
    await post(a!, [inviteBy(a!.peerId, 1)]);
    await expect(join_(a!, 'new')).rejects.toThrow(/has expired/);
    const other = keyPairOfInvite(createInviteSecret());
    await expect(join_(a!, 'new', other)).rejects.toThrow(/not that of the invitation|has expired/);
    await post(a!, [roster.sign({ kind: 'close-invite', key: invited.id })]);
    await expect(join_(a!, 'new')).rejects.toThrow(/withdrawn/);
    await eventually('b knows it', async () => {
      const { body } = await b!.ask('GET', '/roster');
      return (body as { invites: { isClosed: boolean }[] }).invites[0]?.isClosed;
    });
    await expect(join_(b!, 'new')).rejects.toThrow(/of another peer/);
  });

  it('can be made by a peer that an owner lets invite', async () => {
    const [a] = await startClosed();
    const { status, body } = await a!.ask('POST', '/invitations', {});
    expect(status).toBe(200);
    expect(body).toMatchObject({ uses: 1, addresses: [a!.origin] });
  });
});

const refusedAt = async (peer: TestPeer): Promise<number> =>
  (await metric(peer.origin, 'shoal_discovery_handshakes_refused_total', { reason: 'roster' })) ??
  0;
