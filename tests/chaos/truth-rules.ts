/**
 * The rules that what a peer says of a file is held against, with no more to go by than looks at the disks.
 *
 * A number is dated to the oldest answer that it rests on. A copy that lay all the time since at peers that
 * others must know of is in it, and one that never could be read is not. No state, and no cause, excuses a
 * number that is too large. Only "unknown" excuses one that is too small: by the peers that it names, which
 * must be there to be asked, or because the peer that answers was started a moment ago. Whom a cause calls away must have been away at that date.
 */
import type { FileEntry, FileHealth } from '@shoal/protocol';
import type { Look } from './looks.ts';

/** A block's file is written before its record is, and deleted after it; and news takes a while to come. */
export const SLACK_MS = 2000;
/** Looks further apart may have missed something. */
const GAP_MAX_MS = 2000;
/** No state but "unknown" may rest on older answers; as in discovery. */
const ANSWER_AGE_MAX_MS = 10_000;

/** A peer that was ready all this time must have heard from the others; discovery's bound, and slack. */
const JOINING_MAX_MS = 12_000;

/** What a peer said of a file, and when. */
export interface Said {
  readonly peerId: string;
  readonly entry: FileEntry | FileHealth;
  /** When the question went out, and when the answer was there. */
  readonly askedMs: number;
  readonly answeredMs: number;
}

/** What is wrong with it; undefined when the looks don't tell. */
export function faultsOf(
  { peerId: asked, entry, askedMs, answeredMs }: Said,
  digests: readonly string[],
  looks: readonly Look[],
): string[] | undefined {
  const { state, copies, replicas, causes, verifiedAtMs = askedMs } = entry;
  const fromMs = Math.min(verifiedAtMs, askedMs);
  const window = looksBetween(looks, fromMs - SLACK_MS, answeredMs + SLACK_MS);
  if (window === undefined) return undefined;
  const named = (kind: FileEntry['causes'][number]['kind']): readonly string[] =>
    causes.flatMap((cause) => (cause.kind === kind && 'peers' in cause ? cause.peers : []));
  const unanswered = named('unanswered');
  // A cause names some peers and counts all.
  const isEachNamed = causes.every(
    (cause) => !('peers' in cause) || cause.peers.length === cause.count,
  );
  const isJoining = causes.some(({ kind }) => kind === 'joining');
  // A small block has no file of its own: a file with one may have fewer copies than the others show.
  const isSeenWhole = entry.blocks <= digests.length;
  const leastOf = (without?: ReadonlySet<string>) =>
    isSeenWhole ? copiesIn(window, digests, without).least : 0;
  const { most } = copiesIn(window, digests);
  const least = leastOf();
  const faults: string[] = [];
  if (copies > most) faults.push(`more than the ${most} that could be read`);
  const isBelow = copies < Math.min(least, replicas);
  if (isBelow && state !== 'unknown') faults.push(`less than the ${least} there all the time`);
  if (isBelow && state === 'unknown' && !isJoining && isEachNamed) {
    const others = leastOf(new Set(unanswered));
    if (copies < Math.min(others, replicas))
      faults.push(`less than the ${others} at peers that it does not say are silent`);
  }
  if (state === 'safe' && copies < replicas) faults.push('too few to be safe');
  if (state !== 'safe' && state !== 'unknown' && copies >= replicas)
    faults.push('enough to be safe');
  if (state === 'missing' && copies > 0) faults.push('not missing');
  if (state === 'reduced' && named('away').length + named('gone').length === 0)
    faults.push('reduced by nobody');
  if (
    isJoining &&
    looksBetween(looks, askedMs - JOINING_MAX_MS, askedMs)?.every(
      ({ peers }) => peers.get(asked)?.isServing === true,
    ) === true
  )
    faults.push('it says that it joins, and was ready for long');
  const isAside = causes.some(({ kind }) => kind === 'aside');
  if (state === 'unknown' && unanswered.length === 0 && !isJoining && !isAside)
    faults.push('unknown because of nobody');
  if (state !== 'unknown' && verifiedAtMs < askedMs - ANSWER_AGE_MAX_MS - SLACK_MS)
    faults.push(`told as of now, ${askedMs - verifiedAtMs} ms later`);
  if (verifiedAtMs > answeredMs) faults.push('dated ahead');
  for (const peerId of [...named('away'), ...named('gone')])
    if (window.every(({ peers }) => peers.get(peerId)?.isServing === true))
      faults.push(`${nameOf(peerId)} is called away, and was there all the time`);
  for (const peerId of unanswered)
    if (!window.some(({ peers }) => peers.get(peerId)?.isRunning === true))
      faults.push(`${nameOf(peerId)} is called silent, and was not there`);
  if ('holders' in entry)
    faults.push(...faultsOfHolders(entry, digests, looks, answeredMs + SLACK_MS));
  return faults.map((fault) => `${fault}, ${least} to ${most} since ${answeredMs - fromMs} ms`);
}

/** Each holder that is said to have all of it had that on its disk since its date. */
function faultsOfHolders(
  { holders, copies, confirmed }: FileHealth,
  digests: readonly string[],
  looks: readonly Look[],
  toMs: number,
): string[] {
  const faults: string[] = [];
  if (confirmed > copies) faults.push(`${confirmed} confirmed of ${copies}`);
  for (const { peerId, share, answeredAtMs } of holders) {
    if (share < 1 || answeredAtMs === undefined) continue;
    const window = looksBetween(looks, answeredAtMs - SLACK_MS, toMs);
    const had = (digest: string) => window?.some((look) => canRead(look, peerId, digest)) !== false;
    if (!digests.every(had)) faults.push(`${nameOf(peerId)} is a holder, and had less`);
  }
  return faults;
}

/** The figures of a survey by one peer. */
export interface SurveySaid {
  readonly files: Readonly<Record<string, number>>;
  readonly belowTargetBytes: number;
  /** When its round began, and when its figures were first seen. */
  readonly surveyedMs: number;
  readonly seenMs: number;
}

/** A file that a survey may count; without digests when nothing of it can be looked up on a disk. */
export interface SurveyFile {
  readonly sizeBytes: number;
  readonly blocks: number;
  readonly replicas: number;
  readonly digests: readonly string[] | undefined;
}

const BELOW_TARGET = ['reduced', 'limited', 'at-risk', 'spreading', 'missing', 'receiving'];

/** A peer counts some of all files, which only it knows: so many of a state there must have been in all. */
export function faultsOfSurvey(
  { files, belowTargetBytes, surveyedMs, seenMs }: SurveySaid,
  all: readonly SurveyFile[],
  looks: readonly Look[],
): string[] | undefined {
  const fromMs = surveyedMs - ANSWER_AGE_MAX_MS - SLACK_MS;
  const window = looksBetween(looks, fromMs, seenMs + SLACK_MS);
  if (window === undefined) return undefined;
  const told = all.map((file) => {
    if (file.digests === undefined) return { ...file, least: 0, most: Infinity };
    const { least, most } = copiesIn(window, file.digests);
    return { ...file, least: file.blocks <= file.digests.length ? least : 0, most };
  });
  const safeMax = told.filter(({ most, replicas }) => most >= replicas).length;
  const below = told.filter(({ least, replicas }) => least < replicas);
  const belowMaxBytes = below.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const missingMax = told.filter(({ least }) => least === 0).length;
  const sumOf = (states: readonly string[]) =>
    states.reduce((sum, state) => sum + (files[state] ?? 0), 0);
  const faults: string[] = [];
  const check = (what: string, said: number, max: number) => {
    if (said > max) faults.push(`${said} ${what}, and there were at most ${max}`);
  };
  check('files missing', sumOf(['missing']), missingMax);
  check('files below target', sumOf(BELOW_TARGET), below.length);
  check('files safe', sumOf(['safe']), safeMax);
  check('bytes below target', belowTargetBytes, belowMaxBytes);
  check('files in all', sumOf(Object.keys(files)), all.length);
  return faults;
}

/**
 * Copies of the block that has fewest: `least` are those that were there in all looks, at peers that others
 * must know of; `most` those that could be read in any of them.
 */
export function copiesIn(
  window: readonly Look[],
  digests: readonly string[],
  without: ReadonlySet<string> = new Set(),
): { least: number; most: number } {
  const peers = [...new Set(window.flatMap((look) => [...look.peers.keys()]))];
  const always = (digest: string) =>
    peers.filter(
      (peerId) =>
        !without.has(peerId) &&
        window.every(
          (look) => look.peers.get(peerId)?.isServing === true && canRead(look, peerId, digest),
        ),
    ).length;
  const ever = (digest: string) =>
    peers.filter((peerId) => window.some((look) => canRead(look, peerId, digest))).length;
  return { least: Math.min(...digests.map(always)), most: Math.min(...digests.map(ever)) };
}

/** The looks that tell of this time; undefined when they don't reach so far, or leave out too much. */
export function looksBetween(
  looks: readonly Look[],
  fromMs: number,
  toMs: number,
): Look[] | undefined {
  const window: Look[] = [];
  let nextMs = toMs;
  for (const look of looks.toReversed()) {
    if (look.startMs > toMs) continue;
    if (nextMs - look.endMs > GAP_MAX_MS) return undefined;
    if (look.endMs < fromMs) return window.length === 0 ? undefined : window;
    window.push(look);
    nextMs = look.startMs;
  }
  return undefined;
}

const canRead = ({ peers }: Look, peerId: string, digest: string): boolean => {
  const peer = peers.get(peerId);
  return peer?.isRunning === true && peer.blocks.has(digest);
};

const nameOf = (peerId: string) => `peer …${peerId.slice(-6)}`;
