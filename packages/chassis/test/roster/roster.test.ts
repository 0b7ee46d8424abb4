import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { INVITE_USES_MAX, type PeerId, type SignedRecord } from '@shoal/protocol';
import {
  createSeed,
  type KeyPair,
  keyPairOf,
  proveJoin,
  readRosterFile,
  recordIdOf,
  Roster,
  saveRoster,
  signRecord,
  signText,
  watchRosterFile,
} from '../../src/index.ts';

const newPair = (): KeyPair => keyPairOf(createSeed());
const owner = newPair();
const paper = newPair();
const genesis = signRecord(
  { kind: 'genesis', recovery: paper.id, atMs: 1, nonce: 'a nonce' },
  owner,
);
const swarm = recordIdOf(genesis);
const base = { swarm, atMs: 2 };
const add = (peerId: PeerId, by = owner) =>
  signRecord({ ...base, kind: 'add', peerId, mayChange: 'own' }, by);

function rosterOf(...records: SignedRecord[]): Roster {
  const roster = new Roster();
  expect(roster.take([genesis, ...records], { mayBegin: true }).refused).toEqual([]);
  return roster;
}

describe('a roster', () => {
  it('is begun only by one who may', () => {
    const roster = new Roster();
    expect(roster.take([genesis]).refused[0]?.reason).toMatch(/no owner/);
    expect(roster.hasMember(owner.id)).toBeUndefined();
    expect(roster.take([genesis], { mayBegin: true }).added).toEqual([genesis]);
    expect(roster.isClosed).toBe(true);
    const other = signRecord(
      { kind: 'genesis', recovery: paper.id, atMs: 1, nonce: 'another' },
      owner,
    );
    expect(roster.take([other], { mayBegin: true }).refused[0]?.reason).toMatch(/another swarm/);
  });

  it('refuses what was forged, by name of the reason, and takes the rest', () => {
    const roster = rosterOf();
    const peer = newPair().id;
    const good = add(peer);
    const stranger = newPair();
    const { added, refused } = roster.take([
      { ...good, payload: good.payload.replace('own', 'any') },
      signText('pin', good.payload, owner.privateKey), // the same words, signed as something else
      add(peer, stranger),
      { payload: '{', signature: '' },
      undefined,
      { ...good, signature: 'x'.repeat(101) },
      good,
    ]);
    // Those that can't be read come first, then those without right.
    expect(refused.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/^signature/),
      expect.stringMatching(/^signature/),
      'it is not JSON',
      expect.stringMatching(/expected object/),
      expect.stringMatching(/^signature/),
      expect.stringMatching(/no right/),
    ]);
    expect(added).toEqual([good]);
    expect([...roster.view.members.keys()]).toEqual([peer]);
  });

  it('lets in by an invitation only the peer that its key signed for', () => {
    const [inviter, invite, guest, thief] = [newPair(), newPair(), newPair(), newPair()];
    const roster = rosterOf(
      add(inviter.id),
      signRecord(
        {
          ...base,
          kind: 'invite',
          key: invite.id,
          inviter: inviter.id,
          uses: INVITE_USES_MAX,
          expiresAtMs: 9,
          mayChange: 'own',
        },
        owner,
      ),
    );
    const joinOf = (peerId: PeerId, proof: string) =>
      signRecord({ ...base, kind: 'join', invite: invite.id, use: 1, peerId, proof }, inviter);
    const proof = proveJoin(swarm, guest.id, invite);
    expect(roster.take([joinOf(thief.id, proof)]).refused[0]?.reason).toMatch(/^proof/);
    expect(roster.take([joinOf(guest.id, proof)]).refused).toEqual([]);
    expect(roster.hasMember(guest.id)).toBe(true);
    expect(roster.hasMember(thief.id)).toBe(false);
  });

  it('tells of each change once, and has the same digest for the same records', () => {
    const [a, b] = [add(newPair().id), add(newPair().id)];
    const [one, two] = [rosterOf(a, b), rosterOf(b)];
    let calls = 0;
    two.onChange(() => (calls += 1));
    expect(two.digest()).not.toBe(one.digest());
    two.take([a, b]);
    two.take([a]);
    expect(calls).toBe(1);
    expect(two.digest()).toBe(one.digest());
    expect(two.records()).toEqual(one.records());
  });

  it('takes no more records than its bound, and counts none that it refused', () => {
    const recordsMax = 5;
    const roster = new Roster({ recordsMax });
    const peers = Array.from({ length: recordsMax + 1 }, () => newPair().id);
    const { added, refused } = roster.take([genesis, ...peers.map((peer) => add(peer))], {
      mayBegin: true,
    });
    expect(added).toHaveLength(recordsMax);
    expect(refused.map(({ reason }) => reason)).toEqual(
      [1, 2].map(() => 'the roster has 5 records'),
    );
    expect(new Set(roster.view.members.keys())).toEqual(new Set(peers.slice(0, recordsMax - 1)));
  });
});

describe('the roster on disk', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-roster-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is the same when it is read again, and beside nothing else', () => {
    const roster = rosterOf(add(newPair().id));
    saveRoster(folder, roster);
    expect(readRosterFile(folder).digest()).toBe(roster.digest());
    expect(readRosterFile(folder).view.swarmId).toBe(swarm);
    expect(readdirSync(folder)).toEqual(['roster.json']);
  });

  it('leaves no draft behind when it can’t be written', () => {
    // A folder that is not empty can't be replaced by a file, whatever rights the tests have.
    mkdirSync(join(folder, 'roster.json'));
    writeFileSync(join(folder, 'roster.json', 'in the way'), '');
    expect(() => saveRoster(folder, rosterOf())).toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    expect(readdirSync(folder)).toEqual(['roster.json']);
  });

  it('is refused at the start when it is no roster', () => {
    for (const text of ['{', '{}', 'null']) {
      writeFileSync(join(folder, 'roster.json'), text);
      expect(() => readRosterFile(folder)).toThrow(/is not a roster/);
    }
  });

  it('is read again when it changes; what is no roster changes nothing', async () => {
    const peer = newPair().id;
    const roster = rosterOf();
    saveRoster(folder, roster);
    const warnings: string[] = [];
    const warn = (_: unknown, text?: string) => void warnings.push(String(text));
    using watched = watchRosterFile(folder, { warn });
    roster.take([add(peer)]);
    saveRoster(folder, roster);
    await until(() => watched.roster.hasMember(peer) === true);
    writeFileSync(join(folder, 'roster.json'), '{');
    await until(() => warnings.length > 0);
    expect(watched.roster.hasMember(peer)).toBe(true);
  });
});

async function until(isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error('not within 10 s');
    await sleep(10);
  }
}
