/**
 * Who has which blocks, proved at this moment: what a copy has to be for ours to be dropped, or for an
 * upload to count it. We ask only about blocks that are here too, since a proof is compared with what
 * our own storage works out. No answer is a "no", and so is a proof that is wrong.
 *
 * A nonce is used once, and each proof is bound to who asks and who answers (`blocks/prove-copy.ts`). The
 * results go to discovery, which decides whose claims count.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type CopyProof,
  discoveryRoutes,
  type Member,
  NO_PROOF,
  type Nonce,
  type PeerId,
  PROOF_REPORTS_MAX,
  storageRoutes,
} from '@shoal/protocol';
import { targetOf } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';

/** What is noted waits for more this long. */
const REPORT_DELAY_MS = 200;
const REPORT_TIMEOUT_MS = 2000;

/** Blocks that a peer is blamed for after one question: each costs us a read of all of it. */
const BLAMED_MAX = 8;
/** Questions whose wrong proofs are looked into at once; past that nobody is blamed, and nothing counts. */
const BLAMINGS_MAX = 8;
const CHECK_TIMEOUT_MS = 5000;

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

interface Noted {
  proved: number;
  readonly failed: Set<Cid>;
  unanswered: number;
}

export function createCopyProofs(deps: {
  readonly client: PeerClient;
  readonly self: PeerId;
  readonly metrics: Metrics;
  readonly log: Log;
}): CopyProofs {
  const { client, self, metrics, log } = deps;
  const stop = new AbortController();
  const noted = new Map<PeerId, Noted>();
  let reporting: Promise<void> | undefined;

  const notesOf = (peerId: PeerId): Noted => {
    const known = noted.get(peerId) ?? { proved: 0, failed: new Set<Cid>(), unanswered: 0 };
    noted.set(peerId, known);
    reporting ??= reportSoon();
    return known;
  };
  const reportSoon = async (): Promise<void> => {
    await sleep(REPORT_DELAY_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    const reports = [...noted].map(([peerId, { proved, failed, unanswered }]) => ({
      peerId,
      proved,
      failed: [...failed].slice(0, CIDS_PER_BATCH_MAX),
      unanswered,
    }));
    noted.clear();
    reporting = undefined;
    for (let at = 0; at < reports.length; at += PROOF_REPORTS_MAX)
      try {
        const args = { body: { reports: reports.slice(at, at + PROOF_REPORTS_MAX) } };
        const signal = AbortSignal.timeout(REPORT_TIMEOUT_MS);
        await client.call(client.own('discovery'), discoveryRoutes.noteProofs, args, { signal });
      } catch (err) {
        // Discovery samples by itself: what is lost here is found again.
        log.debug({ err }, 'proofs not reported');
      }
  };
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
  /** Blames a peer for blocks whose proofs are wrong, unless it is our own bytes that are. */
  const blame = async (peerId: PeerId, cids: readonly Cid[]): Promise<void> => {
    metrics.copyProofs.inc({ outcome: 'failed' }, cids.length);
    for (const cid of cids.slice(0, BLAMED_MAX))
      try {
        const args = { params: { cid } };
        const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(CHECK_TIMEOUT_MS)]);
        const target = client.own('storage');
        const { state } = await client.call(target, storageRoutes.checkBlock, args, { signal });
        if (state !== 'sound') continue;
        log.warn({ peer: peerId, cid }, 'peer did not prove a block that it says it holds');
        notesOf(peerId).failed.add(cid);
      } catch (err) {
        log.debug({ err, cid }, 'own block not checked');
      }
  };
  const blaming = new Set<Promise<void>>();
  /** Nobody waits for it. */
  const blameSoon = (peerId: PeerId, cids: readonly Cid[]): void => {
    if (cids.length === 0 || blaming.size >= BLAMINGS_MAX) return;
    const blamed = blame(peerId, cids).finally(() => blaming.delete(blamed));
    blaming.add(blamed);
  };

  const askOne = async (
    member: Member,
    cids: readonly Cid[],
    { signal, forGood = false }: { signal: AbortSignal; forGood?: boolean },
  ): Promise<Cid[]> => {
    const { peerId } = member;
    const nonce = newNonce();
    const target = targetOf(member, 'storage', client);
    const args = { query: { forGood: String(forGood) }, body: { nonce, cids: [...cids] } };
    const [expected, answer] = await Promise.all([
      expect(peerId, cids, nonce, { signal }),
      client.call(target, storageRoutes.proveBlocks, args, { signal }).catch((err: unknown) => {
        signal.throwIfAborted();
        log.debug({ err, peer: peerId }, 'copies not proved');
        return undefined;
      }),
    ]);
    if (answer === undefined) {
      metrics.copyProofs.inc({ outcome: 'unanswered' }, cids.length);
      notesOf(peerId).unanswered += 1;
      return [];
    }
    const wrong: Cid[] = [];
    const proved = cids.filter((cid, index) => {
      const wanted = expected[index] ?? NO_PROOF;
      const given = answer.proofs[index] ?? NO_PROOF;
      if (wanted === NO_PROOF) return false; // not here: there is nothing to compare with
      if (given === NO_PROOF) {
        metrics.copyProofs.inc({ outcome: 'absent' });
        return false;
      }
      if (given !== wanted) {
        wrong.push(cid);
        return false;
      }
      metrics.copyProofs.inc({ outcome: 'proved' });
      notesOf(peerId).proved += 1;
      return true;
    });
    blameSoon(peerId, wrong);
    return proved;
  };

  return {
    async ask(asks, options) {
      const proved = new Map<Cid, Member[]>();
      await Promise.all(
        [...asks].map(async ([member, cids]) => {
          if (member.state !== 'alive' || cids.length === 0) return;
          for (let at = 0; at < cids.length; at += CIDS_PER_BATCH_MAX) {
            const batch = cids.slice(at, at + CIDS_PER_BATCH_MAX);
            for (const cid of await askOne(member, batch, options))
              proved.set(cid, [...(proved.get(cid) ?? []), member]);
          }
        }),
      );
      return proved;
    },
    question(holder, cids, { signal }) {
      const nonce = newNonce();
      const expecting = expect(holder, cids, nonce, { signal });
      expecting.catch(() => undefined); // told to who checks
      return {
        nonce,
        async check(proofs, isClaimed) {
          const expected = await expecting;
          const wrong: Cid[] = [];
          const isProvedAt = cids.map((cid, index) => {
            const wanted = expected[index] ?? NO_PROOF;
            const given = proofs?.[index] ?? NO_PROOF;
            const isProved = wanted !== NO_PROOF && given === wanted;
            // That it has what it was sent a moment ago speaks neither for nor against the rest.
            if (isProved) metrics.copyProofs.inc({ outcome: 'proved' });
            else if (!isClaimed(index)) metrics.copyProofs.inc({ outcome: 'absent' });
            // An earlier version gives no proofs at all: its copies don't count, and it did not lie.
            else if (proofs === undefined) metrics.copyProofs.inc({ outcome: 'unanswered' });
            else if (wanted !== NO_PROOF) wrong.push(cid);
            return isProved;
          });
          blameSoon(holder, wrong);
          return isProvedAt;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(blaming);
      stop.abort(new Error('stopping'));
      await reporting;
    },
  };
}

const newNonce = (): Nonce => randomBytes(16).toString('base64url');
