/**
 * The verdict on a member, from compared proofs. A block that failed is asked for again first: proved then, as a damaged
 * copy that was healed is, or no longer claimed, it is no longer held against the member.
 *
 * "I don't have it" is no lie, for the have-map that said otherwise may be older. A member that claims a
 * block again and again, and each time denies it when it must prove it, fails.
 */
import type { Log } from '@shoal/chassis';
import type { BlockPlace, Cid, PeerId } from '@shoal/protocol';
import type { Holders } from '../holders/holders.ts';
import type { Metrics } from '../metrics.ts';
import type { ClaimedBlocks } from './claimed-blocks.ts';
import { Doubts } from './doubts.ts';
import type { Opinions } from './opinions.ts';
import type { Compared } from './proof-client.ts';

/** Blocks in doubt that one question asks for again. Past it: asked for in a later one. */
const AGAIN_PER_QUESTION = 8;

export interface JudgeDeps {
  readonly claimed: Pick<ClaimedBlocks, 'has'>;
  readonly holders: Pick<Holders, 'noteProof'>;
  readonly opinions: Pick<Opinions, 'note'>;
  readonly metrics: Pick<Metrics, 'proofs'>;
  readonly log: Log;
}

export class Judge {
  readonly #deps: JudgeDeps;
  readonly #doubts = new Doubts();

  constructor(deps: JudgeDeps) {
    this.#deps = deps;
  }

  /** Files of which blocks are in doubt, the oldest doubt first. */
  doubtedRoots(): Cid[] {
    return [...this.#doubts.roots()];
  }

  /** Blocks to ask a member for again; ends the doubt about those that it claims no more. */
  again(peerId: PeerId): BlockPlace[] {
    const { claimed, holders } = this.#deps;
    const places: BlockPlace[] = [];
    const freed = new Set<Cid>();
    for (const place of this.#doubts.of(peerId)) {
      if (places.length === AGAIN_PER_QUESTION) break;
      if (claimed.has(peerId, place)) {
        places.push(place);
        continue;
      }
      this.#doubts.end(peerId, place);
      freed.add(place.root);
    }
    for (const root of freed.difference(this.#doubts.roots(peerId)))
      holders.noteProof(root, peerId, undefined);
    return places;
  }

  noteSilence(peerId: PeerId): void {
    this.#deps.opinions.note(peerId, { unanswered: 1 });
  }

  /** Notes the outcome of one question; returns the blocks that the member failed. */
  note(peerId: PeerId, compared: readonly Compared[]): Cid[] {
    const { opinions, log } = this.#deps;
    const verdicts = compared.map((each) => this.#verdictOf(peerId, each));
    this.#noteFiles(peerId, verdicts);
    const cidsOf = (kind: Verdict['kind']): Cid[] =>
      verdicts.flatMap((verdict) =>
        verdict.kind === kind && verdict.cid !== undefined ? [verdict.cid] : [],
      );
    const failed = cidsOf('failed');
    opinions.note(peerId, {
      proved: cidsOf('proved').length,
      mended: cidsOf('mended'),
      failed,
      denied: cidsOf('denied').length,
    });
    if (failed.length > 0)
      log.warn(
        { peer: peerId, blocks: failed.length, cid: failed[0] },
        'peer did not prove blocks that it says it holds',
      );
    return failed;
  }

  #verdictOf(peerId: PeerId, compared: Compared): Verdict {
    const { metrics } = this.#deps;
    const { place, outcome } = compared;
    const { root } = place;
    switch (outcome) {
      case 'untold':
        // Asked for again without end, it would keep the file from counting for as long as it lives.
        return { kind: this.#doubts.end(peerId, place) ? 'dropped' : 'untold', root };
      case 'proved':
        return {
          kind: this.#doubts.end(peerId, place) ? 'mended' : 'proved',
          root,
          cid: compared.cid,
        };
      case 'failed':
        this.#doubts.noteFailure(peerId, place);
        return { kind: 'failed', root, cid: compared.cid };
      case 'denied': {
        metrics.proofs.inc({ outcome });
        const isFailure = this.#doubts.noteDenial(peerId, place);
        return { kind: isFailure ? 'failed' : 'denied', root, cid: compared.cid };
      }
    }
  }

  /** Notes whether files' copies at this member count; one is proved again once nothing of it is in doubt. */
  #noteFiles(peerId: PeerId, verdicts: readonly Verdict[]): void {
    const { holders } = this.#deps;
    const doubted = this.#doubts.roots(peerId);
    const rootsOf = (...kinds: Verdict['kind'][]): Set<Cid> =>
      new Set(verdicts.filter(({ kind }) => kinds.includes(kind)).map(({ root }) => root));
    for (const root of rootsOf('failed')) holders.noteProof(root, peerId, false);
    for (const root of rootsOf('dropped').difference(doubted))
      holders.noteProof(root, peerId, undefined);
    for (const root of rootsOf('proved', 'mended').difference(doubted))
      holders.noteProof(root, peerId, true);
  }
}

/**
 * `mended`: proved, and in doubt before. `dropped`: in doubt before, and we have no copy to compare with any
 * more. `denied`: not often enough yet to have failed.
 */
interface Verdict {
  readonly kind: 'untold' | 'dropped' | 'proved' | 'mended' | 'denied' | 'failed';
  readonly root: Cid;
  readonly cid?: Cid;
}
