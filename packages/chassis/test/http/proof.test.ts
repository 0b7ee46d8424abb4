import { describe, expect, it } from '@jest/globals';
import { PROOF_HEADER, PeerId, ProofRefused } from '@shoal/protocol';
import { createProver } from '../../src/index.ts';

const alice = PeerId.parse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5');
const bob = PeerId.parse('12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X');
const key = Buffer.alloc(32, 7);
const [aliceSecret, bobSecret] = [Buffer.alloc(64, 1), Buffer.alloc(64, 2)];
const request = { method: 'POST', path: '/replicas?x=1', body: '{"a":1}' };

describe('the proof', () => {
  const header = createProver(key, alice, aliceSecret).prove(bob, request)[PROOF_HEADER];
  const atBob = createProver(key, bob, bobSecret);

  it('names its maker', () => {
    expect(atBob.check(header, request)).toBe(alice);
  });

  it.each([
    ['another path', { ...request, path: '/replicas?x=2' }],
    ['another method', { ...request, method: 'DELETE' }],
    ['another body', { ...request, body: '{"a":2}' }],
    ['no body', { ...request, body: undefined }],
  ])('does not stand for %s', (_, other) => {
    expect(() => atBob.check(header, other)).toThrow(ProofRefused);
  });

  it('is worth nothing at another peer, from another peer, or in another swarm', () => {
    expect(() => createProver(key, alice, aliceSecret).check(header, request)).toThrow(
      ProofRefused,
    );
    expect(() => atBob.check(header?.replace(alice, bob), request)).toThrow(ProofRefused);
    expect(() => createProver(Buffer.alloc(32, 8), bob, bobSecret).check(header, request)).toThrow(
      ProofRefused,
    );
  });

  it('of a peer to itself can’t be made by another member', () => {
    const own = createProver(key, bob, bobSecret).prove(bob, request)[PROOF_HEADER];
    expect(atBob.check(own, request)).toBe(bob);
    const posing = createProver(key, bob, aliceSecret).prove(bob, request)[PROOF_HEADER];
    expect(() => atBob.check(posing, request)).toThrow(ProofRefused);
  });

  it.each([undefined, '', 'v1', `v1 ${alice}`, `v2 ${header}`, 'v1 x y', `v1 ${alice} ====`])(
    'is refused when it is %j',
    (bad) => {
      expect(() => atBob.check(bad, request)).toThrow(ProofRefused);
    },
  );
});
