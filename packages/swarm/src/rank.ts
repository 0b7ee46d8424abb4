/**
 * In which order to ask the peers that may hold a block, learned from how they answered before.
 *
 * Policy alone: what was measured comes in as arguments, the clock too. A peer costs what a block
 * from it takes now: its usual time, times the requests it already has. That decides between peers that
 * are as likely to have it; one that said so comes before one that is only guessed to, however fast. Two
 * failures in a row put a peer behind all others, and each makes it look slower until it answers; wrong bytes put it last for a long while. Nobody is ever
 * left out: the last holder of a block is asked even when it lied before, since its bytes are verified anyway.
 * An honest "I don't have it" says nothing about how a peer answers, and is no failure.
 *
 * Hedging (Dean & Barroso, "The Tail at Scale", 2013): a block that takes longer than nearly all
 * blocks from that peer took is asked of a second one. Hedges are budgeted as a share of requests;
 * over-asking wastes more than it saves.
 */
import type { PeerId } from '@shoal/protocol';

/**
 * Answers remembered for each peer: enough for a 95th percentile, forgotten within seconds of load.
 * Past it: the oldest is forgotten.
 */
const SAMPLES_MAX = 32;
/** Assumed for a peer that was never asked: little, so that a peer that joins is used at once. */
const UNKNOWN_DURATION_MS = 1;
/**
 * Failures in a row after which a peer goes behind the others.
 * Past it: the peer is asked after the others for `STRIKE_TIME_MS`, 15 s.
 */
const STRIKES_MAX = 2;
/** A peer with strikes is tried first again after this long. */
const STRIKE_TIME_MS = 15_000;
/** A peer that sent wrong bytes goes last for this long. */
const BAN_TIME_MS = 10 * 60_000;
/** Bounds of the hedge delay; below, scheduling noise would hedge, above, the reader waits too long. */
const HEDGE_DELAY_MIN_MS = 150;
/** Before a second provider is asked. Past it: asked, within the budget. */
const HEDGE_DELAY_MAX_MS = 1500;
const HEDGE_DELAY_UNKNOWN_MS = 400;
/** Hedges may be this share of all requests…. Past it: the first provider is waited for. */
const HEDGE_SHARE_MAX = 0.05;
/**
 * …plus these, so that the first window of a download can move away from a peer that hangs.
 * Past it: the first provider is waited for.
 */
const HEDGES_FREE = 16;
/**
 * Peers remembered: past that, the one that was longest not asked is forgotten.
 * Past it: the one that was longest not asked is forgotten.
 */
const PEERS_MAX = 2000;

/** How one request ended. `absent`, it doesn't have the block, and `cancelled` say nothing about the peer. */
export type Outcome = 'verified' | 'absent' | 'failed' | 'corrupt' | 'cancelled';

/** How a peer is judged at a moment. */
export interface Standing {
  /** 0: it answers. 1: it failed twice in a row. 2: it sent wrong bytes. */
  readonly tier: number;
  /** The time that a block from it takes now, about. */
  readonly costMs: number;
}

interface Score {
  inFlight: number;
  strikes: number;
  strickenAtMs: number;
  bannedUntilMs: number;
  durationsMs: number[];
}

export interface Ranking {
  /** Notes that a request goes out. */
  started(peer: PeerId): void;
  /** Notes how it ended. */
  ended(peer: PeerId, outcome: Outcome, durationMs: number, nowMs: number): void;
  /** The peer came back: how it answered before says nothing about it now. A ban stays. */
  forgive(peer: PeerId): void;
  /**
   * The candidates, best first: by tier, then doubt, then cost. `doubt` is 0, or left out, of one that said that it
   * has the block, and more the less likely that is. Equals stay in their order.
   */
  order<C extends { readonly peerId: PeerId; readonly doubt?: number }>(
    candidates: readonly C[],
    nowMs: number,
  ): C[];
  standing(peer: PeerId, nowMs: number): Standing;
  /** How long to wait for this peer before a second one is asked, in milliseconds. */
  hedgeDelayMs(peer: PeerId): number;
  /** Takes one hedge from the budget; false when it is used up. */
  takeHedge(): boolean;
}

export function createRanking(): Ranking {
  const scores = new Map<PeerId, Score>();
  let requests = 0;
  let hedges = 0;

  const scoreOf = (peer: PeerId): Score => {
    const known = scores.get(peer);
    const score = known ?? {
      inFlight: 0,
      strikes: 0,
      strickenAtMs: 0,
      bannedUntilMs: 0,
      durationsMs: [],
    };
    scores.delete(peer); // set again below: a Map keeps its order of insertion, oldest first
    scores.set(peer, score);
    if (scores.size > PEERS_MAX) {
      const [oldest] = scores.keys();
      if (oldest !== undefined) scores.delete(oldest);
    }
    return score;
  };
  const tier = (score: Score | undefined, nowMs: number): number => {
    if (score === undefined) return 0;
    if (nowMs < score.bannedUntilMs) return 2;
    return score.strikes >= STRIKES_MAX && nowMs < score.strickenAtMs + STRIKE_TIME_MS ? 1 : 0;
  };
  const cost = (score: Score | undefined): number => {
    const usualMs = quantile(score?.durationsMs ?? [], 0.5) ?? UNKNOWN_DURATION_MS;
    return (1 + (score?.inFlight ?? 0)) * Math.max(1, usualMs) * (1 + (score?.strikes ?? 0));
  };

  const standing = (peer: PeerId, nowMs: number): Standing => {
    const score = scores.get(peer);
    return { tier: tier(score, nowMs), costMs: cost(score) };
  };

  return {
    started(peer) {
      requests += 1;
      scoreOf(peer).inFlight += 1;
    },
    ended(peer, outcome, durationMs, nowMs) {
      const score = scoreOf(peer);
      score.inFlight = Math.max(0, score.inFlight - 1);
      if (outcome === 'cancelled' || outcome === 'absent') return;
      if (outcome === 'verified') {
        score.strikes = 0;
        score.durationsMs.push(durationMs);
        if (score.durationsMs.length > SAMPLES_MAX) score.durationsMs.shift();
        return;
      }
      score.strikes += 1;
      score.strickenAtMs = nowMs;
      if (outcome === 'corrupt') score.bannedUntilMs = nowMs + BAN_TIME_MS;
    },
    forgive(peer) {
      const score = scores.get(peer);
      if (score === undefined) return;
      score.strikes = 0;
      score.durationsMs = [];
    },
    order(candidates, nowMs) {
      return candidates
        .map((candidate) => ({
          candidate,
          doubt: candidate.doubt ?? 0,
          ...standing(candidate.peerId, nowMs),
        }))
        .toSorted((a, b) => a.tier - b.tier || a.doubt - b.doubt || a.costMs - b.costMs)
        .map(({ candidate }) => candidate);
    },
    standing,
    hedgeDelayMs(peer) {
      const p95 = quantile(scores.get(peer)?.durationsMs ?? [], 0.95);
      if (p95 === undefined) return HEDGE_DELAY_UNKNOWN_MS;
      return Math.min(HEDGE_DELAY_MAX_MS, Math.max(HEDGE_DELAY_MIN_MS, 2 * p95));
    },
    takeHedge() {
      if (hedges >= HEDGES_FREE + HEDGE_SHARE_MAX * requests) return false;
      hedges += 1;
      return true;
    },
  };
}

/** The value below which a share `q` of the samples lie; undefined without samples. */
function quantile(samples: readonly number[], q: number): number | undefined {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
