/** Parts of a swarm on paper, for unit tests: members that are only a list, calls that are only functions. */
import { createBits, encodeBits, setBit } from '@shoal/blocks';
import type { PeerClient, Target } from '@shoal/chassis';
import type { Cid, HaveMap, Member, PeerId, Pin } from '@shoal/protocol';
import { createPlacement } from '@shoal/swarm';
import type { MemberView } from '../src/peers/member-view.ts';

export const peerOf = (index: number) => `peer-${index}` as PeerId; // nothing here parses it

export interface PaperMember {
  readonly state?: Member['state'];
  readonly draining?: boolean;
}

/** A member view whose table a test changes as it goes; peer 0 is ourselves. */
export function paperView(first: readonly PaperMember[]) {
  const listeners = new Set<() => void>();
  let members: Member[] = [];
  const take = (table: readonly PaperMember[]): void => {
    members = table.map(
      ({ state = 'alive', draining = false }, index) =>
        ({
          peerId: peerOf(index),
          capacityBytes: 1,
          domain: { host: `h${index}`, disk: '1' },
          http: {
            gateway: `http://${peerOf(index)}`,
            storage: peerOf(index),
            transfer: peerOf(index),
          },
          isSelf: index === 0,
          state,
          draining,
        }) as unknown as Member, // the parts of a member that this service reads
    );
  };
  take(first);
  const placeable = () => members.filter((member) => member.state !== 'out' && !member.draining);
  const view: MemberView = {
    self: peerOf(0),
    isKnown: () => true,
    get: (peerId) => members.find((member) => member.peerId === peerId),
    asked: () => members.filter(({ state }) => state === 'alive' || state === 'suspect'),
    placement: (partition) => createPlacement(placeable())(partition),
    placedSet: () =>
      placeable()
        .map(({ peerId }) => peerId)
        .join(' '),
    onChange: (listener, { signal }) => {
      listeners.add(listener);
      signal.addEventListener('abort', () => listeners.delete(listener));
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  return {
    view,
    change(table: readonly PaperMember[]) {
      take(table);
      for (const listener of listeners) listener();
    },
  };
}

export interface PaperCall {
  readonly params: Record<string, string>;
  readonly query: Record<string, string | number>;
  readonly body: Record<string, unknown> & { readonly cids: Cid[]; readonly roots: Cid[] };
  /** Who is called: `own` for a service of ourselves. */
  readonly to: string;
  /** Rejects when the caller leaves; pending before. */
  readonly gone: Promise<never>;
}

/** Answers the calls of one route. */
export type PaperHandler = readonly [route: unknown, handle: (call: PaperCall) => unknown];

/** A client whose calls are answered by the handler of their route. */
export function paperClient(all: readonly PaperHandler[]): PeerClient {
  const handlers = new Map(all);
  const answer = async (target: Target, route: unknown, args: object, signal: AbortSignal) => {
    signal.throwIfAborted();
    const handle = handlers.get(route);
    if (handle === undefined) throw new Error('a call that the test does not know');
    const gone = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
    gone.catch(() => undefined); // most handlers do not wait for it
    const given = args as Omit<PaperCall, 'to' | 'gone'>; // as the route has it
    const reply = await handle({ ...given, to: target.origin, gone });
    signal.throwIfAborted();
    return reply;
  };
  return {
    own: () => ({ peerId: peerOf(0), origin: 'own' }),
    call: ((target, route, args, { signal }) =>
      answer(target, route, args, signal)) as PeerClient['call'],
    send: ((target, route, args, { signal }) =>
      answer(target, route, args, signal)) as PeerClient['send'],
    receive: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Bits for a list of CIDs, as the storage's answers carry them. */
export function bitsFor<T>(list: readonly T[], has: (item: T) => boolean): { bits: string } {
  const bits = createBits(list.length);
  list.forEach((item, index) => has(item) && setBit(bits, index));
  return { bits: encodeBits(bits) };
}

export const cidOf = (name: string) => name as Cid; // nothing here parses it

export function pinOf(name: string, fields: Partial<Pin> = {}): Pin {
  const pin = { root: cidOf(name), name, replicas: 3, sizeBytes: 1, blocks: 3, epoch: 1, clock: 1 };
  return { ...pin, ...fields } as Pin; // the parts of a pin that this service reads
}

/** A have-map of a file with three blocks: a node and two leaves. */
export function haveMapOf(root: Cid, held: readonly number[], blocks = 3): HaveMap {
  const { bits } = bitsFor(
    Array.from({ length: blocks }, (_, index) => index),
    (index) => held.includes(index),
  );
  return { root, blocks, bits };
}
