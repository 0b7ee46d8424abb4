/**
 * How safe files are: asks the members, and reads the answer off the table of what they said.
 *
 * Answers of just now and earlier announcements are read alike, once: a number is what the table
 * says at that moment, with its date. Asking takes a bounded time, however many files a list has and
 * however slow a member is; older answers are given with their date.
 */
import { countBits, decodeBits } from '@shoal/blocks';
import type {
  Cid,
  FileEntry,
  FileHash,
  FileHealth,
  HaveAnswer,
  Member,
  PeerId,
  Pin,
  ProofState,
} from '@shoal/protocol';
import { WANT_ROOTS_MAX } from '@shoal/protocol';
import { countCopies, type Holding, oldestCheck } from './count-copies.ts';
import type { Holders } from './holders.ts';
import type { ReadHaveMap } from './own-have-maps.ts';
import type { PinAges } from '../pins/pin-ages.ts';
import type { PageAsked } from '../pins/pin-store.ts';
import type { PinReader } from '../pins/pin-reader.ts';
import { ANSWER_AGE_MAX_MS, type Standing, standingOf } from './standing.ts';
import type { Want } from './want.ts';

/** Longest wait for the members' answers to one question. */
const ANSWERS_TIMEOUT_MS = 1500;
/** No further question of a list is put after this long; a member that hangs costs each its time-out. */
const ASKING_MAX_MS = 4000;
/** Answers that a list may rest on without asking again: of files that lack something… */
const FRESH_MOVING_MS = 2000;
/** …and of safe ones, half of what they are good for, since others are asked before them. */
const FRESH_SAFE_MS = ANSWER_AGE_MAX_MS / 2;

/** A file that was uploaded or changed less long ago is not asked proofs of when somebody looks at it. */
const UNASKED_FOR_MS = 30_000;
/** So long a proof of some blocks of a file speaks for what its holder says of the others. */
const PROVED_FOR_MS = 3_600_000;

export interface Health {
  /** @throws FileNotFound, FileGone */
  examine(hash: FileHash, signal: AbortSignal): Promise<FileHealth>;
  list(
    page: PageAsked,
    signal: AbortSignal,
  ): Promise<{ total: number; files: FileEntry[]; next: string | undefined }>;
  /** The same of the deleted files that can be brought back. */
  listDeleted: Health['list'];
  /** Where these files stand, in their order, from answers that are still fresh or given now. */
  inspect(pins: readonly Pin[], signal: AbortSignal): Promise<FileEntry[]>;
}

export function createHealth(deps: {
  readonly self: PeerId;
  /** @throws FileNotFound, FileGone */
  readonly search: (hash: FileHash, options: { signal: AbortSignal }) => Promise<Pin>;
  readonly reader: Pick<PinReader, 'newest' | 'recoverable'>;
  readonly want: Want;
  readonly holders: Holders;
  readonly ages: PinAges;
  readonly readHaveMap: ReadHaveMap;
  readonly members: () => Member[];
  /** Whether a member that is not down can be asked at this moment, as far as is known. */
  readonly isReachable: (member: Member) => boolean;
  /** Whether this peer has not heard from the others since its start. */
  readonly isJoining: () => boolean;
  readonly newForMs: number;
  /** Has those who say that they hold blocks of a file prove some. */
  readonly prove: (pin: Pin, options: { signal: AbortSignal }) => Promise<void>;
  /** Whether a member proved lately what it says of files. */
  readonly isSampled: (peerId: PeerId) => boolean;
}): Health {
  const { self, search, reader, want, holders, ages, readHaveMap, members, isReachable, newForMs } =
    deps;

  /** From what was said since then, when that is given. */
  const standing = (pin: Pin, all: readonly Member[], sinceMs?: number): Standing => {
    const nowMs = holders.clock();
    return standingOf(pin, {
      holders,
      members: all,
      isReachable,
      isJoining: deps.isJoining(),
      isYoung: (each) => ages.isYoung(each, newForMs),
      knownForMs: (each) => ages.knownForMs(each),
      nowMs,
      wallMs: Date.now(),
      ...(sinceMs === undefined ? {} : { ageMaxMs: nowMs - sinceMs }),
    });
  };
  const entryOf = (pin: Pin, { state, causes, copies, atMs }: Standing): FileEntry => {
    const { root: cid, kind, name, sizeBytes, sha256, blocks, replicas, expiresAtMs } = pin;
    const createdAtMs = ages.createdAtMs(pin);
    const fixed = { cid, kind, name, sizeBytes, sha256, blocks, replicas, createdAtMs };
    const dated = atMs === undefined ? {} : { verifiedAtMs: wallTimeOf(atMs) };
    return { ...fixed, expiresAtMs, state, causes, copies, ...dated };
  };
  const wallTimeOf = (atMs: number): number =>
    Math.max(0, Math.floor(Date.now() - (holders.clock() - atMs)));
  /** Our own holding, read now: it has no age, unless storage does not answer. */
  const readOwn = async (root: Cid): Promise<void> => {
    const atMs = holders.clock();
    const { haveMap, readAtMs } = await readHaveMap(root);
    if (haveMap !== 'unread') holders.note(root, self, haveMap, { atMs, readAtMs });
  };
  /** Whether somebody who could answer should be asked, before a list tells of this file. */
  const isStale = (pin: Pin, all: readonly Member[]): boolean => {
    const freshMs = standing(pin, all).state === 'safe' ? FRESH_SAFE_MS : FRESH_MOVING_MS;
    const nowMs = holders.clock();
    return all.some(({ peerId, state, isSelf }) => {
      if (isSelf || state !== 'alive') return false;
      const last = holders.last(pin.root, peerId);
      return last?.isCurrent !== true || nowMs - last.atMs > freshMs;
    });
  };

  const inspect = async (page: readonly Pin[], signal: AbortSignal): Promise<FileEntry[]> => {
    const startMs = holders.clock();
    const entries: FileEntry[] = [];
    for (let from = 0; from < page.length; from += WANT_ROOTS_MAX) {
      const some = page.slice(from, from + WANT_ROOTS_MAX);
      const before = members();
      const isLate = holders.clock() - startMs > ASKING_MAX_MS;
      const stale = isLate ? [] : some.filter((pin) => isStale(pin, before));
      const roots = stale.map(({ root }) => root);
      await Promise.all([
        ...some.map(({ root }) => readOwn(root)),
        roots.length === 0 ? undefined : want(roots, { timeoutMs: ANSWERS_TIMEOUT_MS, signal }),
      ]);
      // Read off at once: the table keeps a bounded number of roots.
      const after = members();
      entries.push(...some.map((pin) => entryOf(pin, standing(pin, after))));
    }
    return entries;
  };

  return {
    async examine(hash, signal) {
      const pin = await search(hash, { signal });
      const startMs = holders.clock();
      await Promise.all([
        readOwn(pin.root),
        want([pin.root], { timeoutMs: ANSWERS_TIMEOUT_MS, signal }),
      ]);
      // A file that was uploaded just now was proved with the offer, and is sampled a little later.
      if (!ages.isYoung(pin, UNASKED_FOR_MS)) await deps.prove(pin, { signal });
      const all = members();
      const domains = new Map(all.map(({ peerId, domain }) => [peerId, domain]));
      const found = standing(pin, all, startMs);
      const now = found.holdings.filter(({ atMs }) => atMs >= startMs);
      const { copies, disks, machines, holdings, unproved } = found;
      const proofOf = (peerId: PeerId): ProofState => {
        if (peerId === self) return 'own';
        if (unproved.some((each) => each.peerId === peerId)) return 'failed';
        const proof = holders.last(pin.root, peerId)?.proof;
        const isProved = proof !== undefined && holders.clock() - proof.atMs <= PROVED_FOR_MS;
        if (isProved) return 'proved';
        return deps.isSampled(peerId) ? 'sampled' : 'claimed';
      };
      const count = (some: readonly Holding[]) =>
        countCopies(pin.blocks, some, (peerId) => domains.get(peerId)).copies;
      const claims = [...holdings, ...unproved];
      return {
        ...entryOf(pin, found),
        confirmed: count(now),
        claimed: count(claims),
        proved: count(holdings.filter(({ peerId }) => proofOf(peerId) !== 'claimed')),
        survivesPeers: Math.max(0, copies - 1),
        disks,
        machines,
        verifiedAtMs: wallTimeOf(found.atMs ?? startMs),
        ...oldestCheck(holdings),
        holders: claims.map(({ peerId, haveMap, atMs }) => {
          const blocks = countBits(decodeBits(haveMap.bits, haveMap.blocks));
          const share = blocks / haveMap.blocks;
          const answeredAtMs = wallTimeOf(atMs);
          const proof = proofOf(peerId);
          const provedAtMs = holders.last(pin.root, peerId)?.proof?.atMs;
          const dated =
            proof === 'proved' && provedAtMs !== undefined
              ? { provedAtMs: wallTimeOf(provedAtMs) }
              : {};
          return { peerId, blocks, share, haveMap, answeredAtMs, proof, ...dated };
        }),
      };
    },
    async list(page, signal) {
      const { total, pins: found, next } = reader.newest(page);
      return { total, files: await inspect(found, signal), next };
    },
    async listDeleted(page, signal) {
      const { total, files, next } = reader.recoverable(page);
      const entries = await inspect(
        files.map(({ pin }) => pin),
        signal,
      );
      const dated = entries.map((entry, index) => {
        const { deletedAtMs, purgeAtMs } = files[index] ?? {};
        return { ...entry, deletedAtMs, purgeAtMs };
      });
      return { total, files: dated, next };
    },
    inspect,
  };
}

/** Answers of members that are not up are worth nothing now. */
export function onlyUp(answers: readonly HaveAnswer[], members: readonly Member[]): HaveAnswer[] {
  const up = new Set(members.filter(({ state }) => state === 'alive').map(({ peerId }) => peerId));
  return answers.filter(({ peerId }) => up.has(peerId));
}
