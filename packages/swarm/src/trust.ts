/**
 * Whose word counts: what members proved of what they say they hold, and who can't be believed.
 *
 * One wrong proof may be a bad sector, which the peer itself will find. A peer is distrusted when several
 * different blocks failed and they are a good part of what it was asked lately; and when it did not answer
 * at all for as long as a peer that is away is waited for. It is trusted again by the same rule: what it
 * proves pushes out what it failed. Nothing of this is sent to others: each peer believes what it saw.
 *
 * Times are milliseconds of one monotonic clock that the caller reads.
 */
import type { Cid, PeerId } from '@shoal/protocol';
import { MEMBERS_MAX } from './member-table.ts';

/** Outcomes that decide, the latest. Past it: older ones don't count. */
const OUTCOMES_MAX = 32;
/** Different blocks that must have failed… */
const FAILED_MIN = 3;
/** …and their share of the outcomes. A disk that loses a fifth of its blocks is not to be relied on either. */
const FAILED_SHARE_MIN = 0.2;
/** Questions in a row without an answer, at least. */
const UNANSWERED_MIN = 8;

/** The outcome of asking a member. */
export interface ProofOutcome {
  /** Blocks that it proved and had not failed before. */
  readonly proved?: number;
  /** Blocks that it proved and may have failed before. */
  readonly mended?: readonly Cid[];
  /** Blocks that it said it holds and could not prove. */
  readonly failed?: readonly Cid[];
  /** Blocks that it said it holds, and no longer when it was to prove them. */
  readonly denied?: number;
  /** Questions that it did not answer. */
  readonly unanswered?: number;
}

/** Sums since this peer started. */
export interface ProofFigures {
  /** Blocks that it was asked to prove since it said that it holds them. */
  readonly claimed: number;
  readonly proved: number;
  readonly failed: number;
  readonly unanswered: number;
  /** When it last failed or proved something; undefined before. */
  readonly failedAtMs: number | undefined;
  readonly provedAtMs: number | undefined;
}

export interface Trust {
  /** Takes in what came of a question; true when the member is distrusted from now on, or no longer. */
  note(peerId: PeerId, outcome: ProofOutcome, nowMs: number): boolean;
  isDistrusted(peerId: PeerId): boolean;
  /** Undefined of who was never asked. */
  figures(peerId: PeerId): ProofFigures | undefined;
}

interface Account {
  figures: ProofFigures;
  /** The latest last: the block that failed, or undefined for one that was proved. */
  outcomes: (Cid | undefined)[];
  silence: { questions: number; sinceMs: number } | undefined;
  isDistrusted: boolean;
}

/** @param silentAfterMs How long a member may leave all questions unanswered. */
export function createTrust({ silentAfterMs }: { readonly silentAfterMs: number }): Trust {
  const accounts = new Map<PeerId, Account>();

  const accountOf = (peerId: PeerId): Account => {
    const known = accounts.get(peerId);
    if (known !== undefined) return known;
    const figures = { claimed: 0, proved: 0, failed: 0, unanswered: 0 };
    const account: Account = {
      figures: { ...figures, failedAtMs: undefined, provedAtMs: undefined },
      outcomes: [],
      silence: undefined,
      isDistrusted: false,
    };
    const [oldest] = accounts.keys();
    if (accounts.size >= MEMBERS_MAX && oldest !== undefined) accounts.delete(oldest);
    accounts.set(peerId, account);
    return account;
  };
  const isUnreliable = ({ outcomes, silence }: Account, nowMs: number): boolean => {
    const failed = outcomes.filter((cid) => cid !== undefined).length;
    if (failed >= FAILED_MIN && failed >= FAILED_SHARE_MIN * outcomes.length) return true;
    if (silence === undefined || silence.questions < UNANSWERED_MIN) return false;
    return nowMs - silence.sinceMs >= silentAfterMs;
  };

  return {
    note(peerId, { proved = 0, mended = [], failed = [], denied = 0, unanswered = 0 }, nowMs) {
      const account = accountOf(peerId);
      const provedBlocks = proved + mended.length;
      const old = account.figures;
      account.figures = {
        claimed: old.claimed + provedBlocks + failed.length + denied,
        proved: old.proved + provedBlocks,
        failed: old.failed + failed.length,
        unanswered: old.unanswered + unanswered,
        failedAtMs: failed.length > 0 ? nowMs : old.failedAtMs,
        provedAtMs: provedBlocks > 0 ? nowMs : old.provedAtMs,
      };
      // A block counts once: the last proof of it decides, and failing it again is not worse.
      const named = new Set<Cid | undefined>([...mended, ...failed]);
      account.outcomes = [
        ...account.outcomes.filter((cid) => cid === undefined || !named.has(cid)),
        ...Array.from({ length: Math.min(provedBlocks, OUTCOMES_MAX) }, () => undefined),
        ...new Set(failed),
      ].slice(-OUTCOMES_MAX);
      if (provedBlocks + failed.length > 0) account.silence = undefined;
      else if (unanswered > 0) {
        const { questions, sinceMs } = account.silence ?? { questions: 0, sinceMs: nowMs };
        account.silence = { questions: questions + unanswered, sinceMs };
      }
      const before = account.isDistrusted;
      account.isDistrusted = isUnreliable(account, nowMs);
      return account.isDistrusted !== before;
    },
    isDistrusted: (peerId) => accounts.get(peerId)?.isDistrusted ?? false,
    figures: (peerId) => accounts.get(peerId)?.figures,
  };
}
