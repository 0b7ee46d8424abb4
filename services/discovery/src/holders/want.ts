/**
 * The verb "want" ⑥: who holds blocks of these roots? All members are asked at once and answer with
 * have-maps, so a reader learns of all providers in one round trip, announced or not.
 */
import type { Cid, HaveAnswer, HaveMap, PeerId } from '@shoal/protocol';
import type { Answer } from '../network/messages.ts';
import type { AskAll } from '../network/ask.ts';
import type { Holders } from './holders.ts';
import type { ReadHaveMap } from './own-have-maps.ts';

/** Have-maps of one answer together: an answer then stays under the largest message. */
const ANSWER_BITS_MAX_CHARS = 3 * 1024 * 1024;

export interface WantOptions {
  /** How many holders of each root are enough. Undefined: all members are waited for. */
  readonly enough?: number | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface Wanted {
  readonly asked: number;
  readonly answers: readonly HaveAnswer[];
}

export type Want = (roots: readonly Cid[], options: WantOptions) => Promise<Wanted>;

export function createWant({ ask, holders }: { ask: AskAll; holders: Holders }): Want {
  return async (roots, { enough, timeoutMs, signal }) => {
    const isEnough = (answers: ReadonlyMap<PeerId, Answer>): boolean =>
      roots.every((root) => countHolders(root, answers) >= Number(enough));
    // A holder reads its disk after the question: dated to the question, an answer never looks too young.
    const atMs = holders.clock();
    const { asked, answers } = await ask(
      { kind: 'have', roots: [...roots] },
      { timeoutMs, signal, ...(enough === undefined ? {} : { isEnough }) },
    );
    for (const [peerId, { haves, unread = [], readAtMs }] of answers)
      for (const root of roots) {
        if (unread.includes(root)) continue;
        const haveMap = haves.find((map) => map.root === root);
        holders.note(root, peerId, haveMap, { atMs, readAtMs });
      }
    const found = [...answers].flatMap(([peerId, { haves }]) =>
      haves
        .filter(({ root }) => roots.includes(root))
        .map((haveMap): HaveAnswer => ({ peerId, haveMap, ageMs: 0 })),
    );
    return { asked, answers: found };
  };
}

/** Answers a want of another peer from what our own storage holds. */
export async function answerWant(roots: readonly Cid[], readHaveMap: ReadHaveMap): Promise<Answer> {
  const distinct = [...new Set(roots)];
  const readings = await Promise.all(distinct.map(readHaveMap));
  const haves: HaveMap[] = [];
  const unread: Cid[] = [];
  let chars = 0;
  for (const [index, { haveMap }] of readings.entries()) {
    const root = distinct[index];
    if (root === undefined || haveMap === undefined) continue;
    // A have-map that does not fit into the answer is unread, which is not the same as nothing.
    const isTold = haveMap !== 'unread' && chars + haveMap.bits.length <= ANSWER_BITS_MAX_CHARS;
    if (!isTold) {
      unread.push(root);
      continue;
    }
    chars += haveMap.bits.length;
    haves.push(haveMap);
  }
  return { haves, unread, readAtMs: Math.min(...readings.map(({ readAtMs }) => readAtMs)) };
}

function countHolders(root: Cid, answers: ReadonlyMap<PeerId, Answer>): number {
  return [...answers.values()].filter(({ haves }) => haves.some((map) => map.root === root)).length;
}
