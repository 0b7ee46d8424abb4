/**
 * Which peers we compared all pins with since the connection to them opened, and so whether we know all
 * pins. Sweep must see every pin, so a peer that was away, or lost its state, has to know that it does not
 * know all of them yet.
 */
import assert from 'node:assert';
import type { Member, PeerId } from '@shoal/protocol';
import { FULL_MESH_MAX } from '../members/membership.ts';
import type { Wire } from '../network/wire.ts';

type Other = Pick<Member, 'peerId' | 'state' | 'leaving' | 'draining'>;

export class Compared {
  readonly #deps: {
    readonly wire: Pick<Wire, 'isConnected' | 'on'>;
    readonly others: () => readonly Other[];
    readonly isClockUsable: () => boolean;
    readonly mayBeMore: () => boolean;
  };
  readonly #peers = new Set<PeerId>();
  #round = 0;

  constructor(deps: {
    readonly wire: Pick<Wire, 'isConnected' | 'on'>;
    /** All members but ourselves. */
    readonly others: () => readonly Other[];
    /** False while this peer's clock is wrong: it then refuses pins that are right. */
    readonly isClockUsable: () => boolean;
    /** Whether there may be members that we have not heard of. */
    readonly mayBeMore: () => boolean;
  }) {
    this.#deps = deps;
    deps.wire.on('disconnected', (peerId) => this.#peers.delete(peerId));
  }

  /** Whether the pins of all members that are up are known here. */
  isCurrent(): boolean {
    const { wire, others, isClockUsable, mayBeMore } = this.#deps;
    return (
      isClockUsable() &&
      knowsAll(others(), {
        isCompared: (peerId) => this.has(peerId),
        isConnected: (peerId) => wire.isConnected(peerId),
        mayBeMore: mayBeMore(),
      })
    );
  }

  has(peerId: PeerId): boolean {
    return this.#peers.has(peerId);
  }

  /** A comparison that begins now passes this to `note` when it ends. */
  round(): number {
    return this.#round;
  }

  /** A comparison with this peer succeeded; one of an earlier round does not count. */
  note(peerId: PeerId, round = this.#round): void {
    assert(round <= this.#round, 'rounds are counted up');
    if (round === this.#round) this.#peers.add(peerId);
  }

  /** A pin could not be stored: all peers must be compared with again. */
  startOver(): void {
    this.#round += 1;
    this.#peers.clear();
  }
}

/** Whether a peer that compared its pins with these members knows all pins of the swarm. */
export function knowsAll(
  others: readonly Other[],
  {
    isCompared,
    isConnected,
    mayBeMore,
  }: {
    readonly isCompared: (peerId: PeerId) => boolean;
    readonly isConnected: (peerId: PeerId) => boolean;
    readonly mayBeMore: boolean;
  },
): boolean {
  if (others.length === 0) return !mayBeMore;
  // A member that drained and left for good is not waited for, or the last peer would wait forever.
  const staying = others.filter(({ state, leaving, draining }) => {
    const isGone = state === 'out' && leaving && draining;
    return !isGone;
  });
  if (staying.length === 0) return true;
  const up = staying.filter(({ state }) => state === 'alive' || state === 'suspect');
  // In a swarm too large for a full mesh, our neighbours pass on what the others know.
  const near = others.length <= FULL_MESH_MAX ? up : up.filter(({ peerId }) => isConnected(peerId));
  return (
    near.some(({ state }) => state === 'alive') && near.every(({ peerId }) => isCompared(peerId))
  );
}
