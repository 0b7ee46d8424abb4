/**
 * How safe files are: asks the members, and reads the answer off the table of what they said.
 *
 * Answers to a question and earlier announcements are read alike, once: a number is what the table
 * says at that moment, with its date. Asking takes a bounded time, however many files a list has and
 * however slow a member is; what was not answered by then is shown with the date that it has.
 */
import assert from 'node:assert';
import { batchesOf } from '@shoal/blocks';
import { createLimit } from '@shoal/chassis';
import type { FileEntry, FileHash, FileHealth, HaveAnswer, Member, Pin } from '@shoal/protocol';
import { WANT_ROOTS_MAX } from '@shoal/protocol';
import type { PinEditor } from '../pins/pin-editor.ts';
import type { Renew } from '../holders/renew.ts';
import type { PinReader } from '../pins/pin-reader.ts';
import type { PageAsked } from '../state/pin-store.ts';
import { examine, type ExamineDeps } from './examine.ts';
import { FileStates, type FileStatesDeps } from './file-states.ts';

/**
 * Time for the questions about a list: a member that hangs costs each of them its time-out. Past it: no
 * further one is put; the rest is shown by the last answers, with their date.
 */
const ASKING_MAX_MS = 4000;
/** Questions about one list under way at once. */
const QUESTIONS_AT_ONCE = 4;

export interface HealthDeps extends Omit<ExamineDeps, 'states'>, FileStatesDeps {
  readonly renew: Renew;
  readonly editor: Pick<PinEditor, 'search'>;
  readonly reader: Pick<PinReader, 'newest' | 'recoverable'>;
}

interface FileList {
  readonly total: number;
  readonly files: FileEntry[];
  readonly next: string | undefined;
}

export class Health {
  readonly #deps: HealthDeps;
  readonly #states: FileStates;

  constructor(deps: HealthDeps) {
    this.#deps = deps;
    this.#states = new FileStates(deps);
  }

  /** @throws FileNotFound, FileGone */
  async examine(hash: FileHash, signal: AbortSignal): Promise<FileHealth> {
    const pin = await this.#deps.editor.search(hash, { ask: true, signal });
    return examine(pin, { ...this.#deps, states: this.#states }, { signal });
  }

  async list(page: PageAsked, signal: AbortSignal): Promise<FileList> {
    const { total, pins, next } = this.#deps.reader.newest(page);
    return { total, files: await this.inspect(pins, signal), next };
  }

  /** The same of the deleted files that can be brought back. */
  async listDeleted(page: PageAsked, signal: AbortSignal): Promise<FileList> {
    const { total, files, next } = this.#deps.reader.recoverable(page);
    const pins = files.map(({ pin }) => pin);
    const entries = await this.inspect(pins, signal);
    const dated = entries.map((entry, index) => {
      const { deletedAtMs, purgeAtMs } = files[index] ?? {};
      return { ...entry, deletedAtMs, purgeAtMs };
    });
    return { total, files: dated, next };
  }

  /**
   * The state of these files, in their order, from answers that are still good or given now. Those that are safe, and
   * of which no holder lost anything since, take no question of their own.
   */
  async inspect(pins: readonly Pin[], signal: AbortSignal): Promise<FileEntry[]> {
    const { holders, members, renew } = this.#deps;
    const startMs = holders.clock();
    await renew(members().filter(isAskable).map(peerIdOf));
    const now = members();
    const entries = new Map<Pin, FileEntry>();
    for (const pin of pins) {
      const standing = this.#states.settled(pin, now);
      if (standing !== undefined) entries.set(pin, this.#states.entryOf(pin, standing));
    }
    const unsettled = pins.filter((pin) => !entries.has(pin));
    const turns = createLimit(QUESTIONS_AT_ONCE);
    const looks = batchesOf(unsettled, WANT_ROOTS_MAX).map((some) =>
      turns(async () => {
        const isLate = holders.clock() - startMs > ASKING_MAX_MS;
        for (const [pin, entry] of await this.#ask(some, { isLate, signal }))
          entries.set(pin, entry);
      }),
    );
    await Promise.all(looks);
    return pins.map((pin) => {
      const entry = entries.get(pin);
      assert(entry !== undefined, 'each file is looked at');
      return entry;
    });
  }

  /** Looks at some files anew, as many as one question may name. */
  async #ask(
    pins: readonly Pin[],
    { isLate, signal }: { readonly isLate: boolean; readonly signal: AbortSignal },
  ): Promise<(readonly [Pin, FileEntry])[]> {
    const { members, refresh } = this.#deps;
    const before = members();
    const stale = isLate ? [] : pins.filter((pin) => this.#states.isStale(pin, before));
    await refresh({ own: pins.map(rootOf), members: stale.map(rootOf) }, { signal });
    // Read off at once: the table keeps a bounded number of roots.
    const after = members();
    return pins.map(
      (pin) => [pin, this.#states.entryOf(pin, this.#states.of(pin, after))] as const,
    );
  }
}

const isAskable = ({ isSelf, state }: Member): boolean => !isSelf && state === 'alive';
const peerIdOf = ({ peerId }: Member) => peerId;

/** Answers of members that are not up are worth nothing now. */
export function onlyUp(answers: readonly HaveAnswer[], members: readonly Member[]): HaveAnswer[] {
  const up = new Set(members.filter(({ state }) => state === 'alive').map(({ peerId }) => peerId));
  return answers.filter(({ peerId }) => up.has(peerId));
}

const rootOf = ({ root }: Pin) => root;
