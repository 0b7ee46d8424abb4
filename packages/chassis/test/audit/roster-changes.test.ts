/** The events of a roster, from records that owners signed. */
import { expect, it } from '@jest/globals';
import {
  type AuditNote,
  auditRoster,
  createSeed,
  type KeyPair,
  keyPairOf,
  recordIdOf,
  Roster,
  signRecord,
} from '../../src/index.ts';

const newPair = (): KeyPair => keyPairOf(createSeed());
const owner = newPair();
const second = newPair();
const invitation = newPair();
const token = newPair();
const member = newPair();
const guest = newPair();

it('tells each change once, with what it is about and who did it', () => {
  const roster = new Roster();
  const told: AuditNote[] = [];
  auditRoster(roster, {
    note: (note) => void told.push(note),
    page: () => ({ events: [], next: 0 }),
    [Symbol.dispose]: () => {},
  });
  const genesis = signRecord(
    { kind: 'genesis', recovery: newPair().id, atMs: 1, nonce: 'a nonce' },
    owner,
  );
  const base = { swarm: recordIdOf(genesis), atMs: 2 };
  const by = owner.id;
  /** What is told of a record, twice the same as once. */
  const toldOf = (content: Parameters<typeof signRecord>[0]): AuditNote[] => {
    const record = content.kind === 'genesis' ? genesis : signRecord(content, owner);
    told.length = 0;
    for (let times = 0; times < 2; times += 1)
      expect(roster.take([record], { mayBegin: true }).refused).toEqual([]);
    return told.map((note) =>
      Object.fromEntries(Object.entries(note).filter(([, value]) => value !== undefined)),
    ) as unknown as AuditNote[]; // what is absent is not compared
  };

  expect(toldOf({ kind: 'genesis', recovery: second.id, atMs: 1, nonce: '' })).toEqual([
    { kind: 'swarm-closed', subject: base.swarm },
    { kind: 'owner-added', subject: owner.id },
  ]);
  expect(toldOf({ ...base, kind: 'add-owner', key: second.id, name: 'Ada' })).toEqual([
    { kind: 'owner-added', subject: second.id, name: 'Ada' },
  ]);
  expect(
    toldOf({ ...base, kind: 'add', peerId: member.id, name: 'nas', mayChange: 'own' }),
  ).toEqual([{ kind: 'member-added', subject: member.id, name: 'nas', by }]);
  expect(toldOf({ ...base, kind: 'name', peerId: member.id, name: 'cellar' })).toEqual([
    { kind: 'member-renamed', subject: member.id, name: 'cellar' },
  ]);
  expect(
    toldOf({
      ...base,
      kind: 'invite',
      key: invitation.id,
      inviter: member.id,
      uses: 1,
      expiresAtMs: 9,
      mayChange: 'own',
    }),
  ).toEqual([{ kind: 'invite-made', subject: invitation.id, by }]);
  expect(toldOf({ ...base, kind: 'close-invite', key: invitation.id })).toEqual([
    { kind: 'invite-closed', subject: invitation.id },
  ]);
  expect(toldOf({ ...base, kind: 'revoke', token: token.id })).toEqual([
    { kind: 'token-revoked', subject: token.id },
  ]);
  const removal = { kind: 'remove' as const, pinsUntil: 5, dropsPins: false, stands: [] };
  expect(toldOf({ ...base, ...removal, peerId: member.id, reason: 'stolen' })).toEqual([
    { kind: 'member-removed', subject: member.id, name: 'cellar', by, detail: 'stolen' },
  ]);
  expect(toldOf({ ...base, ...removal, peerId: guest.id })).toEqual([
    { kind: 'member-removed', subject: guest.id, by },
  ]);
  expect(toldOf({ ...base, kind: 'remove-owner', key: second.id, stands: [] })).toEqual([
    { kind: 'owner-removed', subject: second.id, name: 'Ada' },
  ]);
});
