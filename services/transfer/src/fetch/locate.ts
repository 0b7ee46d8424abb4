/**
 * Where a block is, by asking the storages of the members whether they hold it. Each answers for itself alone,
 * so a question travels one hop and no further, and that nobody has a block is known as soon as all have said so.
 *
 * Questions of the same moment to one member go out together: a reader of a file asks for a whole window of
 * its blocks at once.
 */
import { batchesOf, decodeBits, getBit } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type Member,
  type PeerId,
  storageRoutes,
} from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MemberView, targetOf } from '../peers/member-view.ts';

/** A storage that answers later than this counts as one that does not have it. */
const HAVE_TIMEOUT_MS = 1500;
/** After the first yes, others may say yes as well for this long: a fetch needs more than one name. */
const MORE_HOLDERS_MS = 20;

interface Question {
  readonly cid: Cid;
  readonly answer: (has: boolean) => void;
}

export class Locator {
  readonly #client: PeerClient;
  readonly #view: MemberView;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  /** Questions that go out at the end of this turn of the event loop. */
  readonly #waiting = new Map<PeerId, Question[]>();

  /** @param signal Ends the questions under way, as a no. */
  constructor(
    {
      client,
      view,
      log,
    }: { readonly client: PeerClient; readonly view: MemberView; readonly log: Log },
    { signal }: { signal: AbortSignal },
  ) {
    this.#client = client;
    this.#view = view;
    this.#log = log;
    this.#signal = signal;
  }

  /** Whether our own storage has it. */
  async isHere(cid: Cid): Promise<boolean> {
    const self = this.#view.get(this.#view.self);
    return self !== undefined && (await this.#has(self, cid));
  }

  /** Its holders: ourselves alone when it is here. */
  async locate(cid: Cid): Promise<readonly Member[]> {
    const self = this.#view.get(this.#view.self);
    return self !== undefined && (await this.#has(self, cid)) ? [self] : this.locateElsewhere(cid);
  }

  /** Which of the other members have it: those that say so first. */
  async locateElsewhere(cid: Cid): Promise<readonly Member[]> {
    const holders: Member[] = [];
    const answers = this.#view
      .asked()
      .filter(({ isSelf }) => !isSelf)
      .map(async (member) => {
        if (!(await this.#has(member, cid))) throw new Error('no');
        holders.push(member);
      });
    const all = Promise.allSettled(answers);
    const enough = Promise.any(answers).then(
      () => sleep(MORE_HOLDERS_MS),
      () => undefined,
    );
    await Promise.race([all, enough]);
    return [...holders];
  }

  /** Whether this member's storage confirms the block; false also when it does not say in time. */
  #has(member: Member, cid: Cid): Promise<boolean> {
    return new Promise((answer) => {
      const questions = this.#waiting.get(member.peerId);
      if (questions !== undefined) return void questions.push({ cid, answer });
      this.#waiting.set(member.peerId, [{ cid, answer }]);
      setImmediate(() => this.#askAll(member));
    });
  }

  #askAll(member: Member): void {
    const questions = this.#waiting.get(member.peerId) ?? [];
    this.#waiting.delete(member.peerId);
    for (const batch of batchesOf(questions, CIDS_PER_BATCH_MAX)) void this.#ask(member, batch);
  }

  async #ask(member: Member, questions: readonly Question[]): Promise<void> {
    try {
      const { bits } = await this.#client.call(
        targetOf(member, 'storage', this.#client),
        storageRoutes.haveBlocks,
        { body: { cids: questions.map(({ cid }) => cid) } },
        { signal: this.#signal, timeoutMs: HAVE_TIMEOUT_MS },
      );
      const has = decodeBits(bits, questions.length);
      for (const [index, { answer }] of questions.entries()) answer(getBit(has, index));
    } catch (err) {
      if (!this.#signal.aborted)
        this.#log.debug({ err, peer: member.peerId }, 'storage does not say what it has');
      for (const { answer } of questions) answer(false);
    }
  }
}
