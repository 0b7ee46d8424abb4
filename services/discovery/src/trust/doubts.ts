/**
 * Blocks that members failed to prove, or denied although they claim them. They are asked for again, until
 * they are proved, or no longer claimed.
 */
import { RecentMap } from '@shoal/chassis';
import type { BlockPlace, Cid, PeerId } from '@shoal/protocol';

/**
 * Blocks in doubt that are remembered, over all members. Past it: the oldest is forgotten; its file is
 * sampled in turn.
 */
const DOUBTS_MAX = 1024;
/** Denials of a block that is still claimed. Past it: it counts as failed. */
const DENIALS_MAX = 3;
/** Denied blocks without a verdict yet, which come first when a member is asked again. */
const UNDECIDED_FIRST = 4;

interface Doubt {
  readonly peerId: PeerId;
  readonly place: BlockPlace;
  /** How often it was denied; 0 when a wrong proof was given. */
  readonly denials: number;
}

export class Doubts {
  readonly #doubts = new RecentMap<string, Doubt>({ max: DOUBTS_MAX });

  /** A wrong proof was given. */
  noteFailure(peerId: PeerId, place: BlockPlace): void {
    this.#doubts.set(keyOf(peerId, place), { peerId, place, denials: 0 });
  }

  /** "I don't have it" was the answer; returns whether that was said often enough to count as a failure. */
  noteDenial(peerId: PeerId, place: BlockPlace): boolean {
    const key = keyOf(peerId, place);
    const denials = (this.#doubts.peek(key)?.denials ?? 0) + 1;
    this.#doubts.set(key, { peerId, place, denials });
    return denials >= DENIALS_MAX;
  }

  /** Ends the doubt about a block; returns whether there was one. */
  end(peerId: PeerId, place: BlockPlace): boolean {
    return this.#doubts.delete(keyOf(peerId, place));
  }

  /**
   * Blocks of a member, in the order to ask for them again. Denied ones nearest to a verdict are first:
   * left to the order of the questions, a verdict would be a matter of chance.
   */
  of(peerId: PeerId): BlockPlace[] {
    const own = [...this.#doubts.entries()]
      .map(([, doubt]) => doubt)
      .filter((doubt) => doubt.peerId === peerId);
    const undecided = own
      .filter(({ denials }) => denials > 0 && denials < DENIALS_MAX)
      .toSorted((one, other) => other.denials - one.denials)
      .slice(0, UNDECIDED_FIRST);
    return [...new Set([...undecided, ...own])].map(({ place }) => place);
  }

  /** Files of which blocks are in doubt, the oldest doubt first: of this member, or of all. */
  roots(peerId?: PeerId): Set<Cid> {
    const roots = new Set<Cid>();
    for (const [, doubt] of this.#doubts)
      if (peerId === undefined || doubt.peerId === peerId) roots.add(doubt.place.root);
    return roots;
  }
}

const keyOf = (peerId: PeerId, { root, index }: BlockPlace) => `${peerId} ${root} ${index}`;
