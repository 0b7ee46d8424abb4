/**
 * One pass over the files that need a look, the ones in most danger first.
 *
 * Copies are counted for a window of files at a time: enough that what matters comes first, and
 * bounded. When members change during a pass, what was in order may be in danger now:
 * after the current file the pass gathers and orders anew.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import type { Pin } from '@shoal/protocol';
import { countCopies } from '../peers/count-copies.ts';
import { listPins } from '../peers/pins.ts';
import type { MemberView } from '../peers/member-view.ts';
import { settleOrder } from './settle-order.ts';

/** Files that are ordered together; the page that fills the window is taken whole. */
const WINDOW_FILES_MAX = 2000;

export interface PassDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly log: Log;
  readonly isDue: (pin: Pin) => boolean;
  /** Passes over the small files that are in order; gives the others. */
  readonly lookAtSmall: (pins: readonly Pin[]) => Promise<readonly Pin[]>;
  /** Settles one file; a failure is its own to note. */
  readonly settlePin: (pin: Pin) => Promise<void>;
}

/** Settles all files that are due, one after the other. @throws Problem when discovery is away. */
export async function settlePass(
  deps: PassDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { view } = deps;
  for (let after: string | undefined = ''; after !== undefined;) {
    const placedSet = view.placedSet();
    const { pins, next }: Window = await gather(after, deps, { signal });
    after = next;
    const rest = await deps.lookAtSmall(pins);
    for (const pin of await inOrder(rest, deps, { signal })) {
      signal.throwIfAborted();
      if (deps.isDue(pin)) await deps.settlePin(pin);
      if (view.placedSet() === placedSet) continue;
      after = '';
      break;
    }
  }
}

interface Window {
  readonly pins: readonly Pin[];
  readonly next: string | undefined;
}

async function gather(
  from: string,
  { client, isDue }: PassDeps,
  { signal }: { signal: AbortSignal },
): Promise<Window> {
  const pins: Pin[] = [];
  let after: string | undefined = from;
  while (after !== undefined && pins.length < WINDOW_FILES_MAX) {
    const page = await listPins(after, client, { signal });
    pins.push(...page.pins.filter(isDue));
    after = page.next;
  }
  return { pins, next: after };
}

async function inOrder(
  pins: readonly Pin[],
  deps: PassDeps,
  { signal }: { signal: AbortSignal },
): Promise<Pin[]> {
  if (pins.length < 2) return [...pins];
  const roots = pins.map(({ root }) => root);
  const counts = await countCopies(roots, deps, { signal });
  return settleOrder(pins.map((pin) => ({ pin, copies: counts.get(pin.root) })));
}
