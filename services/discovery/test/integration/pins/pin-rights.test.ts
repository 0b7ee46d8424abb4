/** Who may change which pin, in a swarm with a roster: real discovery processes, one of which has lies on its disk. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createSeed,
  identityOf,
  keyPairOf,
  openIdentity,
  recordIdOf,
  Roster,
  saveRoster,
  signRecord,
  signText,
} from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  FileOfAnother,
  type MayChange,
  type Pin,
  type Right,
  TOKEN_PREFIX,
} from '@shoal/protocol';
import { nextPin, purgedPin, readRoster } from '@shoal/swarm';
import { eventually } from '@shoal/testkit';
import { createSigner, pinsOf, type SignedPin } from '../../../src/network/signed.ts';
import { Kept } from '../../../src/pins/kept.ts';
import { openState } from '../../../src/state/state.ts';
import { draft, type TestPeer } from '../peer.ts';
import { openPeers, type Peers, seedOf, seeEachOther } from '../peers.ts';

jest.setTimeout(120_000);

let peers: Peers;
beforeEach(async () => {
  peers = await openPeers();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

const folderOf = (name: string): string => join(peers.folder, name);
const identityAt = (name: string) => openIdentity(join(folderOf(name), 'identity.key'));

/** Signs a roster as its owner, and puts it into the folders of its members. */
function createOwner() {
  const key = keyPairOf(createSeed());
  const atMs = Date.now();
  const recovery = keyPairOf(createSeed()).id;
  const genesis = signRecord({ kind: 'genesis', recovery, atMs, nonce: 'n' }, key);
  const swarm = recordIdOf(genesis);
  const records = [genesis];
  const write = (...names: readonly string[]): Roster => {
    const roster = new Roster();
    roster.take(records, { mayBegin: true });
    for (const name of names) saveRoster(folderOf(name), roster);
    return roster;
  };
  return {
    write,
    /** A header with a token that the owner gives. */
    token(part: { readonly may: readonly Right[]; readonly only?: Cid }): {
      authorization: string;
    } {
      const seed = createSeed();
      const about = { v: 1, kind: 'grant', swarm, by: key.id, key: keyPairOf(seed).id, atMs };
      const grant = signText(
        'grant',
        JSON.stringify({ ...about, name: 'n', ...part }),
        key.privateKey,
      );
      const content = { seed: Buffer.from(seed).toString('base64url'), grants: [grant] };
      const text = TOKEN_PREFIX + Buffer.from(JSON.stringify(content)).toString('base64url');
      return { authorization: `Bearer ${text}` };
    },
    add(name: string, mayChange: MayChange): void {
      const { peerId } = identityAt(name);
      const of = { swarm, atMs, peerId, name: `the ${name} machine`, mayChange } as const;
      records.push(signRecord({ kind: 'add', ...of }, key));
    },
    remove(name: string, pinsUntil: number): void {
      const { peerId } = identityAt(name);
      const of = { swarm, atMs, peerId, pinsUntil, dropsPins: false, stands: [] };
      records.push(signRecord({ kind: 'remove', ...of }, key));
    },
  };
}

/** Signs as a peer does, whatever it is. */
function signAs({ privateKeyRaw }: { readonly privateKeyRaw: Uint8Array }, pin: Pin): SignedPin {
  const [signed] = pinsOf(createSigner(privateKeyRaw).signPins([pin]));
  if (signed === undefined) throw new Error('one pin is one signed pin');
  return signed;
}

/** Puts a version on the disk of a peer that does not run, as if it had made it or heard of it. */
async function plant(
  name: string,
  roster: Roster,
  all: readonly { pin: Pin; signed: SignedPin }[],
) {
  await using state = openState(join(folderOf(name), 'discovery'));
  const kept = new Kept({ self: identityAt(name).peerId, roster });
  const how = { nowMs: Date.now(), deletedSeenMs: Date.now };
  for (const each of all)
    await state.pins.updateAll(
      [{ root: each.pin.root, next: (versions) => kept.of([...versions, each]) }],
      { seal: () => [], form: (versions, old) => kept.form(versions, old, how) },
    );
}

const listed = async (peer: TestPeer) => (await peer.pins()).pins;
const find = async (peer: TestPeer, { root }: Pick<Pin, 'root'>) =>
  (await listed(peer)).find((pin) => pin.root === root);
const isListed = async (peer: TestPeer, pin: Pick<Pin, 'root'>) =>
  (await find(peer, pin)) !== undefined;
const everywhere = (
  all: readonly TestPeer[],
  claim: string,
  is: (peer: TestPeer) => Promise<boolean>,
) =>
  eventually(claim, async () => (await Promise.all(all.map(is))).every(Boolean), {
    timeoutMs: 60_000,
  });
const remove = (peer: TestPeer, { root }: Pick<Pin, 'root'>, query = '') =>
  peer.ask('DELETE', `/files/${root}${query}`);

async function recoverable(peer: TestPeer): Promise<number> {
  const { body } = await peer.ask('GET', '/files?deleted=true');
  return (body as { files: unknown[] }).files.length;
}

/** Three members: two that may change only their own pins, and one that may change any. */
async function startClosed() {
  const owner = createOwner();
  owner.add('author', 'own');
  owner.add('other', 'own');
  owner.add('admin', 'any');
  owner.write('author', 'other', 'admin');
  const author = await peers.start('author');
  const seeds = seedOf(author);
  const other = await peers.start('other', { seeds });
  const admin = await peers.start('admin', { seeds });
  await seeEachOther([author, other, admin]);
  return { owner, author, other, admin };
}

describe('a file of another peer', () => {
  it('is not changed, deleted or brought back by a member that may not, which says who may', async () => {
    const { author, other, admin } = await startClosed();
    const all = [author, other, admin];
    const pin = await author.put(draft('of the author'));
    await everywhere(all, 'all know it', (peer) => isListed(peer, pin));
    const refusals = [
      await remove(other, pin),
      await remove(other, pin, '?now=true'),
      await other.ask('PATCH', `/files/${pin.root}`, { replicas: 1 }),
    ];
    const refusal = {
      status: 403,
      body: {
        type: FileOfAnother.type,
        authors: [{ peerId: author.peerId, name: 'the author machine' }],
      },
    };
    for (const reply of refusals) expect(reply).toMatchObject(refusal);
    expect(await find(other, pin)).toMatchObject({ clock: pin.clock, replicas: 2 });

    expect(await admin.ask('PATCH', `/files/${pin.root}`, { replicas: 3 })).toMatchObject({
      status: 200,
    });
    await everywhere(all, 'changed', async (peer) => (await find(peer, pin))?.replicas === 3);
    expect(await find(author, pin)).toMatchObject({ author: author.peerId, origin: admin.peerId });
    // Its author still may.
    expect(await remove(author, pin)).toMatchObject({ status: 200 });
    await everywhere(all, 'deleted', async (peer) => !(await isListed(peer, pin)));
    expect(await other.ask('POST', `/files/${pin.root}/undelete`)).toMatchObject(refusal);
    // Its bytes go where their room is needed, and are kept elsewhere.
    const { purged } = await other.client.call(
      other.target,
      discoveryRoutes.purgeForRoom,
      { body: { roots: [pin.root] } },
      { signal: AbortSignal.timeout(10_000) },
    );
    expect(purged).toBe(1);
    expect(await recoverable(other)).toBe(0);
    expect([await recoverable(author), await recoverable(admin)]).toEqual([1, 1]);
    expect(await admin.ask('POST', `/files/${pin.root}/undelete`)).toMatchObject({ status: 200 });
    await everywhere(all, 'back', (peer) => isListed(peer, pin));
    expect(await remove(admin, pin, '?now=true')).toMatchObject({ status: 200 });
    await everywhere(all, 'gone', async (peer) => !(await isListed(peer, pin)));
    expect(await author.ask('POST', `/files/${pin.root}/undelete`)).toMatchObject({ status: 410 });
  });

  it('is deleted and changed at any member with a token that may', async () => {
    const { owner, author, other, admin } = await startClosed();
    const all = [author, other, admin];
    const pin = await author.put(draft('by a token'));
    const second = await author.put(draft('not by this token'));
    await everywhere(all, 'all know it', (peer) => isListed(peer, second));
    const ask = async (method: string, path: string, headers: object, body?: unknown) =>
      fetch(`${other.origin}/files/${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    const writer = owner.token({ may: ['read', 'write'] });
    expect(await ask('PATCH', pin.root, writer, { replicas: 1 })).toMatchObject({ status: 403 });
    const token = owner.token({ may: ['write', 'delete'], only: pin.root });
    expect(await ask('PATCH', second.root, token, { replicas: 1 })).toMatchObject({ status: 403 });
    expect(await ask('PATCH', pin.root, token, { replicas: 1 })).toMatchObject({ status: 200 });
    await everywhere(all, 'changed', async (peer) => (await find(peer, pin))?.replicas === 1);
    expect(await find(author, pin)).toMatchObject({ author: author.peerId, origin: other.peerId });
    expect(await ask('DELETE', pin.root, token)).toMatchObject({ status: 200 });
    await everywhere(all, 'deleted', async (peer) => !(await isListed(peer, pin)));
    expect(await ask('POST', `${pin.root}/undelete`, token)).toMatchObject({ status: 200 });
    await everywhere(all, 'back', (peer) => isListed(peer, pin));
    expect(await ask('DELETE', `${pin.root}?now=true`, token)).toMatchObject({ status: 200 });
    await everywhere(all, 'gone', async (peer) => !(await isListed(peer, pin)));
    for (const peer of all) expect(await isListed(peer, second)).toBe(true);
  });

  it('stays when a member signs all the same that it is deleted, or kept less', async () => {
    const { author, other, admin } = await startClosed();
    const honest = [author, admin];
    const [pin, second] = [await author.put(draft('first')), await author.put(draft('second'))];
    await everywhere([other], 'it knows them', (peer) => isListed(peer, second));
    await other.kill('SIGTERM');
    const liar = identityAt('other');
    const maker = { nowMs: Date.now(), origin: liar.peerId };
    const lies = [
      purgedPin(pin, maker),
      {
        ...nextPin({ ...draft('second'), replicas: 1 }, second, maker),
        expiresAtMs: Date.now() + 1,
      },
    ].map((lie): Pin => ({ ...lie, author: author.peerId }));
    // On its own disk what it signed has replaced what it knew.
    const open = new Kept({ self: liar.peerId, roster: { view: readRoster([], undefined) } });
    const how = { nowMs: Date.now(), deletedSeenMs: Date.now };
    {
      await using state = openState(join(folderOf('other'), 'discovery'));
      for (const lie of lies)
        await state.pins.update(lie.root, (old) =>
          open.form([{ pin: lie, signed: signAs(liar, lie) }], old, how),
        );
    }
    const again = await peers.restart('other', other, { seeds: seedOf(author) });
    await seeEachOther([author, again, admin]);
    await everywhere(honest, 'both heard both lies', async (peer) =>
      lies.every(({ root }) =>
        peer
          .log()
          .split('\n')
          .some(
            (line) =>
              line.includes('"msg":"record refused"') &&
              line.includes(root) &&
              line.includes(`may not change the pins of ${author.peerId}`),
          ),
      ),
    );
    for (const peer of honest) {
      expect(await find(peer, pin)).toMatchObject({ deleted: false, author: author.peerId });
      expect(await find(peer, second)).toMatchObject({ replicas: 2 });
      expect(await find(peer, second)).not.toHaveProperty('expiresAtMs');
    }
    // It is told better, too, and all count as knowing all.
    await everywhere([...honest, again], 'the same everywhere', async (peer) => {
      const { pins, isCurrent } = await peer.pins();
      return isCurrent && pins.length === 2;
    });
  });

  it('that both put stays when one deletes it, until the other does', async () => {
    const { author, other, admin } = await startClosed();
    const all = [author, other, admin];
    const pin = await author.put({ ...draft('twice'), replicas: 3 });
    await everywhere(all, 'all know it', (peer) => isListed(peer, pin));
    await other.put({ ...draft('twice'), name: 'again' });
    await everywhere(all, 'of both', async (peer) => (await find(peer, pin))?.name === 'again');
    for (const peer of all) expect(await find(peer, pin)).toMatchObject({ replicas: 3 });
    expect(await remove(author, pin)).toMatchObject({
      status: 200,
      body: { cid: pin.root, keptBy: [other.peerId] },
    });
    await everywhere(
      all,
      'as the other asks',
      async (peer) => (await find(peer, pin))?.replicas === 2,
    );
    expect(await remove(author, pin)).toMatchObject({ status: 403 });
    const reply = await remove(other, pin);
    expect(reply).toMatchObject({ status: 200 });
    expect(reply.body).not.toHaveProperty('keptBy');
    await everywhere(all, 'deleted', async (peer) => !(await isListed(peer, pin)));

    // Who may change any ends the pins of all with one request.
    for (const peer of [author, other]) await peer.put(draft('ended by the admin'));
    const ended = draft('ended by the admin');
    await everywhere(
      [admin],
      'it knows both',
      async (peer) => (await find(peer, ended))?.origin === other.peerId,
    );
    expect(await remove(admin, ended)).toMatchObject({ status: 200 });
    await everywhere(all, 'deleted', async (peer) => !(await isListed(peer, ended)));
    expect(await other.ask('POST', `/files/${ended.root}/undelete`)).toMatchObject({ status: 200 });
    await everywhere(all, 'back', (peer) => isListed(peer, ended));
  });
});

describe('a member that was removed', () => {
  it('has deleted nothing after its end', async () => {
    const { owner, author, other, admin } = await startClosed();
    const pin = await author.put(draft('stolen from'));
    const old = await author.put(draft('deleted in good time'));
    await everywhere([admin, other], 'they know it', (peer) => isListed(peer, old));
    expect(await remove(admin, old)).toMatchObject({ status: 200 });
    const pinsUntil = Date.now() + 1;
    await eventually('a later clock', async () => Date.now() > pinsUntil);
    expect(await remove(admin, pin, '?now=true')).toMatchObject({ status: 200 });
    await everywhere(
      [author, other],
      'both believed it',
      async (peer) => !(await isListed(peer, pin)),
    );
    for (const peer of [author, other, admin]) await peer.kill('SIGTERM');
    owner.remove('admin', pinsUntil);
    owner.write('author', 'other');
    const first = await peers.restart('author', author);
    const second = await peers.restart('other', other, { seeds: seedOf(first) });
    await everywhere([first, second], 'it is back', (peer) => isListed(peer, pin));
    for (const peer of [first, second]) expect(await isListed(peer, old)).toBe(false);
  });
});

describe('a swarm that gets a roster', () => {
  it('keeps its files as they are, and a peer that was away learns all', async () => {
    const author = await peers.start('author');
    const other = await peers.start('other', { seeds: seedOf(author) });
    await seeEachOther([author, other]);
    const pins = [];
    for (const name of ['kept', 'changed', 'deleted']) pins.push(await author.put(draft(name)));
    const [kept, changed, deleted] = pins as [Pin, Pin, Pin];
    await everywhere([other], 'it knows them', (peer) => isListed(peer, deleted));
    expect(await other.ask('PATCH', `/files/${changed.root}`, { replicas: 5 })).toMatchObject({
      status: 200,
    });
    expect(await remove(other, deleted)).toMatchObject({ status: 200 });
    await everywhere([author], 'it heard', async (peer) => !(await isListed(peer, deleted)));
    for (const peer of [author, other]) await peer.kill('SIGTERM');

    const owner = createOwner();
    owner.add('author', 'own');
    owner.add('other', 'own');
    owner.add('away', 'own');
    owner.write('author', 'other', 'away');
    const first = await peers.restart('author', author);
    const second = await peers.restart('other', other, { seeds: seedOf(first) });
    const away = await peers.start('away', { seeds: seedOf(first) });
    await everywhere([first, second, away], 'as before', async (peer) => {
      const { pins: now, isCurrent } = await peer.pins();
      return isCurrent && now.length === 2;
    });
    for (const peer of [first, second, away]) {
      expect(await find(peer, kept)).toMatchObject({ author: author.peerId });
      // What another did then is its own now.
      expect(await find(peer, changed)).toMatchObject({ replicas: 5, author: other.peerId });
    }
    expect(await remove(second, kept)).toMatchObject({ status: 403 });
    expect(await remove(second, changed)).toMatchObject({ status: 200 });
  });
});

describe('pins of very many authors', () => {
  it('for the same files reach a peer in several answers', async () => {
    const owner = createOwner();
    owner.add('full', 'own');
    owner.add('empty', 'own');
    const roster = owner.write('full', 'empty');
    const authors = Array.from({ length: 100 }, () =>
      identityOf(keyPairOf(createSeed()).privateKey),
    );
    const files = ['x', 'y', 'z'].map((name) => draft(name));
    const nowMs = Date.now();
    const versions = files.flatMap((file, at) =>
      authors.map((each) => {
        const pin = nextPin({ ...file, replicas: 1 + at }, undefined, {
          nowMs,
          origin: each.peerId,
        });
        return { pin, signed: signAs(each, pin) };
      }),
    );
    await plant('full', roster, versions);
    const full = await peers.start('full');
    const empty = await peers.start('empty', { seeds: seedOf(full) });
    await everywhere([full, empty], 'all', async (peer) => (await listed(peer)).length === 3);
    await everywhere([empty], 'current', async (peer) => (await peer.pins()).isCurrent);
    await empty.kill('SIGTERM');
    await using state = openState(join(folderOf('empty'), 'discovery'));
    const counts = files.map(({ root }) => state.pins.get(root)?.versions?.length);
    expect(counts).toEqual([100, 100, 100]);
  });
});
