/**
 * Samples of what members say they hold. In each round they are asked to prove a few blocks that we hold
 * as well, of files that come in turn, so that a member which throws away what it took is found out
 * before anybody relies on it. Failed blocks are asked for again first: a damaged block that was mended, or a
 * claim that was taken back, ends it.
 *
 * "I don't have it" is no lie, for the have-map that said otherwise may be older. A peer that says again and
 * again that it has a block, and each time that it does not when asked to prove it, fails.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { decodeBits, getBit } from '@shoal/blocks';
import type { Log, Loops, PeerClient } from '@shoal/chassis';
import {
  type BlockPlace,
  type Cid,
  type HaveMap,
  type Member,
  NO_PROOF,
  type PeerId,
  type Pin,
  storageRoutes,
} from '@shoal/protocol';
import type { Holders } from '../holders/holders.ts';
import type { Metrics } from '../metrics.ts';
import type { Opinions } from './opinions.ts';
import type { Want } from '../holders/want.ts';
import { shuffle } from '../members/shuffle.ts';

/** Files of a round. */
const ROOTS_MAX = 16;
/** Members asked in a round, one after the other; with more of them rounds are rarer as well. */
const MEMBERS_PER_ROUND = 8;
/** Blocks that a member is asked for in a round, those that it failed before among them. */
const BLOCKS_PER_QUESTION = 24;
const AGAIN_PER_QUESTION = 8;
/** Of those, the ones that were denied and not yet often enough to fail. */
const UNDECIDED_PER_QUESTION = 4;
/** Places in a file that are looked at to find one block that both hold. */
const STEPS_MAX = 4096;
/** Blocks to ask for again, over all members. */
const AGAIN_MAX = 1024;
/** How often a block may be claimed, and denied when a proof is asked for. */
const DENIALS_MAX = 3;
const WANT_TIMEOUT_MS = 1500;
const CALL_TIMEOUT_MS = 3000;
/** Blocks of one file that are asked for when somebody looks at it… */
const BLOCKS_OF_FILE = 2;
/** …unless that was done this long ago, */
const PROOF_FRESH_MS = 60_000;
/** and this many files at once; past that health is answered from earlier proofs. */
const LOOKS_MAX = 8;
/** Blocks that a member is blamed for after one question: each costs us a read of all of it. */
const ACCUSED_MAX = 8;
/** Damaged copies that are reported to a peer from one question. */
const REPORTS_MAX = 4;

export interface Proving extends Disposable {
  /** Asks those who say that they hold blocks of this file to prove some, unless they did a moment ago. */
  look(pin: Pin, options: { signal: AbortSignal }): Promise<void>;
  /** One round now: for tests. */
  round(): Promise<void>;
}

/** `untold`: we don't have the block any more, so nobody can tell. */
type Outcome = 'proved' | 'failed' | 'denied' | 'untold';

interface Compared {
  readonly place: BlockPlace;
  /** Of one that could be compared. */
  readonly cid?: Cid;
  readonly outcome: Outcome;
}

/** A block that failed, or was denied, and how often. */
interface Doubt {
  readonly peerId: PeerId;
  readonly place: BlockPlace;
  readonly denials: number;
}

export function startProving(deps: {
  readonly self: PeerId;
  readonly client: PeerClient;
  readonly holders: Pick<Holders, 'last' | 'noteProof' | 'clock'>;
  readonly opinions: Pick<Opinions, 'note'>;
  readonly readOwn: (root: Cid) => Promise<void>;
  readonly want: Want;
  readonly members: () => readonly Member[];
  /** Pins in the order of their roots, from one on. */
  readonly page: (after: string, limit: number) => { pins: readonly Pin[]; next?: string };
  readonly metrics: Pick<Metrics, 'proofs'>;
  readonly loops: Loops;
  readonly log: Log;
  readonly intervalMs: number;
}): Proving {
  const { self, client, holders, opinions, want, metrics, log } = deps;
  const stop = new AbortController();
  const doubts = new Map<string, Doubt>();
  let after: string | undefined = '';
  let turn = 0;
  let looks = 0;

  const keyOf = (peerId: PeerId, { root, index }: BlockPlace) => `${peerId} ${root} ${index}`;
  const bitsOf = (root: Cid, peerId: PeerId): Bits | undefined => {
    const said = holders.last(root, peerId);
    return said?.isCurrent === true && said.haveMap !== undefined
      ? readBits(said.haveMap)
      : undefined;
  };
  /** Some blocks of a file that both we and a member are said to hold, at random. */
  const pick = (root: Cid, peerId: PeerId, count: number): BlockPlace[] => {
    const [own, theirs] = [bitsOf(root, self), bitsOf(root, peerId)];
    if (own === undefined || theirs === undefined || own.blocks !== theirs.blocks) return [];
    const { blocks } = own;
    const places = new Map<number, BlockPlace>();
    const both = (index: number) => getBit(own.bits, index) && getBit(theirs.bits, index);
    for (let tries = 0; tries < count; tries += 1) {
      // The next that both hold, from a place at random on; within a bound, as files may be large.
      const from = randomInt(blocks);
      for (let step = 0; step < Math.min(blocks, STEPS_MAX); step += 1) {
        const index = (from + step) % blocks;
        if (!both(index)) continue;
        places.set(index, { root, index });
        break;
      }
    }
    return [...places.values()];
  };

  /** Puts one question. Undefined when nothing came of it. */
  const ask = async (
    member: Member,
    places: readonly BlockPlace[],
    signal: AbortSignal,
  ): Promise<Compared[] | undefined> => {
    const { peerId } = member;
    const options = { signal, timeoutMs: CALL_TIMEOUT_MS };
    const storage = client.own('storage');
    const args = { body: { places: [...places] } };
    const { blocks } = await client.call(storage, storageRoutes.nameBlocks, args, options);
    const named = places.flatMap((place, index) => {
      const cid = blocks[index]?.cid;
      return cid === undefined ? [] : [{ place, cid }];
    });
    const unnamed = places
      .filter((_, index) => blocks[index]?.cid === undefined)
      .map((place): Compared => ({ place, outcome: 'untold' }));
    if (named.length === 0) return unnamed;
    const nonce = randomBytes(16).toString('base64url');
    const cids = named.map(({ cid }) => cid);
    const expecting = { body: { nonce, cids, asker: self, holder: peerId } };
    const [expected, answer] = await Promise.all([
      client.call(storage, storageRoutes.expectProofs, expecting, options),
      client
        .call(
          { peerId, origin: member.http.storage },
          storageRoutes.proveBlocks,
          { body: { nonce, cids } },
          options,
        )
        .catch((err: unknown) => {
          signal.throwIfAborted();
          log.debug({ err, peer: peerId }, 'proofs not given');
          return undefined;
        }),
    ]);
    if (answer === undefined) {
      opinions.note(peerId, { unanswered: 1 });
      return undefined;
    }
    const compared = named.map((each, index): Compared => {
      const wanted = expected.proofs[index] ?? NO_PROOF;
      if (wanted === NO_PROOF) return { place: each.place, outcome: 'untold' };
      const given = answer.proofs[index] ?? NO_PROOF;
      return {
        ...each,
        outcome: given === wanted ? 'proved' : given === NO_PROOF ? 'denied' : 'failed',
      };
    });
    const wrong = compared.filter(({ outcome }) => outcome === 'failed').slice(0, ACCUSED_MAX);
    const sound = new Set<Cid>();
    // It may be our bytes that are wrong: they are re-hashed before anybody is blamed.
    for (const { cid } of wrong) {
      if (cid === undefined) continue;
      const checked = await client.call(
        storage,
        storageRoutes.checkBlock,
        { params: { cid } },
        options,
      );
      if (checked.state === 'sound') sound.add(cid);
    }
    const told = compared.filter(
      ({ outcome, cid }) => outcome !== 'failed' || (cid !== undefined && sound.has(cid)),
    );
    return [...told, ...unnamed];
  };

  const settle = (member: Member, outcomes: readonly Compared[]): void => {
    const { peerId } = member;
    const mended: Cid[] = [];
    const failed: Cid[] = [];
    let proved = 0;
    let denied = 0;
    const refuted = new Set<Cid>();
    const untold = new Set<Cid>();
    for (const { place, cid, outcome } of outcomes) {
      const key = keyOf(peerId, place);
      const doubt = doubts.get(key);
      if (cid === undefined) {
        // Asked again without end, it would keep the file from counting for as long as it lives.
        if (doubts.delete(key)) untold.add(place.root);
        continue;
      }
      if (outcome === 'proved') {
        if (doubts.delete(key)) mended.push(cid);
        else proved += 1;
        continue;
      }
      const denials = outcome === 'denied' ? (doubt?.denials ?? 0) + 1 : 0;
      doubts.delete(key);
      const [oldest] = doubts.keys();
      if (doubts.size >= AGAIN_MAX && oldest !== undefined) doubts.delete(oldest);
      doubts.set(key, { peerId, place, denials });
      if (outcome === 'denied') metrics.proofs.inc({ outcome: 'denied' });
      if (outcome === 'denied' && denials < DENIALS_MAX) {
        denied += 1;
        continue;
      }
      failed.push(cid);
      refuted.add(place.root);
    }
    for (const { place } of outcomes)
      if (refuted.has(place.root)) holders.noteProof(place.root, peerId, false);
    // A file is proved again once nothing of it is in doubt.
    const open = new Set(
      [...doubts.values()].map((doubt) => `${doubt.peerId} ${doubt.place.root}`),
    );
    for (const root of untold)
      if (!open.has(`${peerId} ${root}`)) holders.noteProof(root, peerId, undefined);
    for (const { place, outcome } of outcomes)
      if (outcome === 'proved' && !open.has(`${peerId} ${place.root}`))
        holders.noteProof(place.root, peerId, true);
    opinions.note(peerId, { proved, mended, failed, denied });
    if (failed.length > 0) {
      log.warn(
        { peer: peerId, blocks: failed.length, cid: failed[0] },
        'peer did not prove blocks that it says it holds',
      );
      report(member, failed);
    }
  };
  /** Tells a peer of copies that seem damaged: an honest one looks, and mends them. */
  const report = (member: Member, cids: readonly Cid[]): void => {
    for (const cid of cids.slice(0, REPORTS_MAX))
      client
        .call(
          { peerId: member.peerId, origin: member.http.storage },
          storageRoutes.checkBlock,
          { params: { cid } },
          { signal: stop.signal, timeoutMs: CALL_TIMEOUT_MS },
        )
        .catch((err: unknown) => log.debug({ err, cid }, 'unproved copy not told of'));
  };
  /** Blocks that a member failed and still says it holds; of the rest there is no more doubt. */
  const again = (peerId: PeerId): BlockPlace[] => {
    const places: BlockPlace[] = [];
    const own = [...doubts].filter(([, doubt]) => doubt.peerId === peerId);
    // Denied blocks, nearest to a verdict first: in the order of the questions they would come up by chance.
    const undecided = own
      .filter(([, { denials }]) => denials > 0 && denials < DENIALS_MAX)
      .toSorted(([, one], [, other]) => other.denials - one.denials)
      .slice(0, UNDECIDED_PER_QUESTION);
    for (const [key, { place }] of new Map([...undecided, ...own])) {
      if (places.length >= AGAIN_PER_QUESTION) break;
      const said = bitsOf(place.root, peerId);
      const isClaimed =
        said !== undefined && place.index < said.blocks && getBit(said.bits, place.index);
      if (isClaimed) places.push(place);
      else {
        doubts.delete(key);
        holders.noteProof(place.root, peerId, undefined);
      }
    }
    return places;
  };

  const others = () => deps.members().filter(({ isSelf, state }) => !isSelf && state === 'alive');
  const round = async (): Promise<void> => {
    const all = others();
    if (all.length === 0) return;
    const { signal } = stop;
    const page = deps.page(after ?? '', ROOTS_MAX);
    after = page.next ?? '';
    const walked = page.pins.map(({ root }) => root);
    const doubted = [...doubts.values()].map(({ place }) => place.root).slice(0, ROOTS_MAX);
    const roots = [...new Set([...walked, ...doubted])];
    if (roots.length === 0) return;
    await Promise.all([
      ...roots.map((root) => deps.readOwn(root)),
      want(roots, { timeoutMs: WANT_TIMEOUT_MS, signal }),
    ]);
    for (let count = 0; count < Math.min(MEMBERS_PER_ROUND, all.length); count += 1) {
      const member = all[(turn + count) % all.length];
      if (member === undefined) continue;
      const places = again(member.peerId);
      // In random order: a question has no room for the last ones, and they must not be the same each time.
      for (const root of shuffle(walked)) {
        if (places.length >= BLOCKS_PER_QUESTION) break;
        places.push(...pick(root, member.peerId, BLOCKS_OF_FILE));
      }
      const outcomes = places.length === 0 ? undefined : await ask(member, unique(places), signal);
      if (outcomes !== undefined) settle(member, outcomes);
    }
    turn += MEMBERS_PER_ROUND;
  };

  const rounds = deps.loops.start({
    name: 'proving',
    everyMs: () =>
      deps.intervalMs *
      Math.max(1, others().length / MEMBERS_PER_ROUND) *
      (0.75 + Math.random() / 2),
    run: round,
    onFailure: (err) => stop.signal.aborted || log.debug({ err }, 'a round of proofs failed'),
  });
  return {
    round,
    async look({ root }, { signal: caller }) {
      if (looks >= LOOKS_MAX) return;
      const nowMs = holders.clock();
      const stale = others().flatMap((member): [Member, BlockPlace[]][] => {
        const said = holders.last(root, member.peerId);
        if (said?.proof !== undefined && nowMs - said.proof.atMs < PROOF_FRESH_MS) return [];
        const places = pick(root, member.peerId, BLOCKS_OF_FILE);
        return places.length === 0 ? [] : [[member, places]];
      });
      const signal = AbortSignal.any([stop.signal, caller]);
      looks += 1;
      try {
        await Promise.all(
          stale.slice(0, MEMBERS_PER_ROUND).map(async ([member, places]) => {
            const outcomes = await ask(member, places, signal);
            if (outcomes !== undefined) settle(member, outcomes);
          }),
        );
      } catch (err) {
        caller.throwIfAborted();
        log.debug({ err, root }, 'proofs of a file not asked for');
      } finally {
        looks -= 1;
      }
    },
    [Symbol.dispose]() {
      stop.abort(new Error('stopping'));
      rounds[Symbol.dispose]();
    },
  };
}

interface Bits {
  readonly bits: Uint8Array;
  readonly blocks: number;
}

const readBits = ({ bits, blocks }: HaveMap): Bits => ({ bits: decodeBits(bits, blocks), blocks });

const unique = (places: readonly BlockPlace[]): BlockPlace[] => [
  ...new Map(places.map((place) => [`${place.root} ${place.index}`, place])).values(),
];
