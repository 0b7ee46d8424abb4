/**
 * Samples of what members say they hold. In each round they are asked to prove a few blocks that we hold
 * as well, of files that come in turn, so that a member which throws away what it took is found out
 * before a reader relies on it. Blocks that it failed are asked for again first.
 */
import type { Log, Loops, PeerClient } from '@shoal/chassis';
import type { BlockPlace, Cid, Member, PeerId, Pin } from '@shoal/protocol';
import type { Holders } from '../holders/holders.ts';
import type { Refresh } from '../holders/refresh.ts';
import { shuffle } from '../members/shuffle.ts';
import type { Metrics } from '../metrics.ts';
import { ClaimedBlocks } from './claimed-blocks.ts';
import { Judge } from './judge.ts';
import type { Opinions } from './opinions.ts';
import { ProofClient } from './proof-client.ts';

/** Files in a round of proofs, besides those in doubt. Past it: the others in the next rounds. */
const ROOTS_MAX = 16;
/**
 * Members asked in a round of proofs, one after the other; with more of them rounds are rarer as well. Past it: the
 * others in the next rounds.
 */
const MEMBERS_PER_ROUND = 8;
/**
 * Blocks that a member is asked to prove in a round, including those in doubt. Past it: files of the round
 * are left out, at random.
 */
const BLOCKS_PER_QUESTION = 24;
/** Blocks of one file in a question, and when a user looks at it… */
const BLOCKS_OF_FILE = 2;
/** …unless the member was asked for some less long ago than this. */
const PROOF_FRESH_MS = 60_000;
/** Files whose health is asked for at once. Past it: it shows what was proved before. */
const LOOKS_MAX = 8;

export interface ProvingDeps {
  readonly self: PeerId;
  readonly client: PeerClient;
  readonly holders: Pick<Holders, 'last' | 'noteProof' | 'clock'>;
  readonly opinions: Pick<Opinions, 'note'>;
  readonly refresh: Refresh;
  readonly members: () => readonly Member[];
  /** Pins in the order of their roots, from one on. */
  readonly page: (after: string, limit: number) => { pins: readonly Pin[]; next?: string };
  readonly metrics: Pick<Metrics, 'proofs'>;
  readonly log: Log;
}

export class Proving {
  readonly #deps: ProvingDeps;
  readonly #claimed: ClaimedBlocks;
  readonly #judge: Judge;
  readonly #client: ProofClient;
  readonly #stop = new AbortController();
  /** The pin that the last round ended with. */
  #after = '';
  /** Index of the member that the next round begins with. */
  #turn = 0;
  #looks = 0;

  constructor(deps: ProvingDeps) {
    this.#deps = deps;
    this.#claimed = new ClaimedBlocks(deps);
    this.#judge = new Judge({ ...deps, claimed: this.#claimed });
    this.#client = new ProofClient(deps);
  }

  /** Samples members until disposed, which ends the questions under way as well. */
  start(loops: Loops, intervalMs: number): Disposable {
    const { log } = this.#deps;
    const stack = new DisposableStack();
    stack.use(
      loops.start({
        name: 'proving',
        everyMs: () => {
          const rounds = Math.max(1, this.#others().length / MEMBERS_PER_ROUND);
          return intervalMs * rounds * (0.75 + Math.random() / 2);
        },
        run: () => this.round(),
        onFailure: (err) =>
          this.#stop.signal.aborted || log.debug({ err }, 'a round of proofs failed'),
      }),
    );
    stack.defer(() => this.#stop.abort(new Error('stopping')));
    return stack;
  }

  /** One round now. */
  async round(): Promise<void> {
    const { signal } = this.#stop;
    const others = this.#others();
    if (others.length === 0) return;
    const walked = this.#nextRoots();
    const doubted = this.#judge.doubtedRoots().slice(0, ROOTS_MAX);
    const roots = [...new Set([...walked, ...doubted])];
    if (roots.length === 0) return;
    await this.#deps.refresh({ own: roots, members: roots }, { signal });
    for (let count = 0; count < Math.min(MEMBERS_PER_ROUND, others.length); count += 1) {
      const member = others[(this.#turn + count) % others.length];
      if (member === undefined) continue;
      await this.#sample(member, this.#choose(member.peerId, walked), { signal });
    }
    this.#turn += MEMBERS_PER_ROUND;
  }

  /** Asks the members that say they hold blocks of this file to prove some, unless that was done just now. */
  async look({ root }: Pin, { signal: caller }: { signal: AbortSignal }): Promise<void> {
    const { log } = this.#deps;
    if (this.#looks >= LOOKS_MAX) return;
    const due = this.#others()
      .filter(({ peerId }) => !this.#isFresh(root, peerId))
      .map((member) => ({
        member,
        places: this.#claimed.pick(member.peerId, root, BLOCKS_OF_FILE),
      }))
      .filter(({ places }) => places.length > 0)
      .slice(0, MEMBERS_PER_ROUND);
    const signal = AbortSignal.any([this.#stop.signal, caller]);
    this.#looks += 1;
    try {
      await Promise.all(due.map(({ member, places }) => this.#sample(member, places, { signal })));
    } catch (err) {
      caller.throwIfAborted();
      log.debug({ err, root }, 'proofs of a file not asked for');
    } finally {
      this.#looks -= 1;
    }
  }

  #others(): Member[] {
    return this.#deps.members().filter(({ isSelf, state }) => !isSelf && state === 'alive');
  }

  /** The next files of the walk over all pins, which begins anew at its end. */
  #nextRoots(): Cid[] {
    const { pins, next = '' } = this.#deps.page(this.#after, ROOTS_MAX);
    this.#after = next;
    return pins.map(({ root }) => root);
  }

  /** Blocks to ask a member for: those in doubt, and some of these files. */
  #choose(peerId: PeerId, roots: readonly Cid[]): BlockPlace[] {
    const places = this.#judge.again(peerId);
    // In random order: a question has no room for the last ones, and they must not be the same each time.
    for (const root of shuffle(roots)) {
      if (places.length >= BLOCKS_PER_QUESTION) break;
      places.push(...this.#claimed.pick(peerId, root, BLOCKS_OF_FILE));
    }
    return unique(places);
  }

  async #sample(
    member: Member,
    places: readonly BlockPlace[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    if (places.length === 0) return;
    const { peerId } = member;
    const compared = await this.#client.ask(member, places, { signal });
    if (compared === undefined) return this.#judge.noteSilence(peerId);
    const failed = this.#judge.note(peerId, compared);
    this.#client.report(member, failed, { signal: this.#stop.signal });
  }

  #isFresh(root: Cid, peerId: PeerId): boolean {
    const { holders } = this.#deps;
    const proof = holders.last(root, peerId)?.proof;
    return proof !== undefined && holders.clock() - proof.atMs < PROOF_FRESH_MS;
  }
}

const unique = (places: readonly BlockPlace[]): BlockPlace[] => [
  ...new Map(places.map((place) => [`${place.root} ${place.index}`, place])).values(),
];
