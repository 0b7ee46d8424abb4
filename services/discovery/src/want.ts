/**
 * The verb "want": who holds blocks of these roots? Everybody is asked at once and answers with
 * have-maps, so a reader learns of all providers in one round trip, announced or not.
 */
import type { Cid, HaveAnswer, HaveMap, PeerId } from '@shoal/protocol';
import type { Answer } from './messages.ts';
import type { AskAll } from './ask.ts';
import type { Holders } from './holders.ts';

/** Have-maps of one answer together: an answer then stays under the largest message. */
const ANSWER_BITS_MAX_CHARS = 3 * 1024 * 1024;

export interface WantOptions {
  /** Peers that hold something of each root; all are waited for without it. */
  readonly enough?: number | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface Wanted {
  readonly asked: number;
  /** Who answered at all, with or without blocks. */
  readonly answered: readonly PeerId[];
  readonly answers: readonly HaveAnswer[];
}

export type Want = (roots: readonly Cid[], options: WantOptions) => Promise<Wanted>;

export function createWant({ ask, holders }: { ask: AskAll; holders: Holders }): Want {
  return async (roots, { enough, timeoutMs, signal }) => {
    const isEnough = (answers: ReadonlyMap<PeerId, Answer>): boolean =>
      roots.every((root) => countHolders(root, answers) >= Number(enough));
    const { asked, answers } = await ask(
      { kind: 'have', roots: [...roots] },
      { timeoutMs, signal, ...(enough === undefined ? {} : { isEnough }) },
    );
    for (const [peerId, { haves }] of answers)
      for (const root of roots)
        holders.note(
          root,
          peerId,
          haves.find((map) => map.root === root),
        );
    const found = [...answers].flatMap(([peerId, { haves }]) =>
      haves
        .filter(({ root }) => roots.includes(root))
        .map((haveMap): HaveAnswer => ({ peerId, haveMap, ageMs: 0 })),
    );
    return { asked, answered: [...answers.keys()], answers: found };
  };
}

/** Answers a want of another peer from what our own storage holds. */
export async function answerWant(
  roots: readonly Cid[],
  readHaveMap: (root: Cid) => Promise<HaveMap | undefined>,
): Promise<HaveMap[]> {
  const maps = await Promise.all([...new Set(roots)].map(readHaveMap));
  let chars = 0;
  return maps
    .filter((map) => map !== undefined)
    .filter(({ bits }) => (chars += bits.length) <= ANSWER_BITS_MAX_CHARS);
}

function countHolders(root: Cid, answers: ReadonlyMap<PeerId, Answer>): number {
  return [...answers.values()].filter(({ haves }) => haves.some((map) => map.root === root)).length;
}
