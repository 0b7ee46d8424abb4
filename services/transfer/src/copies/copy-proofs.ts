/**
 * Holders of blocks, proved at this moment: a copy must be proved for ours to be dropped, or for an
 * upload to count it. We ask only about blocks that are here too, since a proof is compared with what
 * our own storage works out. No answer is a "no", and so is a proof that is wrong.
 *
 * A nonce is used once, and each proof is bound to who asks and who answers (`blocks/prove-copy.ts`). The
 * results go to discovery: `proof-reports.ts`.
 */
import { randomBytes } from 'node:crypto';
import { batchesOf, proveWhole } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type CopyProof,
  type Member,
  NO_PROOF,
  type Nonce,
  type PeerId,
  storageRoutes,
} from '@shoal/protocol';
import { targetOf } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import { Blame } from './blame.ts';
import { ProofReports } from './proof-reports.ts';
import type { SentBlock } from './sent-blocks.ts';

/** A question that is about to be put: its nonce, and what became of the answer. */
export interface ProofQuestion {
  readonly nonce: Nonce;
  /** Which of the blocks these proofs prove; the others count as `absent`, or `failed` if claimed. */
  check(
    proofs: readonly CopyProof[] | undefined,
    isClaimed: (index: number) => boolean,
  ): Promise<boolean[]>;
}

export interface CopyProofsDeps {
  readonly client: PeerClient;
  readonly self: PeerId;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class CopyProofs implements AsyncDisposable {
  readonly #deps: CopyProofsDeps;
  readonly #reports: ProofReports;
  readonly #blame: Blame;

  constructor(deps: CopyProofsDeps) {
    this.#deps = deps;
    this.#reports = new ProofReports(deps);
    this.#blame = new Blame({ ...deps, reports: this.#reports });
  }

  /**
   * Asks each of these members that is alive to prove its blocks; gives the members that did, for each
   * block. `forGood` leaves out what an unfinished upload alone holds there: it goes when that fails.
   */
  async ask(
    asks: ReadonlyMap<Member, readonly Cid[]>,
    options: { signal: AbortSignal; forGood?: boolean },
  ): Promise<Map<Cid, Member[]>> {
    const proved = new Map<Cid, Member[]>();
    await Promise.all(
      [...asks].map(async ([member, cids]) => {
        if (member.state !== 'alive' || cids.length === 0) return;
        for (const batch of batchesOf(cids, CIDS_PER_BATCH_MAX))
          for (const cid of await this.#askOne(member, batch, options))
            proved.set(cid, [...(proved.get(cid) ?? []), member]);
      }),
    );
    return proved;
  }

  /** The same along with blocks whose bytes are at hand: what their proofs must be needs no asking. */
  questionOf(holder: PeerId, blocks: readonly SentBlock[]): ProofQuestion {
    const nonce = newNonce();
    const { self } = this.#deps;
    const cids = blocks.map(({ cid }) => cid);
    return {
      nonce,
      check: async (proofs, isClaimed) => {
        const expected = blocks.map(({ cid, bytes }) =>
          proveWhole({ nonce, asker: self, holder, cid }, bytes),
        );
        return this.#check(holder, cids, expected, proofs, isClaimed);
      },
    };
  }

  /** A question to put along with something else: blocks that are sent may be among them. */
  question(
    holder: PeerId,
    cids: readonly Cid[],
    { signal }: { signal: AbortSignal },
  ): ProofQuestion {
    const nonce = newNonce();
    const expecting = this.#expect(holder, cids, nonce, { signal });
    expecting.catch(() => undefined); // `check` reports it
    return {
      nonce,
      check: async (proofs, isClaimed) =>
        this.#check(holder, cids, await expecting, proofs, isClaimed),
    };
  }

  async #askOne(
    member: Member,
    cids: readonly Cid[],
    options: { signal: AbortSignal; forGood?: boolean },
  ): Promise<Cid[]> {
    const { peerId } = member;
    const { copyProofs } = this.#deps.metrics;
    const nonce = newNonce();
    const [expected, given] = await Promise.all([
      this.#expect(peerId, cids, nonce, options),
      this.#answerOf(member, cids, nonce, options),
    ]);
    if (given === undefined) {
      copyProofs.inc({ outcome: 'unanswered' }, cids.length);
      this.#reports.count(peerId, 'unanswered');
      return [];
    }
    const verdicts = cids.map((_, index) => judge(expected[index], given[index]));
    for (const verdict of verdicts) {
      if (verdict === 'absent') copyProofs.inc({ outcome: 'absent' });
      if (verdict !== 'proved') continue;
      copyProofs.inc({ outcome: 'proved' });
      this.#reports.count(peerId, 'proved');
    }
    const cidsThatAre = (wanted: Verdict) => cids.filter((_, index) => verdicts[index] === wanted);
    this.#blame.soon(peerId, cidsThatAre('wrong'));
    return cidsThatAre('proved');
  }

  /** Which of the blocks are proved by an answer that came along with something else. */
  #check(
    holder: PeerId,
    cids: readonly Cid[],
    expected: readonly CopyProof[],
    given: readonly CopyProof[] | undefined,
    isClaimed: (index: number) => boolean,
  ): boolean[] {
    const { copyProofs } = this.#deps.metrics;
    const wrong: Cid[] = [];
    const isProvedAt = cids.map((cid, index) => {
      const verdict = judge(expected[index], given?.[index]);
      // A block that it was sent a moment ago proves nothing about the rest.
      if (verdict === 'proved') copyProofs.inc({ outcome: 'proved' });
      else if (!isClaimed(index)) copyProofs.inc({ outcome: 'absent' });
      // An earlier version gives no proofs at all: its copies don't count, and it did not lie.
      else if (given === undefined) copyProofs.inc({ outcome: 'unanswered' });
      else if (verdict !== 'unknown') wrong.push(cid); // it is claimed: no proof is a wrong one
      return verdict === 'proved';
    });
    this.#blame.soon(holder, wrong);
    return isProvedAt;
  }

  /** The proofs that the holder must give, worked out from our own copies. */
  async #expect(
    holder: PeerId,
    cids: readonly Cid[],
    nonce: Nonce,
    { signal }: { signal: AbortSignal },
  ): Promise<readonly CopyProof[]> {
    const { client, self } = this.#deps;
    const args = { body: { nonce, asker: self, holder, cids: [...cids] } };
    const target = client.own('storage');
    const { proofs } = await client.call(target, storageRoutes.expectProofs, args, { signal });
    return proofs;
  }

  /** The holder's proofs; undefined when it does not answer. */
  async #answerOf(
    member: Member,
    cids: readonly Cid[],
    nonce: Nonce,
    { signal, forGood = false }: { signal: AbortSignal; forGood?: boolean },
  ): Promise<readonly CopyProof[] | undefined> {
    const { client, log } = this.#deps;
    const target = targetOf(member, 'storage', client);
    const args = { query: { forGood: String(forGood) }, body: { nonce, cids: [...cids] } };
    try {
      return (await client.call(target, storageRoutes.proveBlocks, args, { signal })).proofs;
    } catch (err) {
      signal.throwIfAborted();
      log.debug({ err, peer: member.peerId }, 'copies not proved');
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blame[Symbol.asyncDispose]();
    await this.#reports[Symbol.asyncDispose]();
  }
}

/** `unknown`: the block is not here, so that there is nothing to compare with. */
type Verdict = 'proved' | 'wrong' | 'absent' | 'unknown';

function judge(expected: CopyProof = NO_PROOF, given: CopyProof = NO_PROOF): Verdict {
  if (expected === NO_PROOF) return 'unknown';
  if (given === NO_PROOF) return 'absent';
  return given === expected ? 'proved' : 'wrong';
}

const newNonce = (): Nonce => randomBytes(16).toString('base64url');
