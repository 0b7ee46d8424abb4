/**
 * Have-maps of our own storage, asked for in batches. Every want of every member asks for some, and a
 * list or a sweep of ours for dozens: a call for each costs more than all the look-ups, and on a busy
 * machine the last of them is late before it is sent. So what is asked in one turn of the event loop
 * goes out together, few calls at a time; what is asked meanwhile goes with the next.
 */
import { decodeBits } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, type HaveMap, storageRoutes, WANT_ROOTS_MAX } from '@shoal/protocol';

/** Shorter than a want's own time-out, so that a slow disk is an answer of "nothing" in time. */
const ANSWER_TIMEOUT_MS = 1000;
/** A second call goes out while one waits for a slow disk. */
const CALLS_MAX = 2;
/** Roots that wait for a call, some seconds' worth at worst; past that nobody waits any more. */
const WAITING_MAX = 1024;

export interface OwnHaveMaps extends Disposable {
  /** What this peer holds of a DAG; undefined for nothing, or when it can't be told. */
  read(root: Cid): Promise<HaveMap | undefined>;
}

type Answer = PromiseWithResolvers<HaveMap | undefined>;

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
        answer.resolve(typeof said !== 'string' && isHolding(said) ? said : undefined);
      }
    } catch (err) {
      if (!signal.aborted) log.debug({ err, roots: batch.length }, 'have-maps not read');
    } finally {
      for (const [, answer] of batch) answer.resolve(undefined); // of those without an answer
    }
  };
  return {
    read(root) {
      const known = waiting.get(root);
      if (known !== undefined) return known.promise;
      if (signal.aborted || waiting.size >= WAITING_MAX) return Promise.resolve(undefined);
      const answer: Answer = Promise.withResolvers();
      waiting.set(root, answer);
      sendSoon();
      return answer.promise;
    },
    [Symbol.dispose]() {
      stop.abort(new Error('stopping'));
      for (const answer of waiting.values()) answer.resolve(undefined);
      waiting.clear();
    },
  };
}

/** Whether there is anything in it; false too for one whose bits do not fit its blocks. */
function isHolding({ bits, blocks }: HaveMap): boolean {
  try {
    return decodeBits(bits, blocks).some((byte) => byte !== 0);
  } catch {
    return false;
  }
}
