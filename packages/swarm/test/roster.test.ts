import { describe, expect, it } from '@jest/globals';
import {
  INVITES_PER_MEMBER_MAX,
  type KeyId,
  type RecordId,
  type RosterRecord,
} from '@shoal/protocol';
import * as fc from 'fast-check';
import {
  type CheckedRecord,
  isRevoked as isTokenRevoked,
  readRoster as read,
} from '../src/roster.ts';

const SWARM = 'genesis';
/** Ids are words here, so that a failure can be read. */
const readRoster = (records: readonly CheckedRecord[], swarm: string) =>
  read(records, swarm as RecordId);
const isRevoked = (view: ReturnType<typeof read>, ...keys: string[]) =>
  isTokenRevoked(view, keys as KeyId[]);

type Content = Readonly<Record<string, unknown>> & { readonly kind: RosterRecord['kind'] };

const signed = (id: string, content: Content): CheckedRecord => ({
  id: id as RecordId,
  record: { v: 1, swarm: SWARM, atMs: 1, ...content } as unknown as RosterRecord,
});
const genesis: CheckedRecord = {
  id: SWARM as RecordId,
  record: {
    v: 1,
    kind: 'genesis',
    by: 'first',
    recovery: 'paper',
    atMs: 0,
    nonce: 'n',
  } as RosterRecord,
};
const addOwner = (by: string, key: string) =>
  signed(`${by} adds owner ${key}`, { kind: 'add-owner', by, key, name: key });
const removeOwner = (by: string, key: string, stands: string[] = []) =>
  signed(`${by} removes owner ${key}`, { kind: 'remove-owner', by, key, stands });
const add = (by: string, peerId: string, mayInvite = false) =>
  signed(`${by} adds ${peerId}`, { kind: 'add', by, peerId, mayChange: 'own', mayInvite });
const remove = (by: string, peerId: string, stands: string[] = []) =>
  signed(`${by} removes ${peerId}`, {
    kind: 'remove',
    by,
    peerId,
    pinsUntil: 5,
    dropsPins: false,
    stands,
  });
const invite = (by: string, key: string, inviter: string, uses = 1) =>
  signed(`${by} invites by ${key}`, {
    kind: 'invite',
    by,
    key,
    inviter,
    uses,
    expiresAtMs: 9,
    mayChange: 'own',
  });
const join = (by: string, key: string, peerId: string, use = 1) =>
  signed(`${peerId} joins by ${key}`, { kind: 'join', by, invite: key, use, peerId, proof: '' });

const membersOf = (records: readonly CheckedRecord[]) =>
  [...readRoster([genesis, ...records], SWARM).members.keys()].sort();
const ownersOf = (records: readonly CheckedRecord[]) =>
  [...readRoster([genesis, ...records], SWARM).owners.keys()].sort();

describe('members', () => {
  it('are those that an owner added, and no others', () => {
    expect(membersOf([add('first', 'a'), add('stranger', 'b'), add('a', 'c')])).toEqual(['a']);
  });

  it('stay removed, whenever they were added', () => {
    const again = signed('later', {
      kind: 'add',
      by: 'first',
      peerId: 'a',
      mayChange: 'any',
      atMs: 99,
    });
    expect(membersOf([add('first', 'a'), remove('first', 'a'), again])).toEqual([]);
  });

  it('that were removed are known for what they were', () => {
    const any = signed('first adds a', { kind: 'add', by: 'first', peerId: 'a', mayChange: 'any' });
    const view = readRoster([genesis, any, add('first', 'b'), remove('first', 'a')], SWARM);
    expect([...view.former]).toMatchObject([['a', { mayChange: 'any', addedBy: 'first' }]]);
    expect([...view.members.keys()]).toEqual(['b']);
    // One that nobody had added was nothing.
    expect(readRoster([genesis, remove('first', 'c')], SWARM).former.size).toBe(0);
  });

  it('and owners that were removed, and tokens that were revoked, are known with the time of it', () => {
    const revoke = (by: string, atMs: number) =>
      signed(`${by} revokes at ${atMs}`, { kind: 'revoke', by, token: 'token', atMs });
    const view = readRoster(
      [
        genesis,
        addOwner('first', 'second'),
        removeOwner('first', 'second'),
        removeOwner('second', 'first'),
        revoke('first', 7),
        revoke('first', 5),
        revoke('second', 3),
      ],
      SWARM,
    );
    expect([...view.endedAtMs]).toEqual([
      ['second', 1],
      ['token', 5],
    ]);
  });

  it('are none without a genesis record, or with that of another swarm', () => {
    expect(readRoster([add('first', 'a')], SWARM).members.size).toBe(0);
    expect(readRoster([genesis, add('first', 'a')], 'other').swarmId).toBeUndefined();
  });

  it('are not removed by a member, nor by an owner that was removed', () => {
    const others = [add('first', 'a'), add('first', 'b'), addOwner('first', 'second')];
    expect(membersOf([...others, remove('a', 'b')])).toEqual(['a', 'b']);
    expect(membersOf([...others, remove('second', 'b'), removeOwner('first', 'second')])).toEqual([
      'a',
      'b',
    ]);
  });
});

describe('invitations', () => {
  const base = [add('first', 'a'), invite('first', 'code', 'a')];

  it('let in as many as they have uses', () => {
    expect(membersOf([...base, join('a', 'code', 'x')])).toEqual(['a', 'x']);
    expect(membersOf([...base, join('a', 'code', 'x'), join('a', 'code', 'y')])).toHaveLength(2);
    expect(membersOf([...base, join('a', 'code', 'x', 2)])).toEqual(['a']);
  });

  it('count only where they were countersigned by their inviter', () => {
    expect(membersOf([...base, add('first', 'b'), join('b', 'code', 'x')])).toEqual(['a', 'b']);
  });

  it('of an inviter that was removed let in only those that stand', () => {
    const joined = join('a', 'code', 'x');
    expect(membersOf([...base, joined, remove('first', 'a')])).toEqual([]);
    expect(membersOf([...base, joined, remove('first', 'a', [joined.id])])).toEqual(['x']);
  });
});

describe('invitations by a member', () => {
  const byMember = invite('a', 'code', 'a');

  it('count where an owner let it invite, for itself alone', () => {
    const joined = join('a', 'code', 'x');
    expect(membersOf([add('first', 'a', true), byMember, joined])).toEqual(['a', 'x']);
    expect(membersOf([add('first', 'a'), byMember, joined])).toEqual(['a']);
    const forOther = [invite('a', 'code', 'b'), join('b', 'code', 'x')];
    expect(membersOf([add('first', 'a', true), add('first', 'b'), ...forOther])).toEqual([
      'a',
      'b',
    ]);
  });

  it('fall with it, but for those that stand', () => {
    const records = [add('first', 'a', true), byMember, join('a', 'code', 'x')];
    expect(membersOf([...records, remove('first', 'a')])).toEqual([]);
    const stands = ['a invites by code', 'x joins by code'];
    expect(membersOf([...records, remove('first', 'a', stands)])).toEqual(['x']);
  });

  it('are bounded in number', () => {
    const many = Array.from({ length: INVITES_PER_MEMBER_MAX + 1 }, (_, at) =>
      invite('a', `code ${at}`, 'a'),
    );
    const view = readRoster([genesis, add('first', 'a', true), ...many], SWARM);
    expect(view.invites.size).toBe(INVITES_PER_MEMBER_MAX);
  });
});

describe('owners', () => {
  it('are removed by those that they stem from, and by the recovery key, alone', () => {
    const two = [addOwner('first', 'second')];
    expect(ownersOf([...two, removeOwner('first', 'second')])).toEqual(['first']);
    expect(ownersOf([...two, removeOwner('second', 'first')])).toEqual(['first', 'second']);
    expect(ownersOf([...two, removeOwner('paper', 'first')])).toEqual([]);
    expect(ownersOf([addOwner('paper', 'second'), removeOwner('paper', 'first')])).toEqual([
      'second',
    ]);
  });

  it('that remove each other leave the one that the other stems from', () => {
    expect(
      ownersOf([
        addOwner('first', 'second'),
        removeOwner('second', 'first'),
        removeOwner('first', 'second'),
      ]),
    ).toEqual(['first']);
  });

  it('that were removed leave behind what stands', () => {
    const both = [addOwner('first', 'second'), add('second', 'a'), add('second', 'b')];
    expect(membersOf([...both, removeOwner('first', 'second', ['second adds a'])])).toEqual(['a']);
  });
});

describe('tokens', () => {
  const revoke = (by: string) => signed(`${by} revokes`, { kind: 'revoke', by, token: 'token' });

  it('are revoked by an owner alone, with all that they granted', () => {
    const view = readRoster([genesis, add('first', 'a'), revoke('first'), revoke('a')], SWARM);
    expect(isRevoked(view, 'token')).toBe(true);
    expect(isRevoked(view, 'granted', 'token')).toBe(true);
    expect(isRevoked(view, 'other')).toBe(false);
    expect(view.inForce).not.toContain('a revokes');
    expect(isRevoked(readRoster([genesis, revoke('stranger')], SWARM), 'token')).toBe(false);
  });
});

it('does not depend on the order in which records came', () => {
  const records = [
    addOwner('first', 'second'),
    addOwner('second', 'third'),
    addOwner('third', 'first'),
    removeOwner('third', 'second'),
    removeOwner('second', 'third', ['third adds c']),
    add('first', 'a'),
    add('second', 'b'),
    add('third', 'c'),
    add('third', 'd'),
    invite('first', 'code', 'a', 2),
    join('a', 'code', 'x'),
    join('a', 'code', 'y'),
    join('a', 'code', 'z', 2),
    remove('second', 'a', ['x joins by code']),
  ];
  fc.assert(
    fc.property(fc.shuffledSubarray(records), (some) => {
      const inOrder = records.filter((each) => some.includes(each));
      expect(readRoster([...some, genesis], SWARM)).toEqual(
        readRoster([genesis, ...inOrder], SWARM),
      );
    }),
  );
});
