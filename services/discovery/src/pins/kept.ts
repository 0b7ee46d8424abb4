/**
 * Makes of the versions of a pin the form that is stored, and says which of them this peer may change. The rules are those
 * of the roster at this moment (`swarm/pin-entries.ts`); a change of it has all pins read anew.
 */
import { hasRight, hashOfText, mayChangeWith, type TokenKey } from '@shoal/chassis';
import type { Cid, PeerId, Pin } from '@shoal/protocol';
import {
  amountTo,
  authorOf,
  comparePins,
  entriesOf,
  type HasPin,
  isDeletedForNow,
  isOpen,
  isVoid,
  keptVersions,
  mayChangeAny,
  type PinEntry,
  type PinRules,
  type PinRulesView,
  rulesText,
  versionName,
} from '@shoal/swarm';
import { type PinVersion, type StoredPin, versionsOf } from '../state/pin-tables.ts';

/** The pins of a root, as this peer may change them. */
export interface Known {
  /** The pins for it, one for each author. */
  readonly entries: readonly (PinEntry & { readonly isMine: boolean })[];
  /** Their sum. */
  readonly whole: Pin | undefined;
  /** The one that an upload here replaces. */
  readonly own: Pin | undefined;
}

/** A roster, as far as pins are concerned. */
interface RulesSource {
  readonly view: PinRulesView;
}

export class Kept {
  readonly #self: PeerId;
  readonly #roster: RulesSource;
  #rulesOf: { readonly view: PinRulesView; readonly rules: PinRules } | undefined;
  #readBy: { readonly view: PinRulesView; readonly text: string } | undefined;

  constructor({ self, roster }: { readonly self: PeerId; readonly roster: RulesSource }) {
    this.#self = self;
    this.#roster = roster;
  }

  /** Whether everybody may change everything: the swarm has no roster. */
  get isOpen(): boolean {
    return isOpen(this.#rules);
  }

  get #rules(): PinRules {
    const { view } = this.#roster;
    if (this.#rulesOf?.view !== view)
      this.#rulesOf = { view, rules: { ...view, hasRight: (pin) => hasRight(pin, view) } };
    return this.#rulesOf.rules;
  }

  /** The same while all pins are read alike; undefined without a roster. */
  readBy(): string | undefined {
    const { view } = this.#roster;
    if (this.#readBy?.view !== view) {
      const text = rulesText(view);
      this.#readBy = { view, text: text === '' ? '' : hashOfText(text) };
    }
    return this.#readBy.text === '' ? undefined : this.#readBy.text;
  }

  /** The versions that are kept of these. */
  of<V extends HasPin>(versions: readonly V[]): V[] {
    return keptVersions(versions, this.#rules);
  }

  /** Whether a version is, or is older than, one of these. */
  isKnown(pin: Pin, versions: readonly HasPin[]): boolean {
    const name = versionName(pin, this.#rules);
    return versions.some(
      (each) => versionName(each.pin, this.#rules) === name && comparePins(pin, each.pin) <= 0,
    );
  }

  isVoid(pin: Pin): boolean {
    return isVoid(pin, this.#rules);
  }

  /** The author for whom a version says that it was made, when it doesn't count for that author. */
  notSpokenFor(pin: Pin): PeerId | undefined {
    if (this.isOpen) return undefined;
    const { author = pin.origin } = pin;
    return authorOf(pin, this.#rules) === author ? undefined : author;
  }

  /** @param token That of a user who asks for a change. */
  known(versions: readonly HasPin[], nowMs: number, token?: TokenKey): Known {
    const mayAny =
      mayChangeAny(this.#self, this.#rules) || this.#isGiven(token, versions[0]?.pin.root, nowMs);
    const entries = entriesOf(this.of(versions), this.#rules).map((entry) => ({
      ...entry,
      isMine: mayAny || entry.author === this.#self,
    }));
    const own = this.isOpen ? entries[0] : entries.find(({ author }) => author === this.#self);
    return { entries, whole: amountTo(entries, nowMs)?.pin, own: own?.pin };
  }

  #isGiven(token: TokenKey | undefined, root: Cid | undefined, clock: number): boolean {
    if (token === undefined || root === undefined) return false;
    return mayChangeWith(token, { root, clock }, this.#roster.view);
  }

  /**
   * The stored form of these versions.
   * @param deletedSeenMs When the file was deleted, if a version says so that was not here.
   */
  form(
    versions: readonly PinVersion[],
    old: StoredPin | undefined,
    {
      nowMs,
      deletedSeenMs,
    }: { readonly nowMs: number; readonly deletedSeenMs: (pin: Pin) => number },
  ): StoredPin | undefined {
    const whole = amountTo(entriesOf(versions, this.#rules), nowMs);
    if (whole === undefined) return undefined;
    const { pin, version } = whole;
    const wasSo =
      old !== undefined &&
      isDeletedForNow(old.pin) &&
      versionsOf(old).some((each) => each.pin === version.pin);
    const seenMs = wasSo ? old.deletedSeenMs : deletedSeenMs(version.pin);
    return {
      pin,
      signed: version.signed,
      ...(isDeletedForNow(pin) && seenMs !== undefined ? { deletedSeenMs: seenMs } : {}),
      ...(versions.length === 1 && pin === version.pin ? {} : { versions }),
    };
  }

  /** Whether this is the stored form of its versions still. */
  isReadAsNow(stored: StoredPin, nowMs: number): boolean {
    const { pin, versions } = stored;
    const { author = pin.origin, origin } = pin;
    if (versions === undefined && author === origin && !this.#roster.view.removed.has(origin))
      return true;
    const kept = this.of(versionsOf(stored));
    const now = this.form(kept, stored, { nowMs, deletedSeenMs: () => nowMs });
    return JSON.stringify(now) === JSON.stringify(stored);
  }
}
