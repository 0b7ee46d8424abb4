/**
 * The reading of a roster: a pure function of the set of its records, so that all who have the same records agree,
 * in whatever order they came. A removal wins forever. Signatures were checked before.
 *
 * Owners form a tree: each was added by one before it, or by the recovery key. Whom an owner stems from may remove it;
 * so of two that remove each other at most one has the right to.
 */
import {
  type Genesis,
  INVITES_PER_MEMBER_MAX,
  type KeyId,
  type MayChange,
  type PeerId,
  type RecordId,
  type RosterRecord,
} from '@shoal/protocol';

/** A record whose signature is that of `by`, and the proof in it that of its invitation. */
export interface CheckedRecord {
  readonly id: RecordId;
  readonly record: RosterRecord;
}

export interface Owner {
  /** An owner, or the recovery key; of the first one itself. */
  readonly addedBy: KeyId;
  readonly name: string | undefined;
  readonly sinceMs: number;
}

export interface RosterMember {
  /** An owner, or the member that let it in by an invitation. */
  readonly addedBy: KeyId;
  readonly name: string | undefined;
  readonly mayChange: MayChange;
  /** Whether it may sign invitations itself. */
  readonly mayInvite: boolean;
  readonly sinceMs: number;
}

export type Removal = Of<'remove'>;
export type Invite = Of<'invite'> & {
  /** Numbers of the uses that were taken. */
  readonly used: ReadonlySet<number>;
  readonly isClosed: boolean;
};

export interface RosterView {
  /** The swarm; undefined when it has no roster, and who knows the swarm key belongs to it. */
  readonly swarmId: RecordId | undefined;
  readonly genesis: Genesis | undefined;
  readonly owners: ReadonlyMap<KeyId, Owner>;
  readonly members: ReadonlyMap<PeerId, RosterMember>;
  readonly removed: ReadonlyMap<PeerId, Removal>;
  /** Members that were removed, as they were: changes that they had the right to stand. */
  readonly former: ReadonlyMap<PeerId, RosterMember>;
  readonly invites: ReadonlyMap<KeyId, Invite>;
  /** Keys of tokens that an owner revoked. */
  readonly revoked: ReadonlySet<KeyId>;
  /** When tokens were revoked, and owners removed: what was signed with them until then stands. */
  readonly endedAtMs: ReadonlyMap<KeyId, number>;
  /** The records that count; what is in none of these may be forgotten. */
  readonly inForce: ReadonlySet<RecordId>;
}

type Of<K extends RosterRecord['kind']> = Extract<RosterRecord, { kind: K }>;
interface Entry<K extends RosterRecord['kind'] = RosterRecord['kind']> {
  readonly id: RecordId;
  readonly record: Of<K>;
}

/** @param swarmId The genesis record that counts, of which a set has one; undefined when there is none. */
export function readRoster(
  records: readonly CheckedRecord[],
  swarmId: RecordId | undefined,
): RosterView {
  const ofSwarm = sorted(records).filter(
    ({ id, record }) => id === swarmId || (record.kind !== 'genesis' && record.swarm === swarmId),
  );
  const first = pick(ofSwarm, 'genesis')[0];
  if (first === undefined) return EMPTY;
  const owning = ownersOf(ofSwarm, first);
  const inForce = new Set<RecordId>([first.id, ...owning.inForce]);
  const byOwner = <K extends RosterRecord['kind']>(kind: K): Entry<K>[] => {
    const entries = pick(ofSwarm, kind).filter((entry) => owning.isInForce(entry));
    for (const { id } of entries) inForce.add(id);
    return entries;
  };
  const removed = new Map<PeerId, Removal>();
  for (const { record } of byOwner('remove'))
    if (!removed.has(record.peerId)) removed.set(record.peerId, record);
  const adds = byOwner('add');
  const mayInvite = new Set(
    adds.filter(({ record }) => record.mayInvite === true).map(({ record }) => record.peerId),
  );
  const byMember = invitesByMembers(pick(ofSwarm, 'invite'), mayInvite, removed);
  for (const { id } of byMember) inForce.add(id);
  const invites = invitesOf([...byOwner('invite'), ...byMember], byOwner('close-invite'));
  const joined = joinsOf(pick(ofSwarm, 'join'), invites, removed);
  for (const { id } of joined) inForce.add(id);
  const names = new Map<PeerId, Of<'name'>>();
  for (const { record } of byOwner('name')) {
    const known = names.get(record.peerId);
    if (known === undefined || record.atMs >= known.atMs) names.set(record.peerId, record);
  }
  const members = new Map<PeerId, RosterMember>();
  const former = new Map<PeerId, RosterMember>();
  const admit = (peerId: PeerId, member: RosterMember): void => {
    const among = removed.has(peerId) ? former : members;
    const known = among.get(peerId);
    // A peer that was added twice has the rights of both.
    const mayChange = known?.mayChange === 'any' ? 'any' : member.mayChange;
    const name = names.get(peerId)?.name ?? known?.name ?? member.name;
    const of = { name, mayChange, mayInvite: mayInvite.has(peerId) };
    among.set(peerId, { ...(known ?? member), ...of });
  };
  for (const { record } of adds)
    admit(record.peerId, memberOf(record, record.name, record.mayChange));
  for (const { record } of joined) {
    const mayChange = invites.get(record.invite)?.mayChange ?? 'own';
    admit(record.peerId, memberOf(record, record.name, mayChange));
  }
  const revoked = new Set(byOwner('revoke').map(({ record }) => record.token));
  return {
    swarmId,
    genesis: first.record,
    owners: owning.owners,
    members,
    removed,
    former,
    invites,
    revoked,
    endedAtMs: earliest([...owning.removals, ...byOwner('revoke')]),
    inForce,
  };
}

/** By each key, the first of these records about it. */
function earliest(entries: readonly (Entry<'remove-owner'> | Entry<'revoke'>)[]) {
  const ended = new Map<KeyId, number>();
  for (const { record } of entries) {
    const key = record.kind === 'revoke' ? record.token : record.key;
    ended.set(key, Math.min(record.atMs, ended.get(key) ?? Infinity));
  }
  return ended;
}

/**
 * Whether a token may no longer be used.
 * @param keys Its own and those of the tokens that it comes from.
 */
export const isRevoked = (view: Pick<RosterView, 'revoked'>, keys: readonly KeyId[]): boolean =>
  keys.some((key) => view.revoked.has(key));

const EMPTY: RosterView = {
  swarmId: undefined,
  genesis: undefined,
  owners: new Map(),
  members: new Map(),
  removed: new Map(),
  former: new Map(),
  invites: new Map(),
  revoked: new Set(),
  endedAtMs: new Map(),
  inForce: new Set(),
};

/** In an order that is the same everywhere. */
function sorted(records: readonly CheckedRecord[]): CheckedRecord[] {
  const byId = new Map(records.map((each) => [each.id, each]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

const pick = <K extends RosterRecord['kind']>(
  records: readonly CheckedRecord[],
  kind: K,
): Entry<K>[] => records.filter((each): each is Entry<K> => each.record.kind === kind);

const memberOf = (
  { by, atMs }: { readonly by: KeyId; readonly atMs: number },
  name: string | undefined,
  mayChange: MayChange,
): RosterMember => ({ addedBy: by, name, mayChange, mayInvite: false, sinceMs: atMs });

/** Owners from the first one down, each after all that it stems from. */
function ownersOf(records: readonly CheckedRecord[], { record: genesis }: Entry<'genesis'>) {
  const additions = pick(records, 'add-owner');
  const removals = pick(records, 'remove-owner');
  const counting: Entry<'remove-owner'>[] = [];
  const inForce: RecordId[] = [];
  const owners = new Map<KeyId, Owner>();
  /** Whom each key stems from, the nearest first; of those that are no owners any more too. */
  const origins = new Map<KeyId, readonly KeyId[]>([[genesis.recovery, []]]);
  /** Of keys that were removed: the records of theirs that stand. */
  const standing = new Map<KeyId, ReadonlySet<RecordId>>();
  const isInForce = ({ id, record }: CheckedRecord): boolean =>
    record.by === genesis.recovery ||
    (origins.has(record.by) &&
      (owners.has(record.by) || standing.get(record.by)?.has(id) === true));
  const enter = (key: KeyId, owner: Owner): void => {
    origins.set(key, [owner.addedBy, ...(origins.get(owner.addedBy) ?? [])]);
    const against = removals.filter(
      (entry) =>
        entry.record.key === key &&
        isInForce(entry) &&
        (entry.record.by === genesis.recovery || origins.get(key)?.includes(entry.record.by)),
    );
    if (against.length === 0) owners.set(key, owner);
    counting.push(...against);
    for (const { id, record } of against) {
      inForce.push(id);
      const before = standing.get(key);
      const stands = record.stands.filter((each) => before === undefined || before.has(each));
      standing.set(key, new Set(stands));
    }
  };
  enter(genesis.by, { addedBy: genesis.recovery, name: undefined, sinceMs: genesis.atMs });
  for (let row: KeyId[] = [genesis.recovery, genesis.by]; row.length > 0;) {
    const next: KeyId[] = [];
    for (const entry of additions) {
      const { by, key, name, atMs } = entry.record;
      if (!row.includes(by) || !isInForce(entry)) continue;
      inForce.push(entry.id);
      if (origins.has(key)) continue;
      enter(key, { addedBy: by, name, sinceMs: atMs });
      next.push(key);
    }
    row = next;
  }
  return {
    owners,
    inForce,
    /** Those of keys that were owners. */
    removals: counting,
    /** Whether its signer had the right to sign it as an owner. */
    isInForce,
  };
}

/** Those that a member signed for itself; when it is removed, of those that a removal lets stand the joins need them. */
function invitesByMembers(
  invites: readonly Entry<'invite'>[],
  mayInvite: ReadonlySet<PeerId>,
  removed: ReadonlyMap<PeerId, Removal>,
): Entry<'invite'>[] {
  const counts = new Map<KeyId, number>();
  return invites.filter(({ id, record: { by, inviter } }) => {
    if (by !== inviter || !mayInvite.has(by)) return false;
    const removal = removed.get(by);
    if (removal !== undefined && !removal.stands.includes(id)) return false;
    const count = (counts.get(by) ?? 0) + 1;
    counts.set(by, count);
    return count <= INVITES_PER_MEMBER_MAX;
  });
}

function invitesOf(invites: Entry<'invite'>[], closings: Entry<'close-invite'>[]) {
  const closed = new Set(closings.map(({ record }) => record.key));
  const all = new Map<KeyId, Invite & { used: Set<number> }>();
  for (const { record } of invites)
    if (!all.has(record.key))
      all.set(record.key, { ...record, used: new Set(), isClosed: closed.has(record.key) });
  return all;
}

/** The joins that count: one for each use of an invitation, countersigned by its inviter. */
function joinsOf(
  joins: readonly Entry<'join'>[],
  invites: ReadonlyMap<KeyId, Invite & { used: Set<number> }>,
  removed: ReadonlyMap<PeerId, Removal>,
): Entry<'join'>[] {
  return joins.filter(({ id, record: { invite: key, by, use } }) => {
    const invite = invites.get(key);
    if (invite?.inviter !== by || use > invite.uses || invite.used.has(use)) return false;
    const removal = removed.get(by);
    if (removal !== undefined && !removal.stands.includes(id)) return false;
    invite.used.add(use);
    return true;
  });
}
