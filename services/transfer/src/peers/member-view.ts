/**
 * The member table as this process sees it: a copy of discovery's, kept current by long polls, so
 * that choosing a provider never waits for another process. While discovery is away the last table
 * stays in force: transfers go on.
 */
import { type Log, type Loops, type PeerClient, type Target } from '@shoal/chassis';
import { partitionOf } from '@shoal/blocks';
import { type Cid, discoveryRoutes, type Member, type PeerId, type Service } from '@shoal/protocol';
import { createPlacement, domainKey } from '@shoal/swarm';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long discovery may hold an unchanged table back. */
const POLL_WAIT_MS = 10_000;
/** Pause after a failed poll: discovery restarts within about a second. */
const RETRY_DELAY_MS = 200;

export interface MemberView extends AsyncDisposable {
  readonly self: PeerId;
  /** False until the first table came. */
  isKnown(): boolean;
  get(peerId: PeerId): Member | undefined;
  /** Members that are asked: alive ones first, then suspects. Ourselves included. */
  asked(): readonly Member[];
  /** Members that blocks are placed on for a partition, best first: who is neither out nor draining. */
  placement(partition: number): readonly Member[];
  /**
   * Names the set that placement works on, and whose copies count: it changes when a member comes in or
   * goes out, or fails to prove its copies.
   */
  placedSet(): string;
  /** Calls back when somebody comes, goes, or changes state, until the signal fires. */
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
 * the block belongs, which `placement` says, is not changed by that: who is trusted again has it to hold.
 */
export function countedHolders(view: MemberView, cid: Cid, replicas: number): Member[] {
  return view.placement(partitionOf(cid)).filter(isTrusted).slice(0, replicas);
}

/** Where a service of a member answers: from its signed record, or our own configuration for ourselves. */
export function targetOf(member: Member, service: Service, client: PeerClient): Target {
  return member.isSelf
    ? client.own(service)
    : { peerId: member.peerId, origin: member.http[service] };
}

/** A short name: it is remembered with every settled file. */
function nameSet(members: readonly Member[]): string {
  const facts = members.map(
    ({ peerId, capacityBytes, domain, isDistrusted }) =>
      `${peerId}:${capacityBytes}:${domainKey(domain)}${isDistrusted === true ? ':distrusted' : ''}`,
  );
  return createHash('sha256').update(facts.join(' ')).digest('base64url');
}

export function watchMembers(deps: {
  readonly client: PeerClient;
  readonly self: PeerId;
  readonly loops: Loops;
  readonly log: Log;
  readonly onTable: (asked: number) => void;
}): MemberView {
  const stop = new AbortController();
  const { signal } = stop;
  const listeners = new Set<() => void>();
  let members: readonly Member[] = [];
  let version = -1;
  let placed = '';
  let known = '';
  let placement: (partition: number) => readonly Member[] = () => [];

  const take = (table: readonly Member[]): void => {
    members = table.toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1));
    const placeable = members.filter(({ state, draining }) => state !== 'out' && !draining);
    placed = nameSet(placeable);
    placement = createPlacement(placeable);
    deps.onTable(asked().length);
    const who = `${asked()
      .map(({ peerId }) => peerId)
      .join(' ')} / ${placed}`;
    if (who === known) return; // a heartbeat: figures changed, nobody came or went
    known = who;
    for (const listener of listeners) listener();
  };
  const asked = (): readonly Member[] => [
    ...members.filter(({ state }) => state === 'alive'),
    ...members.filter(({ state }) => state === 'suspect'),
  ];
  const follow = async (): Promise<void> => {
    const polls = deps.loops.track('members', () => POLL_WAIT_MS);
    while (!signal.aborted) {
      try {
        const query = { after: version, waitMs: POLL_WAIT_MS };
        const reply = await polls.run(() =>
          deps.client.call(
            deps.client.own('discovery'),
            discoveryRoutes.members,
            { query },
            { signal, timeoutMs: POLL_WAIT_MS + 5000 },
          ),
        );
        // A restarted discovery counts anew: any other version is news.
        if (reply.version !== version) take(reply.members);
        version = reply.version;
      } catch (err) {
        if (signal.aborted) return;
        deps.log.debug({ err }, 'member table not refreshed');
        version = -1;
        await sleep(RETRY_DELAY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  };
  const following = follow();

  return {
    self: deps.self,
    isKnown: () => members.length > 0,
    get: (peerId) => members.find((member) => member.peerId === peerId),
    asked,
    placement: (partition) => placement(partition),
    placedSet: () => placed,
    onChange(listener, options) {
      listeners.add(listener);
      options.signal.addEventListener('abort', () => listeners.delete(listener), { once: true });
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await following;
    },
  };
}
