/**
 * Have-maps of our own storage, asked for in batches. Every want of every member asks for some, and a
 * list or a sweep of ours for dozens: a call for each costs more than all the look-ups, and on a busy
 * machine the last of them is late before it is sent. So what is asked in one turn of the event loop
 * goes out together, few calls at a time; what is asked meanwhile goes with the next.
 */
import { decodeBits } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  type HaveMap,
  type HaveMapOrNot,
  storageRoutes,
  WANT_ROOTS_MAX,
} from '@shoal/protocol';

/** Shorter than a want's own time-out, so that a slow disk is an answer of "can't tell" in time. */
const ANSWER_TIMEOUT_MS = 1000;
/** A second call goes out while one waits for a slow disk. */
const CALLS_MAX = 2;
/** Roots that wait for a call, some seconds' worth at worst; past that nobody waits any more. */
const WAITING_MAX = 1024;

/**
 * The have-map of a DAG at this peer: undefined for nothing that it could serve, `unread` when that can't be
 * told: storage is away, slow, or asked for more than it can read. The two must never be taken for each
 * other: one is a loss, the other is none.
 */
export interface OwnReading {
  readonly haveMap: HaveMap | undefined | 'unread';
  /** When it was asked for, on a clock of ours that goes on over restarts: orders what others hear. */
  readonly readAtMs: number;
}
export type ReadHaveMap = (root: Cid) => Promise<OwnReading>;

export interface OwnHaveMaps extends Disposable {
  read: ReadHaveMap;
}

type Said = OwnReading['haveMap'];
type Answer = PromiseWithResolvers<Said>;

export function createOwnHaveMaps({
  client,
  log,
}: {
  readonly client: PeerClient;
  readonly log: Log;
}): OwnHaveMaps {
  const stop = new AbortController();
  const { signal } = stop;
  /** In the order asked; one answer for all that ask for a root before it is sent. */
  const waiting = new Map<Cid, Answer>();
  let calls = 0;
  let isDue = false;

  const sendSoon = (): void => {
    if (isDue || waiting.size === 0 || calls >= CALLS_MAX) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      send();
    });
  };
  const send = (): void => {
    const batch = [...waiting].slice(0, WANT_ROOTS_MAX);
    for (const [root] of batch) waiting.delete(root);
    calls += 1;
    void ask(batch).finally(() => {
      calls -= 1;
      sendSoon();
    });
    sendSoon();
  };
  const ask = async (batch: readonly (readonly [Cid, Answer])[]): Promise<void> => {
    try {
      const { haveMaps } = await client.call(
        client.own('storage'),
        storageRoutes.haveMaps,
        { body: { roots: batch.map(([root]) => root) } },
        { signal, timeoutMs: ANSWER_TIMEOUT_MS },
      );
      for (const [index, [root, answer]] of batch.entries()) {
        const said = haveMaps[index] ?? 'unread';
        if (said === 'unread') log.debug({ root }, 'have-map not read');
        answer.resolve(typeof said === 'string' ? toldOf(said) : heldOf(said));
      }
    } catch (err) {
      if (!signal.aborted) log.debug({ err, roots: batch.length }, 'have-maps not read');
    } finally {
      for (const [, answer] of batch) answer.resolve('unread'); // those without an answer
    }
  };
  const read = (root: Cid): Promise<Said> => {
    const known = waiting.get(root);
    if (known !== undefined) return known.promise;
    if (signal.aborted || waiting.size >= WAITING_MAX) return Promise.resolve('unread');
    const answer: Answer = Promise.withResolvers();
    waiting.set(root, answer);
    sendSoon();
    return answer.promise;
  };
  return {
    async read(root) {
      const readAtMs = performance.timeOrigin + performance.now();
      return { haveMap: await read(root), readAtMs };
    },
    [Symbol.dispose]() {
      stop.abort(new Error('stopping'));
      for (const answer of waiting.values()) answer.resolve('unread');
      waiting.clear();
    },
  };
}

/** Blocks without their manifest can't be served as this file: that is as good as nothing. */
const toldOf = (said: Exclude<HaveMapOrNot, HaveMap>): Said =>
  said === 'unread' ? 'unread' : undefined;

/** Undefined when there is nothing in it; what has not one bit a block tells nothing. */
function heldOf(haveMap: HaveMap): Said {
  const { bits, blocks, checkedAtMs } = haveMap;
  try {
    if (decodeBits(bits, blocks).every((byte) => byte === 0)) return undefined;
  } catch {
    return 'unread';
  }
  if (checkedAtMs === undefined) return haveMap;
  return { ...haveMap, checkedMsAgo: Math.max(0, Date.now() - checkedAtMs) };
}
