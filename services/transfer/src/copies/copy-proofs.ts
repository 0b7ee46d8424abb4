/**
 * Who has which blocks, proved at this moment: what a copy has to be for ours to be dropped, or for an
 * upload to count it. We ask only about blocks that are here too, since a proof is compared with what
 * our own storage works out. No answer is a "no", and so is a proof that is wrong.
 *
 * A nonce is used once, and each proof is bound to who asks and who answers (`blocks/prove-copy.ts`). The
 * results go to discovery: `proof-reports.ts`.
 */
import { randomBytes } from 'node:crypto';
import { batchesOf } from '@shoal/blocks';
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

/** A question that is about to be put: its nonce, and what became of the answer. */
export interface ProofQuestion {
  readonly nonce: Nonce;
  /** Which of the blocks these proofs prove; the others count as `absent`, or `failed` if claimed. */
  check(
    proofs: readonly CopyProof[] | undefined,
    isClaimed: (index: number) => boolean,
  ): Promise<boolean[]>;
}

export interface CopyProofs extends AsyncDisposable {
  /**
   * Asks each of these members that is alive to prove its blocks; gives the members that did, for each
   * block. `forGood` leaves out what an unfinished upload alone holds there: it goes when that fails.
   */
  ask(
    asks: ReadonlyMap<Member, readonly Cid[]>,
    options: { signal: AbortSignal; forGood?: boolean },
  ): Promise<Map<Cid, Member[]>>;
  /** A question to put along with something else: blocks that are sent may be among them. */
  question(holder: PeerId, cids: readonly Cid[], options: { signal: AbortSignal }): ProofQuestion;
}

export function createCopyProofs(deps: {
  readonly client: PeerClient;
  readonly self: PeerId;
  readonly metrics: Metrics;
  readonly log: Log;
}): CopyProofs {
  const { client, self, metrics, log } = deps;
  const reports = new ProofReports(deps);
  const blame = new Blame({ client, reports, metrics, log });

  /** What the holder's proofs have to be, by our own copies. */
  const expect = async (
    holder: PeerId,
    cids: readonly Cid[],
    nonce: Nonce,
    { signal }: { signal: AbortSignal },
  ): Promise<readonly CopyProof[]> => {
    const args = { body: { nonce, asker: self, holder, cids: [...cids] } };
    const target = client.own('storage');
    const { proofs } = await client.call(target, storageRoutes.expectProofs, args, { signal });
    return proofs;
  };
  /** What the holder answers; undefined when it does not. */
  const answerOf = async (
    member: Member,
    cids: readonly Cid[],
    nonce: Nonce,
    { signal, forGood = false }: { signal: AbortSignal; forGood?: boolean },
  ): Promise<readonly CopyProof[] | undefined> => {
    const target = targetOf(member, 'storage', client);
    const args = { query: { forGood: String(forGood) }, body: { nonce, cids: [...cids] } };
    try {
      return (await client.call(target, storageRoutes.proveBlocks, args, { signal })).proofs;
    } catch (err) {
      signal.throwIfAborted();
      log.debug({ err, peer: member.peerId }, 'copies not proved');
      return undefined;
    }
  };
  const askOne = async (
    member: Member,
    cids: readonly Cid[],
    options: { signal: AbortSignal; forGood?: boolean },
  ): Promise<Cid[]> => {
    const { peerId } = member;
    const nonce = newNonce();
    const [expected, given] = await Promise.all([
      expect(peerId, cids, nonce, options),
      answerOf(member, cids, nonce, options),
    ]);
    if (given === undefined) {
      metrics.copyProofs.inc({ outcome: 'unanswered' }, cids.length);
      reports.count(peerId, 'unanswered');
      return [];
    }
    const verdicts = cids.map((cid, index) => {
      const verdict = judge(expected[index], given[index]);
      if (verdict === 'absent') metrics.copyProofs.inc({ outcome: 'absent' });
      if (verdict === 'proved') {
        metrics.copyProofs.inc({ outcome: 'proved' });
        reports.count(peerId, 'proved');
      }
      return { cid, verdict };
    });
    const cidsWith = (wanted: Verdict) =>
      verdicts.filter(({ verdict }) => verdict === wanted).map(({ cid }) => cid);
    blame.soon(peerId, cidsWith('wrong'));
    return cidsWith('proved');
  };

  return {
    async ask(asks, options) {
      const proved = new Map<Cid, Member[]>();
      await Promise.all(
        [...asks].map(async ([member, cids]) => {
          if (member.state !== 'alive' || cids.length === 0) return;
          for (const batch of batchesOf(cids, CIDS_PER_BATCH_MAX))
            for (const cid of await askOne(member, batch, options))
              proved.set(cid, [...(proved.get(cid) ?? []), member]);
        }),
      );
      return proved;
    },
    question(holder, cids, { signal }) {
      const nonce = newNonce();
      const expecting = expect(holder, cids, nonce, { signal });
      expecting.catch(() => undefined); // `check` reports it
      return {
        nonce,
        async check(proofs, isClaimed) {
          const expected = await expecting;
          const wrong: Cid[] = [];
          const isProvedAt = cids.map((cid, index) => {
            const verdict = judge(expected[index], proofs?.[index]);
            // That it has what it was sent a moment ago speaks neither for nor against the rest.
            if (verdict === 'proved') metrics.copyProofs.inc({ outcome: 'proved' });
            else if (!isClaimed(index)) metrics.copyProofs.inc({ outcome: 'absent' });
            // An earlier version gives no proofs at all: its copies don't count, and it did not lie.
            else if (proofs === undefined) metrics.copyProofs.inc({ outcome: 'unanswered' });
            else if (verdict !== 'unknown') wrong.push(cid); // claimed: no proof is a wrong one
            return verdict === 'proved';
          });
          blame.soon(holder, wrong);
          return isProvedAt;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await blame[Symbol.asyncDispose]();
      await reports[Symbol.asyncDispose]();
    },
  };
}

/** `unknown`: the block is not here, so that there is nothing to compare with. */
type Verdict = 'proved' | 'wrong' | 'absent' | 'unknown';

function judge(expected: CopyProof = NO_PROOF, given: CopyProof = NO_PROOF): Verdict {
  if (expected === NO_PROOF) return 'unknown';
  if (given === NO_PROOF) return 'absent';
  return given === expected ? 'proved' : 'wrong';
}

const newNonce = (): Nonce => randomBytes(16).toString('base64url');
