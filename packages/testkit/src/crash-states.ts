/**
 * The states that a disk may have after a power cut, from a record of a program's operations on it.
 *
 * kill -9 proves little about durability: the kernel writes everything out all the same. Here the
 * calls are recorded (with the ticks at which each began and ended), and for any tick a legal state is
 * made: what was synced is there, and of the rest any part may be. It follows POSIX to the letter,
 * which is harder than any one file system is:
 * - bytes are certain once an fsync that began after the write ended has ended; until then each write
 *   may be there, missing, torn at a sector, or have left zeros behind (the size grew, the data did not);
 * - a name is certain once its folder was synced, whatever was done to the file; until then creations,
 *   renames and removals may be there or not, in any combination, but a rename is never half done;
 * - a database that commits by pages written elsewhere, then one root (LMDB), is recorded as snapshots
 *   after each commit: between two, any of the new pages may be there, the root not before all of them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Random } from './random.ts';

const SECTOR_SIZE_BYTES = 512;
/** LMDB's page; the first two of a file are its roots. */
const PAGE_SIZE_BYTES = 4096;
const ROOT_PAGES = 2;

/** One call, paths relative to the recorded folder. */
export type DiskStep =
  | { readonly kind: 'make-folder'; readonly path: string }
  | { readonly kind: 'create'; readonly path: string; readonly file: number }
  | {
      readonly kind: 'write';
      readonly file: number;
      readonly offset: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'sync'; readonly file: number }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string; readonly file: number }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'sync-folder'; readonly path: string }
  /** A database's commit: the whole of its file as it was afterwards. */
  | { readonly kind: 'commit'; readonly path: string; readonly snapshot: Uint8Array }
  /** A reply of the program to its caller, or a request: for the oracle. */
  | { readonly kind: 'note'; readonly text: string };

/** A call, and when it was: it is done for certain from `endedAt` on. */
export interface RecordedStep {
  readonly step: DiskStep;
  readonly startedAt: number;
  /** Infinity when it never ended. */
  readonly endedAt: number;
}

export interface DiskRecord {
  readonly steps: readonly RecordedStep[];
  /** Ticks so far: a crash may be at any of 0 to this. */
  readonly ticks: number;
  /** Records a call that is done at once. */
  now(step: DiskStep): void;
  /** Records a call that takes time; run the result when it has ended. */
  begin(step: DiskStep): () => void;
  /** Records a commit, whose outcome is read when it has ended. */
  beginCommit(path: string): (snapshot: Uint8Array) => void;
}

export function createDiskRecord(): DiskRecord {
  const steps: { step: DiskStep; startedAt: number; endedAt: number }[] = [];
  let tick = 0;
  const begin = (step: DiskStep) => {
    const entry = { step, startedAt: (tick += 1), endedAt: Infinity };
    steps.push(entry);
    return entry;
  };
  return {
    steps,
    get ticks() {
      return tick;
    },
    now(step) {
      begin(step).endedAt = tick;
    },
    begin(step) {
      const entry = begin(step);
      return () => {
        entry.endedAt = tick += 1;
      };
    },
    beginCommit(path) {
      const entry = begin({ kind: 'commit', path, snapshot: new Uint8Array() });
      return (snapshot) => {
        entry.step = { kind: 'commit', path, snapshot };
        entry.endedAt = tick += 1;
      };
    },
  };
}

/** A state of the disk: folders, and files with their bytes. */
export interface DiskState {
  readonly folders: ReadonlySet<string>;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** One legal state after a power cut at this tick. */
export function crashStateAt(
  steps: readonly RecordedStep[],
  tick: number,
  random: Random,
): DiskState {
  const begun = steps.filter(({ startedAt }) => startedAt <= tick);
  const { folders, names } = namesAt(begun, tick, random);
  const files = new Map<string, Uint8Array>();
  for (const [path, file] of names) files.set(path, contentAt(begun, file, tick, random));
  const isNamed = (path: string): boolean =>
    names.has(path) || !steps.some(({ step }) => step.kind === 'create' && step.path === path);
  for (const [path, bytes] of databasesAt(steps, begun, tick, random))
    if (isNamed(path)) files.set(path, bytes);
  return { folders, files };
}

/** Writes a state to a real folder, which must be empty. */
export function materialise({ folders, files }: DiskState, dir: string): void {
  for (const folder of folders) mkdirSync(join(dir, folder), { recursive: true });
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), bytes);
  }
}

const parentOf = (path: string): string => {
  const parent = dirname(path);
  return parent === '.' ? '' : parent;
};

/** Which of several uncertain things came to the disk: all, none, the first few, or any. */
function survivors<T>(uncertain: readonly T[], random: Random): Set<T> {
  const mode = random.int(0, 4);
  if (mode === 0) return new Set(uncertain);
  if (mode === 1) return new Set();
  if (mode === 2) return new Set(uncertain.slice(0, random.int(0, uncertain.length + 1)));
  return new Set(uncertain.filter(() => random.share() < 0.5));
}

function namesAt(begun: readonly RecordedStep[], tick: number, random: Random) {
  const isSynced = ({ step, endedAt }: RecordedStep): boolean => {
    const folder = parentOf(
      step.kind === 'rename' ? step.to : 'path' in step ? step.path : '', // only steps with names come here
    );
    return begun.some(
      (other) =>
        other.step.kind === 'sync-folder' &&
        other.step.path === folder &&
        other.startedAt >= endedAt &&
        other.endedAt <= tick,
    );
  };
  const named = begun.filter(({ step }) =>
    ['make-folder', 'create', 'rename', 'remove'].includes(step.kind),
  );
  const uncertain = survivors(
    named.filter((entry) => !isSynced(entry)),
    random,
  );
  const folders = new Set<string>();
  const names = new Map<string, number>();
  for (const entry of named) {
    const { step } = entry;
    if (!uncertain.has(entry) && !isSynced(entry)) continue;
    if (step.kind === 'make-folder') folders.add(step.path);
    if (step.kind === 'create') names.set(step.path, step.file);
    if (step.kind === 'remove') names.delete(step.path);
    if (step.kind === 'rename') {
      names.delete(step.from);
      names.set(step.to, step.file);
    }
  }
  // A folder whose own name was lost takes along what was in it.
  const isThere = (path: string): boolean =>
    path === '' || (folders.has(path) && isThere(parentOf(path)));
  for (const path of names.keys()) if (!isThere(parentOf(path))) names.delete(path);
  for (const path of folders) if (!isThere(path)) folders.delete(path);
  return { folders, names };
}

function contentAt(
  begun: readonly RecordedStep[],
  file: number,
  tick: number,
  random: Random,
): Uint8Array {
  const own = begun.filter(({ step }) => 'file' in step && step.file === file);
  const writes = own.flatMap((entry) =>
    entry.step.kind === 'write' ? [{ ...entry, step: entry.step }] : [],
  );
  const isSynced = ({ endedAt }: { endedAt: number }): boolean =>
    own.some(
      (other) => other.step.kind === 'sync' && other.startedAt >= endedAt && other.endedAt <= tick,
    );
  const uncertain = survivors(
    writes.filter((write) => !isSynced(write)),
    random,
  );
  const isGrown = random.share() < 0.5;
  const isTorn = random.share() < 0.5;
  let content: Uint8Array = new Uint8Array();
  const put = (offset: number, bytes: Uint8Array): void => {
    const longer = new Uint8Array(Math.max(content.length, offset + bytes.length));
    longer.set(content);
    longer.set(bytes, offset);
    content = longer;
  };
  for (const write of writes) {
    const { offset, bytes } = write.step;
    if (isSynced(write)) put(offset, bytes);
    else if (uncertain.has(write)) {
      const sectors = Math.floor(random.int(0, bytes.length) / SECTOR_SIZE_BYTES);
      put(offset, isTorn ? bytes.subarray(0, sectors * SECTOR_SIZE_BYTES) : bytes);
    } else if (isGrown) put(offset, new Uint8Array(bytes.length));
  }
  return content;
}

function databasesAt(
  steps: readonly RecordedStep[],
  begun: readonly RecordedStep[],
  tick: number,
  random: Random,
): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const commitsOf = (entries: readonly RecordedStep[]) =>
    entries.flatMap(({ step, endedAt }) =>
      step.kind === 'commit' && endedAt !== Infinity ? [{ ...step, endedAt }] : [],
    );
  for (const { path, snapshot, endedAt } of commitsOf(begun)) {
    const before = found.get(path);
    if (endedAt <= tick) found.set(path, snapshot);
    // The outcome of a commit under way is known only from its end, later in the record.
    else found.set(path, midCommit(before ?? new Uint8Array(), snapshot, random));
  }
  for (const { path } of commitsOf(steps)) if (!found.has(path)) found.set(path, new Uint8Array());
  return found;
}

/** Between two commits: any of the new pages, and the new root only with all of them. */
function midCommit(before: Uint8Array, after: Uint8Array, random: Random): Uint8Array {
  const pages = Array.from(
    { length: Math.ceil(after.length / PAGE_SIZE_BYTES) },
    (_, index) => index,
  ).filter((index) => index >= ROOT_PAGES && !pageOf(before, index).equals(pageOf(after, index)));
  const written = survivors(pages, random);
  if (written.size === pages.length && random.share() < 0.5) return after;
  const mixed = Buffer.alloc(
    Math.max(
      before.length,
      ...[...written].map((index) => Math.min(after.length, (index + 1) * PAGE_SIZE_BYTES)),
    ),
  );
  mixed.set(before);
  for (const index of written) mixed.set(pageOf(after, index), index * PAGE_SIZE_BYTES);
  return mixed;
}

const pageOf = (bytes: Uint8Array, index: number): Buffer =>
  Buffer.from(bytes.subarray(index * PAGE_SIZE_BYTES, (index + 1) * PAGE_SIZE_BYTES));
