/**
 * Whose pin is whose, in a swarm with a roster. There a root has a pin for each author that pinned it, its entry, so
 * that nobody's upload weakens or ends another's; the file is kept as all entries together ask.
 *
 * Of a root the latest version by each signer of each entry is kept. No version replaces one of another signer, so that
 * when a member is removed its later versions can be void, and those before them are there still. Reading the versions
 * is a pure function of them and of the roster: peers that have the same of both agree, in whatever order either came.
 *
 * A version counts for the author that it names when its signer is that author, may change any pin, or has the word of
 * a token that may. Otherwise it
 * counts for its signer: a deletion that it had no right to ends nothing but a pin of its own. So nothing depends on
 * whether roster or pin comes first. The price: versions that members without that right made of pins of others before
 * the swarm had a roster count as theirs.
 *
 * Without a roster everybody may change everything, and a root has one version, the latest (`pin-set.ts`).
 */
import type { PeerId, Pin } from '@shoal/protocol';
import { comparePins, compareStamps, isDeletedForNow, isLive } from './pin-set.ts';
import type { RosterMember, RosterView } from './roster.ts';

/** The part of a roster that decides over pins. */
export type PinRules = Pick<RosterView, 'swarmId' | 'removed'> & {
  readonly members: RightsOfMembers;
  readonly former: RightsOfMembers;
  /** Whether the right that a version brings along is one. Without it, none is. */
  readonly hasRight?: (pin: Pin) => boolean;
};

type RightsOfMembers = ReadonlyMap<PeerId, Pick<RosterMember, 'mayChange'>>;

/** The part of a roster that rules come from. */
export type PinRulesView = PinRules & Pick<RosterView, 'owners' | 'endedAtMs'>;

/** Something that has a version of a pin. */
export interface HasPin {
  readonly pin: Pin;
}

/** The pin of one author for a root. */
export interface PinEntry<V extends HasPin = HasPin> extends HasPin {
  readonly author: PeerId;
  /** The version that counts, as it is read. */
  readonly pin: Pin;
  /** The same as it was signed. */
  readonly version: V;
}

/**
 * Versions kept of one root: a member's upload of it is one, each change of another's pin one more. Past it: those of
 * signers that the roster doesn't know go first, then the earliest.
 */
export const VERSIONS_PER_ROOT_MAX = 200;

/** Whether pins belong to nobody: the swarm has no roster. */
export const isOpen = ({ swarmId }: PinRules): boolean => swarmId === undefined;

/** Whether a peer may change the pins of all authors, or could until it was removed. */
export function mayChangeAny(peerId: PeerId, rules: PinRules): boolean {
  const member = rules.members.get(peerId) ?? rules.former.get(peerId);
  return isOpen(rules) || member?.mayChange === 'any';
}

/** The author whose pin a version is one of. */
export function authorOf(pin: Pin, rules: PinRules): PeerId {
  const { origin, author = origin } = pin;
  const isEntitled =
    author === origin || mayChangeAny(origin, rules) || rules.hasRight?.(pin) === true;
  return isEntitled ? author : origin;
}

/** Whether a version counts for nothing: its signer was removed before it put the file, or with all its pins. */
export function isVoid({ origin, epoch }: Pin, { removed }: PinRules): boolean {
  const removal = removed.get(origin);
  return removal !== undefined && (removal.dropsPins || epoch > removal.pinsUntil);
}

/** Which version a later one of the same signer replaces: of one root, the one with the same name. */
export function versionName(pin: Pin, rules: PinRules): string {
  return isOpen(rules) ? '' : `${authorOf(pin, rules)}/${pin.origin}`;
}

/** The versions of one root that are kept of these, in an order that is the same everywhere. */
export function keptVersions<V extends HasPin>(versions: readonly V[], rules: PinRules): V[] {
  const [first, ...others] = versions;
  if (first === undefined) return [];
  // Most swarms have no roster, and all pay for this with each pin.
  if (isOpen(rules))
    return [others.reduce((a, b) => (comparePins(b.pin, a.pin) > 0 ? b : a), first)];
  const kept = new Map<string, V>();
  for (const version of versions) {
    if (isVoid(version.pin, rules)) continue;
    const name = versionName(version.pin, rules);
    const other = kept.get(name);
    if (other === undefined || comparePins(version.pin, other.pin) > 0) kept.set(name, version);
  }
  const isKnown = ({ origin }: Pin) => rules.members.has(origin) || rules.former.has(origin);
  return [...kept]
    .sort(
      ([, a], [, b]) =>
        Number(isKnown(b.pin)) - Number(isKnown(a.pin)) || comparePins(b.pin, a.pin),
    )
    .slice(0, VERSIONS_PER_ROOT_MAX)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, version]) => version);
}

/** The entries that the versions of one root amount to. @param versions As `keptVersions` gives them. */
export function entriesOf<V extends HasPin>(
  versions: readonly V[],
  rules: PinRules,
): PinEntry<V>[] {
  const read = versions.map((version) => {
    const author = authorOf(version.pin, rules);
    return { author, pin: readVersion(version.pin, author, rules), version };
  });
  if (read.length < 2) return read;
  const entries = new Map<PeerId, PinEntry<V>>();
  for (const entry of read) {
    const other = entries.get(entry.author);
    if (other === undefined || compareStamps(entry.pin, other.pin) > 0)
      entries.set(entry.author, entry);
  }
  return [...entries.values()];
}

/**
 * The sum of the entries of one root: a pin with as many copies as any of those that live asks for, until the
 * last of them ends, and named by the latest change; a deleted one when none lives. With one entry it is that entry's.
 */
export function amountTo<V extends HasPin>(
  entries: readonly PinEntry<V>[],
  nowMs: number,
): PinEntry<V> | undefined {
  const [first, second] = entries;
  if (first === undefined || second === undefined) return first;
  const live = entries.filter(({ pin }) => isLive(pin, nowMs));
  if (live.length > 0) return together(live);
  const recoverable = entries.filter(({ pin }) => isDeletedForNow(pin));
  const ended = entries.filter(({ pin }) => !pin.deleted);
  const [rest] = [recoverable, ended, entries].filter(({ length }) => length > 0);
  return latest(rest ?? entries);
}

/** The same for two rosters by which every pin is read alike; empty without a roster. */
export function rulesText({
  swarmId,
  members,
  former,
  removed,
  owners,
  endedAtMs,
}: PinRulesView): string {
  if (swarmId === undefined) return '';
  const anyOf = (among: PinRules['members']) =>
    [...among].flatMap(([peerId, { mayChange }]) => (mayChange === 'any' ? [peerId] : [])).sort();
  const gone = [...removed.values()].map(({ peerId, pinsUntil, dropsPins }) =>
    [peerId, pinsUntil, dropsPins].join(' '),
  );
  const ended = [...endedAtMs].map((each) => each.join(' ')).sort();
  const rights = [[...owners.keys()].sort(), ended];
  return JSON.stringify([swarmId, anyOf(members), anyOf(former), gone.sort(), ...rights]);
}

/**
 * A version as it counts in an author's entry. One that a removed member signed after its end, of an upload from before,
 * says no more than that the file was put: it ends nothing, and every other version of that upload wins over it.
 */
function readVersion(pin: Pin, author: PeerId, rules: PinRules): Pin {
  if (isOpen(rules)) return pin;
  const removal = rules.removed.get(pin.origin);
  const isLate = removal !== undefined && pin.clock > removal.pinsUntil;
  if (!isLate) return author === (pin.author ?? pin.origin) ? pin : { ...pin, author };
  const { deletedAtMs: _, expiresAtMs: __, ...rest } = pin;
  return { ...rest, author, deleted: false, clock: 0 };
}

function together<V extends HasPin>(live: readonly PinEntry<V>[]): PinEntry<V> {
  const last = latest(live);
  const ends = live.map(({ pin }) => pin.expiresAtMs ?? Infinity);
  const { expiresAtMs: _, ...rest } = last.pin;
  const pin = {
    ...rest,
    ...(ends.includes(Infinity) ? {} : { expiresAtMs: Math.max(...ends) }),
    replicas: Math.max(...live.map((entry) => entry.pin.replicas)),
    createdAtMs: Math.min(...live.map((entry) => entry.pin.createdAtMs)),
  };
  return { ...last, pin };
}

/** By clock, as a change is later than what it changes; of equal ones that which wins. */
const latest = <V extends HasPin>(entries: readonly PinEntry<V>[]): PinEntry<V> =>
  entries.reduce((a, b) =>
    (b.pin.clock - a.pin.clock || compareStamps(b.pin, a.pin)) > 0 ? b : a,
  );
