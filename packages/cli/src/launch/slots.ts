/**
 * Slots: folders for peers that share one volume, such as the replicas of a Compose service. Each
 * peer holds one for as long as its launcher lives; identity and blocks lie inside.
 *
 * A slot remembers the name of its last holder. A container that was killed comes back under the same
 * name and takes its own slot again. `down` and `up` make containers with new names: those take the
 * lowest slots that are free, so that every identity and every file comes back, under another name.
 * The two rules meet when a swarm grows in the moment that one of its peers restarts, so a newcomer
 * leaves remembered slots to their holders for a while before it takes one.
 *
 * One chooses at a time, under a lock of its own: nobody finds a slot locked that is only being looked at.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLockFile } from '@shoal/chassis/file-lock';
import { CommandFailure } from '../failure.ts';

/** Peers on one volume: past this more machines are wanted, not more peers. Past it: refused. */
export const SLOTS_MAX = 100;
/** Docker starts a container that ended again within a tenth of a second at first. Past it: refused. */
export const NEWCOMER_PATIENCE_MS = 3000;
const RETRY_MS = 100;
/** Choosing takes milliseconds. Past it: refused. */
const CHOOSING_TIMEOUT_MS = 15_000;

export interface Slot extends Disposable {
  /** From 1 on. */
  readonly index: number;
  readonly dataDir: string;
}

/**
 * Takes a slot below `root` and holds it until disposed or until this process ends.
 * @throws CommandFailure when none is free.
 */
export async function claimSlot(
  root: string,
  {
    holder,
    patienceMs = NEWCOMER_PATIENCE_MS,
    signal,
  }: {
    /** Name that stays the same when this peer is started again. */
    readonly holder: string;
    readonly patienceMs?: number;
    readonly signal: AbortSignal;
  },
): Promise<Slot> {
  const folder = join(root, 'slots');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const startMs = performance.now();
  for (;;) {
    const waitedMs = performance.now() - startMs;
    const slot = tryChoose(folder, { holder, mayInherit: waitedMs >= patienceMs });
    if (slot !== undefined) return slot;
    if (waitedMs > patienceMs + CHOOSING_TIMEOUT_MS)
      throw new CommandFailure(`${folder} is locked by a process that does not end`);
    await sleep(RETRY_MS, undefined, { signal });
  }
}

interface Claim {
  readonly holder: string;
  /** Whether a slot may be taken that remembers another holder. */
  readonly mayInherit: boolean;
}

/** Undefined when another process is choosing, or when waiting is better. */
function tryChoose(folder: string, claim: Claim): Slot | undefined {
  using turn = tryLockFile(join(folder, 'choosing.lock'));
  return turn === undefined ? undefined : choose(folder, claim);
}

/** Undefined: the only free ones are remembered by others, who may be on their way back. */
function choose(folder: string, { holder, mayInherit }: Claim): Slot | undefined {
  const slots = readdirSync(folder)
    .filter((name) => /^[1-9]\d{0,3}$/.test(name))
    .map((name) => ({ index: Number(name), remembers: readHolder(join(folder, name)) }))
    .toSorted((a, b) => a.index - b.index);
  for (const { index } of slots.filter(({ remembers }) => remembers === holder)) {
    const own = take(folder, index, holder);
    if (own !== undefined) return own;
  }
  for (const { index, remembers } of slots) {
    if (!mayInherit && remembers !== undefined && remembers !== holder) {
      if (isFree(folder, index)) return undefined;
      continue;
    }
    const left = take(folder, index, holder);
    if (left !== undefined) return left;
  }
  const taken = new Set(slots.map(({ index }) => index));
  for (let index = 1; index <= SLOTS_MAX; index += 1)
    if (!taken.has(index)) return take(folder, index, holder);
  throw new CommandFailure(
    `all ${SLOTS_MAX} slots in ${folder} are taken; run peers elsewhere too`,
  );
}

function take(folder: string, index: number, holder: string): Slot | undefined {
  const dataDir = join(folder, String(index));
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock = tryLockFile(join(dataDir, 'slot.lock'));
  if (lock === undefined) return undefined;
  remember(dataDir, holder);
  return { index, dataDir, [Symbol.dispose]: () => lock[Symbol.dispose]() };
}

/** A peer that is not remembered comes back as a newcomer: that is no reason not to start, say on a full disk. */
function remember(dataDir: string, holder: string): void {
  const draft = join(dataDir, 'holder.new');
  try {
    if (readHolder(dataDir) === holder) return;
    writeFileSync(draft, `${holder}\n`, { mode: 0o600, flush: true });
    renameSync(draft, join(dataDir, 'holder'));
  } catch {
    rmSync(draft, { force: true });
  }
}

function isFree(folder: string, index: number): boolean {
  using lock = tryLockFile(join(folder, String(index), 'slot.lock'));
  return lock !== undefined;
}

function readHolder(dataDir: string): string | undefined {
  try {
    return readFileSync(join(dataDir, 'holder'), 'utf8').trim() || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
