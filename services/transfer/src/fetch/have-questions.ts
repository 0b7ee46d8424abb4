/**
 * Asking storages which blocks they have. Questions of one moment to one member go out together:
 * whoever reads a file asks for a whole window of its blocks at once.
 */
import { decodeBits, getBit } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type Member,
  type PeerId,
  storageRoutes,
} from '@shoal/protocol';
import { targetOf } from '../peers/member-view.ts';

/** A storage that answers later than this counts as one that does not have it. */
const HAVE_TIMEOUT_MS = 1500;

export interface HaveQuestions {
  /** Whether this member's storage confirms the block; false also when it does not say in time. */
  has(member: Member, cid: Cid): Promise<boolean>;
}

interface Question {
  readonly cid: Cid;
  readonly answer: (has: boolean) => void;
}

/** @param signal Ends the questions under way, as a no. */
export function createHaveQuestions(
  { client, log }: { readonly client: PeerClient; readonly log: Log },
  { signal }: { signal: AbortSignal },
): HaveQuestions {
  const waiting = new Map<PeerId, Question[]>();

  const ask = async (member: Member, questions: readonly Question[]): Promise<void> => {
    try {
      const { bits } = await client.call(
        targetOf(member, 'storage', client),
        storageRoutes.haveBlocks,
        { body: { cids: questions.map(({ cid }) => cid) } },
        { signal, timeoutMs: HAVE_TIMEOUT_MS },
      );
      const has = decodeBits(bits, questions.length);
      for (const [index, { answer }] of questions.entries()) answer(getBit(has, index));
    } catch (err) {
      if (!signal.aborted)
        log.debug({ err, peer: member.peerId }, 'storage does not say what it has');
      for (const { answer } of questions) answer(false);
    }
  };
  const askAll = (member: Member): void => {
    const questions = waiting.get(member.peerId) ?? [];
    waiting.delete(member.peerId);
    for (let from = 0; from < questions.length; from += CIDS_PER_BATCH_MAX)
      void ask(member, questions.slice(from, from + CIDS_PER_BATCH_MAX));
  };
  return {
    has: (member, cid) =>
      new Promise((answer) => {
        const questions = waiting.get(member.peerId);
        if (questions !== undefined) return void questions.push({ cid, answer });
        waiting.set(member.peerId, [{ cid, answer }]);
        setImmediate(askAll, member);
      }),
  };
}
