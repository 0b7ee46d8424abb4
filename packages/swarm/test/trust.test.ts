import { describe, expect, it } from '@jest/globals';
import type { Cid, PeerId } from '@shoal/protocol';
import { createTrust, type ProofOutcome } from '../src/trust.ts';

const PEER = 'peer' as PeerId; // any text does here
const block = (index: number) => `block-${index}` as Cid;
const blocks = (...indexes: number[]) => indexes.map(block);
const SILENT_AFTER_MS = 60_000;

function trustAfter(...outcomes: readonly ProofOutcome[]) {
  const trust = createTrust({ silentAfterMs: SILENT_AFTER_MS });
  const changes = outcomes.map((outcome, atMs) => trust.note(PEER, outcome, atMs));
  return { trust, changes, isDistrusted: trust.isDistrusted(PEER) };
}

describe('trust', () => {
  it('is given before anything was asked, and taken when several blocks fail', () => {
    expect(trustAfter().isDistrusted).toBe(false);
    expect(trustAfter().trust.figures(PEER)).toBeUndefined();
    const { trust, changes } = trustAfter(
      { failed: blocks(1) },
      { failed: blocks(2) },
      { failed: blocks(3), proved: 1 },
    );
    expect(changes).toEqual([false, false, true]);
    expect(trust.isDistrusted('other' as PeerId)).toBe(false);
    expect(trust.figures(PEER)).toEqual({
      claimed: 4,
      proved: 1,
      failed: 3,
      unanswered: 0,
      failedAtMs: 2,
      provedAtMs: 2,
    });
  });

  it('stays through a few bad blocks, however often they are asked for', () => {
    const again = Array.from({ length: 50 }, () => ({ failed: blocks(1, 2) }));
    expect(trustAfter(...again).isDistrusted).toBe(false);
    expect(trustAfter({ proved: 28 }, { failed: blocks(1, 2, 3) }).isDistrusted).toBe(false);
    expect(trustAfter({ proved: 8 }, { failed: blocks(1, 2, 3) }).isDistrusted).toBe(true);
  });

  it('comes back with blocks that are proved after all, or with many others', () => {
    const failing = { failed: blocks(1, 2, 3) };
    expect(trustAfter(failing, { mended: blocks(2) }).changes).toEqual([true, true]);
    expect(trustAfter(failing, { proved: 12 }).isDistrusted).toBe(true);
    expect(trustAfter(failing, { proved: 13 }).isDistrusted).toBe(false);
    expect(trustAfter(failing, { proved: 1000 }, { failed: blocks(4, 5) }).isDistrusted).toBe(
      false,
    );
  });

  it('is taken from who answers nothing for as long as one that is away is waited for', () => {
    const trust = createTrust({ silentAfterMs: SILENT_AFTER_MS });
    for (let at = 0; at < 8; at += 1) expect(trust.note(PEER, { unanswered: 1 }, at)).toBe(false);
    expect(trust.note(PEER, { unanswered: 1 }, SILENT_AFTER_MS)).toBe(true);
    expect(trust.note(PEER, { proved: 1 }, SILENT_AFTER_MS + 1)).toBe(true);
    // A few questions that were lost over a long time are no silence.
    for (let at = 1; at < 5; at += 1)
      expect(trust.note(PEER, { unanswered: 1 }, at * SILENT_AFTER_MS * 2)).toBe(false);
  });
});
