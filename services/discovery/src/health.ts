/**
 * How safe a file is: the fewest copies over its blocks, counted from what peers answered and from
 * nothing else. No answer is no copy; an optimistic number here would be a lie about somebody's data.
 */
import { countBits, decodeBits, getBit } from '@shoal/blocks';
import type {
  Cid,
  FailureDomain,
  FileEntry,
  FileHash,
  FileHealth,
  FileState,
  HaveAnswer,
  HaveMap,
  Member,
  PeerId,
  Pin,
} from '@shoal/protocol';
import { WANT_ROOTS_MAX } from '@shoal/protocol';
import type { Holders } from './holders.ts';
import type { Pins } from './pins.ts';
import type { Want } from './want.ts';

/** Longest wait for the members' answers. */
const ANSWERS_TIMEOUT_MS = 1500;
/** Answers that a list may rest on: of files that were safe, and of files that are on the move. */
const FRESH_SAFE_MS = 10_000;
const FRESH_MOVING_MS = 2000;

/** What a peer holds of a file, as it answered. */
export interface Holding {
  readonly peerId: PeerId;
  readonly haveMap: HaveMap;
}

/** Fewest copies over the blocks of a DAG, and on how many disks the worst-placed block lies. */
export function countCopies(
  blocks: number,
  holdings: readonly Holding[],
  domainOf: (peerId: PeerId) => FailureDomain | undefined,
): { copies: number; disks: number } {
  const fitting = holdings.filter(({ haveMap }) => haveMap.blocks === blocks);
  const diskNames = fitting.map(({ peerId }) => diskName(domainOf(peerId)));
  const maps = fitting.map(({ haveMap }, index) => ({
    bits: decodeBits(haveMap.bits, blocks),
    disk: diskNames.indexOf(diskNames[index] ?? ''),
  }));
  let copies = maps.length;
  let disks = new Set(diskNames).size;
  // Without a map there is nothing to look at, whatever number of blocks the pin states.
  if (copies === 0) return { copies, disks };
  const allBytes = Math.floor(blocks / 8);
  /** The block for which a disk was counted last: nothing is allocated for each of 16 Mi blocks. */
  const countedFor = new Int32Array(maps.length).fill(-1);
  for (let index = 0; index < blocks; index += 1) {
    // Eight blocks that everybody has change nothing.
    if (
      index % 8 === 0 &&
      index >> 3 < allBytes &&
      maps.every(({ bits }) => bits[index >> 3] === 0xff)
    ) {
      index += 7;
      continue;
    }
    let copiesHere = 0;
    let disksHere = 0;
    for (const { bits, disk } of maps) {
      if (!getBit(bits, index)) continue;
      copiesHere += 1;
      if (countedFor[disk] !== index) disksHere += 1;
      countedFor[disk] = index;
    }
    if (copiesHere < copies) [copies, disks] = [copiesHere, Infinity];
    if (copiesHere === copies) disks = Math.min(disks, disksHere);
  }
  return { copies, disks };
}

/** Where a file with this many copies stands. */
export function stateOf(
  pin: Pick<Pin, 'replicas' | 'clock'>,
  copies: number,
  { nowMs, newForMs }: { nowMs: number; newForMs: number },
): FileState {
  if (copies === 0) return 'missing';
  if (copies >= pin.replicas) return 'safe';
  // The clock is the wall clock at the time of the wish, hence new again after a change of it.
  return nowMs - pin.clock < newForMs ? 'spreading' : 'at-risk';
}

export interface Health {
  /** @throws FileNotFound, FileGone */
  examine(hash: FileHash, signal: AbortSignal): Promise<FileHealth>;
  list(
    page: { offset: number; limit: number },
    signal: AbortSignal,
  ): Promise<{ total: number; files: FileEntry[] }>;
  /** Where these files stand, in their order, from answers that are still fresh or given now. */
  inspect(pins: readonly Pin[], signal: AbortSignal): Promise<FileEntry[]>;
}

export function createHealth(deps: {
  readonly self: PeerId;
  readonly pins: Pins;
  readonly want: Want;
  readonly holders: Holders;
  readonly readHaveMap: (root: Cid) => Promise<HaveMap | undefined>;
  readonly members: () => Member[];
  /** Whether a member is there at this moment, as far as can be told. */
  readonly isUp: (member: Member) => boolean;
  readonly newForMs: number;
}): Health {
  const { self, pins, want, holders, readHaveMap, members, isUp, newForMs } = deps;
  const domainOf = (peerId: PeerId) => members().find((member) => member.peerId === peerId)?.domain;
  const alive = () => members().filter(({ state }) => state === 'alive');
  /** Who is there now: a peer may have gone since it answered, and its copies went with it. */
  const upNow = (): ReadonlySet<PeerId> =>
    new Set(
      members()
        .filter(isUp)
        .map(({ peerId }) => peerId),
    );

  const entryOf = (pin: Pin, copies: number): FileEntry => {
    const { root: cid, kind, name, sizeBytes, sha256, blocks, replicas, createdAtMs } = pin;
    const state = stateOf(pin, copies, { nowMs: Date.now(), newForMs });
    const fixed = { cid, kind, name, sizeBytes, sha256, blocks, replicas, createdAtMs };
    return { ...fixed, expiresAtMs: pin.expiresAtMs, state, copies };
  };
  /** Our own holding, read now and remembered. */
  const readOwn = async (root: Cid): Promise<void> =>
    holders.note(root, self, await readHaveMap(root));
  /** What is known of a root, or undefined when somebody's part is not known or too old. */
  const recallAll = (root: Cid, ageMaxMs: number): Holding[] | undefined => {
    const found: Holding[] = [];
    for (const { peerId } of alive()) {
      const entry = holders.recall(root, peerId, ageMaxMs);
      if (entry === undefined) return undefined;
      if (entry.haveMap !== undefined) found.push({ peerId, haveMap: entry.haveMap });
    }
    return found;
  };
  const copiesOf = ({ root, blocks }: Pin, ageMaxMs: number): number | undefined => {
    const known = recallAll(root, ageMaxMs);
    return known === undefined ? undefined : countCopies(blocks, known, domainOf).copies;
  };
  const isFresh = (pin: Pin): boolean => {
    const copies = copiesOf(pin, FRESH_SAFE_MS);
    if (copies === undefined) return false;
    return copies >= pin.replicas || copiesOf(pin, FRESH_MOVING_MS) !== undefined;
  };
  /** The copies that were confirmed lately; who did not answer counts as holding nothing. */
  const confirmed = ({ root, blocks }: Pin, up: ReadonlySet<PeerId>): number => {
    const holdings = holders
      .of(root)
      .filter(({ peerId, ageMs }) => up.has(peerId) && ageMs <= FRESH_SAFE_MS);
    return countCopies(blocks, holdings, domainOf).copies;
  };

  const inspect = async (page: readonly Pin[], signal: AbortSignal): Promise<FileEntry[]> => {
    const stale = page.filter((pin) => !isFresh(pin)).map(({ root }) => root);
    for (let from = 0; from < stale.length; from += WANT_ROOTS_MAX) {
      const roots = stale.slice(from, from + WANT_ROOTS_MAX);
      await Promise.all([
        ...roots.map(readOwn),
        want(roots, { timeoutMs: ANSWERS_TIMEOUT_MS, signal }),
      ]);
    }
    const up = upNow();
    return page.map((pin) => entryOf(pin, confirmed(pin, up)));
  };

  return {
    async examine(hash, signal) {
      const pin = await pins.search(hash, { ask: true, signal });
      const [own, { answers }] = await Promise.all([
        readHaveMap(pin.root),
        want([pin.root], { timeoutMs: ANSWERS_TIMEOUT_MS, signal }),
      ]);
      holders.note(pin.root, self, own);
      const mine: Holding[] = own === undefined ? [] : [{ peerId: self, haveMap: own }];
      const up = upNow();
      const holdings = [...mine, ...answers].filter(
        ({ peerId, haveMap }) => up.has(peerId) && haveMap.blocks === pin.blocks,
      );
      const { copies, disks } = countCopies(pin.blocks, holdings, domainOf);
      return {
        ...entryOf(pin, copies),
        survivesPeers: Math.max(0, copies - 1),
        disks,
        verifiedAtMs: Date.now(),
        ...oldestCheck(holdings),
        holders: holdings.map(({ peerId, haveMap }) => {
          const blocks = countBits(decodeBits(haveMap.bits, haveMap.blocks));
          return { peerId, blocks, share: blocks / haveMap.blocks, haveMap };
        }),
      };
    },
    async list({ offset, limit }, signal) {
      const { total, pins: page } = pins.newest(offset, limit);
      return { total, files: await inspect(page, signal) };
    },
    inspect,
  };
}

/** Answers of members that are not up are worth nothing now. */
export function onlyUp(answers: readonly HaveAnswer[], members: readonly Member[]): HaveAnswer[] {
  const up = new Set(members.filter(({ state }) => state === 'alive').map(({ peerId }) => peerId));
  return answers.filter(({ peerId }) => up.has(peerId));
}

/** When the copy that was re-hashed longest ago was; nothing when one holder does not say. */
export function oldestCheck(holdings: readonly Holding[]): { checkedAtMs?: number } {
  const times = holdings.map(({ haveMap }) => haveMap.checkedAtMs);
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 || known.length < times.length
    ? {}
    : { checkedAtMs: Math.min(...known) };
}

const diskName = (domain: FailureDomain | undefined) =>
  domain === undefined ? 'unknown' : `${domain.host}/${domain.disk}`;
