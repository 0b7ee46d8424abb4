/**
 * How safe one file is, in detail: all members are asked for it now, and to prove some of what they say. Makes the
 * answer of `FileHealth`, field by field.
 */
import { countBits, decodeBits } from '@shoal/blocks';
import type { FileHealth, Member, PeerId, Pin, ProofState } from '@shoal/protocol';
import type { Holders } from '../holders/holders.ts';
import type { Refresh } from '../holders/refresh.ts';
import type { PinAges } from '../pins/pin-ages.ts';
import type { Opinions } from '../trust/opinions.ts';
import type { Proving } from '../trust/proving.ts';
import { countCopies, type Holding, oldestCheck } from './count-copies.ts';
import type { FileStates } from './file-states.ts';
import type { Standing } from './standing.ts';

/** No proofs are asked for, when a user looks at it, of a file that was uploaded or changed less long ago. */
const UNASKED_FOR_MS = 30_000;
/** How long a proof of some blocks of a file speaks for what its holder says of the others. */
const PROVED_FOR_MS = 3_600_000;
/** Counts as proved: there is more than the word of the peer. */
const PROVEN: ReadonlySet<ProofState> = new Set(['own', 'proved', 'sampled']);

export interface ExamineDeps {
  readonly self: PeerId;
  readonly refresh: Refresh;
  readonly holders: Pick<Holders, 'last' | 'clock'>;
  readonly states: FileStates;
  readonly ages: PinAges;
  readonly members: () => Member[];
  readonly proving: Pick<Proving, 'look'>;
  readonly opinions: Pick<Opinions, 'isSampled'>;
}

export async function examine(
  pin: Pin,
  deps: ExamineDeps,
  { signal }: { signal: AbortSignal },
): Promise<FileHealth> {
  const { refresh, holders, states, ages, proving } = deps;
  const startMs = holders.clock();
  await refresh({ own: [pin.root], members: [pin.root] }, { signal });
  // The copies of a file that was just uploaded were proved with the offer, and are sampled a little later.
  if (!ages.isYoung(pin, UNASKED_FOR_MS)) await proving.look(pin, { signal });
  const members = deps.members();
  const found = states.of(pin, members, startMs);
  const { copies, disks, machines, holdings, unproved } = found;
  const claims = [...holdings, ...unproved].map((claim) => ({
    ...claim,
    evidence: evidenceFor(pin, claim.peerId, found, deps),
  }));
  const domains = new Map(members.map(({ peerId, domain }) => [peerId, domain]));
  const count = (some: readonly Holding[]) =>
    countCopies(pin.blocks, some, (peerId) => domains.get(peerId)).copies;
  return {
    ...states.entryOf(pin, found),
    confirmed: count(holdings.filter(({ atMs }) => atMs >= startMs)),
    claimed: count(claims),
    proved: count(claims.filter(({ evidence }) => PROVEN.has(evidence.proof))),
    survivesPeers: Math.max(0, copies - 1),
    disks,
    machines,
    verifiedAtMs: states.wallTimeOf(found.atMs ?? startMs),
    ...oldestCheck(holdings),
    holders: claims.map(({ peerId, haveMap, atMs, evidence }) => {
      const blocks = countBits(decodeBits(haveMap.bits, haveMap.blocks));
      const share = blocks / haveMap.blocks;
      const answeredAtMs = states.wallTimeOf(atMs);
      return { peerId, blocks, share, haveMap, answeredAtMs, ...evidence };
    }),
  };
}

/** The evidence for the copy that a peer says it holds. */
function evidenceFor(
  pin: Pin,
  peerId: PeerId,
  { unproved }: Standing,
  { self, holders, states, opinions }: ExamineDeps,
): { readonly proof: ProofState; readonly provedAtMs?: number } {
  if (peerId === self) return { proof: 'own' };
  if (unproved.some((each) => each.peerId === peerId)) return { proof: 'failed' };
  const proof = holders.last(pin.root, peerId)?.proof;
  if (proof !== undefined && holders.clock() - proof.atMs <= PROVED_FOR_MS)
    return { proof: 'proved', provedAtMs: states.wallTimeOf(proof.atMs) };
  return { proof: opinions.isSampled(peerId) ? 'sampled' : 'claimed' };
}
