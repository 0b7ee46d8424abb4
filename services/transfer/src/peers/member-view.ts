/** The members as transfers see them: who is asked for a block, whom it is placed on, whose copies count. */
import {
  type Log,
  type Loops,
  MemberTable,
  type PeerClient,
  type Target,
  targetAt,
} from '@shoal/chassis';
import { partitionOf } from '@shoal/blocks';
import type { Cid, Member, PeerId, Service } from '@shoal/protocol';
import { createPlacement, domainKey } from '@shoal/swarm';
import { createHash } from 'node:crypto';

export interface MemberView extends AsyncDisposable {
  readonly self: PeerId;
  /** False until the first table came. */
  isKnown(): boolean;
  get(peerId: PeerId): Member | undefined;
  /** Members that are asked: alive ones first, then suspects. Ourselves included. */
  asked(): readonly Member[];
  /** Members that blocks are placed on for a partition, best first: those neither out nor draining. */
  placement(partition: number): readonly Member[];
  /**
   * Names the set that placement works on, and whose copies count: it changes when a member comes in or
   * goes out, or fails to prove its copies.
   */
  placedSet(): string;
  /** Calls back when a member comes, goes, or changes state, until the signal fires. */
  onChange(listener: () => void, options: { signal: AbortSignal }): void;
}

/** True while this peer hands over what it holds: its own record says so, also after a restart. */
export function isDraining(view: MemberView): boolean {
  return view.get(view.self)?.draining ?? false;
}

/** Whether what a member says it holds counts: it failed no proofs, as far as this peer asked. */
export const isTrusted = ({ isDistrusted }: Member): boolean => isDistrusted !== true;

/** Others that are up and stay: what they confirm counts when this peer is gone. */
export function remainingOthers(view: MemberView): Member[] {
  return view
    .asked()
    .filter(
      (member) =>
        member.state === 'alive' && !member.isSelf && !member.draining && isTrusted(member),
    );
}

/**
 * Whose copies of a block count: the first of its order, and for one that is distrusted the next. Where
 * the block belongs, which `placement` says, stays the same: a member that is trusted again has it to hold.
 */
export function countedHolders(view: MemberView, cid: Cid, replicas: number): Member[] {
  return view.placement(partitionOf(cid)).filter(isTrusted).slice(0, replicas);
}

/**
 * Whom copies of a block can be made at now: the first of its order that can be asked, are trusted, and have not
 * failed.
 */
export function ableHolders(
  view: MemberView,
  cid: Cid,
  replicas: number,
  failed: ReadonlySet<PeerId>,
): Member[] {
  const able = new Set(view.asked().map(({ peerId }) => peerId));
  const isAble = (member: Member) =>
    able.has(member.peerId) && !failed.has(member.peerId) && isTrusted(member);
  return view.placement(partitionOf(cid)).filter(isAble).slice(0, replicas);
}

/** Where a service of a member answers: from its signed record, or our own configuration for ourselves. */
export function targetOf(
  member: Member,
  service: Service,
  client: Pick<PeerClient, 'own'>,
): Target {
  return member.isSelf ? client.own(service) : targetAt(member, service);
}

/** A short name: it is remembered with every settled file. */
function nameSet(members: readonly Member[]): string {
  const facts = members.map(
    ({ peerId, capacityBytes, domain, isDistrusted }) =>
      `${peerId}:${capacityBytes}:${domainKey(domain)}${isDistrusted === true ? ':distrusted' : ''}`,
  );
  return createHash('sha256').update(facts.join(' ')).digest('base64url');
}

/** Watches discovery's member table until it is disposed. */
export function watchMembers(deps: {
  readonly client: PeerClient;
  readonly self: PeerId;
  readonly loops: Loops;
  readonly log: Log;
  readonly onTable: (asked: number) => void;
}): MemberView {
  const table = new MemberTable(deps);
  const listeners = new Set<() => void>();
  let members: readonly Member[] = [];
  let placed = '';
  let known = '';
  let placement: (partition: number) => readonly Member[] = () => [];

  const asked = (): readonly Member[] => [
    ...members.filter(({ state }) => state === 'alive'),
    ...members.filter(({ state }) => state === 'suspect'),
  ];
  table.follow((copy) => {
    members = copy.members.toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1));
    const placeable = members.filter(({ state, draining }) => state !== 'out' && !draining);
    placed = nameSet(placeable);
    placement = createPlacement(placeable);
    deps.onTable(asked().length);
    const peerIds = asked().map(({ peerId }) => peerId);
    const now = `${peerIds.join(' ')} / ${placed}`;
    if (now === known) return; // a heartbeat: figures changed, nobody came or went
    known = now;
    for (const listener of listeners) listener();
  }, deps);

  return {
    self: deps.self,
    isKnown: () => members.length > 0,
    get: (peerId) => members.find((member) => member.peerId === peerId),
    asked,
    placement: (partition) => placement(partition),
    placedSet: () => placed,
    onChange(listener, { signal }) {
      listeners.add(listener);
      signal.addEventListener('abort', () => listeners.delete(listener), { once: true });
    },
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}
