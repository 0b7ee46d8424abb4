import { setTimeout as sleep } from 'node:timers/promises';
import { Gather, type Log, type PeerClient } from '@shoal/chassis';
import {
  ClockWrong,
  discoveryRoutes,
  IdentityInUse,
  type Pin,
  type PinDraft,
  PINS_PER_CALL_MAX,
  Problem,
  ServiceUnavailable,
  StorageFull,
} from '@shoal/protocol';

/** Longest wait of a pin for others while some are being put. Past it: it is put with those that came. */
const PINS_WAIT_MAX_MS = 50;
/** Calls under way at once. Past it: pins wait for a call. */
const PIN_BATCHES_MAX = 2;
const RETRY_DELAY_MS = 200;
const RETRY_DELAY_MAX_MS = 1000;
/** Connection errors that prove that nothing was sent. */
const NOTHING_SENT = new Set(['ECONNREFUSED', 'UND_ERR_CONNECT_TIMEOUT', 'ENOENT', 'EHOSTUNREACH']);

/** No answer came, so the pin may have been put, and the blocks must stay. */
export class PinDoubtful extends Error {}

/** Pins of uploads that end at one moment are put together: one call and one sync. */
export type PinBatches = Gather<PinDraft, Pin>;

/** @param signal ends the calls; `timeoutMs` is the longest wait for an answer. */
export function createPinBatches(
  { client, timeoutMs }: { readonly client: PeerClient; readonly timeoutMs: number },
  { signal }: { signal: AbortSignal },
): PinBatches {
  const put = async (drafts: readonly PinDraft[]): Promise<readonly Pin[]> => {
    const args = { body: { drafts: [...drafts] } };
    const target = client.own('discovery');
    return (await client.call(target, discoveryRoutes.putPins, args, { signal, timeoutMs })).pins;
  };
  return new Gather(put, {
    itemsMax: PINS_PER_CALL_MAX,
    sizeMaxBytes: Infinity,
    sizeOf: () => 0,
    waitMaxMs: PINS_WAIT_MAX_MS,
    batchesMax: PIN_BATCHES_MAX,
  });
}

/**
 * Puts a pin; tries again while discovery restarts, which it may: the same pin twice is one pin.
 * @throws StorageFull when discovery's disk is; ClockWrong; IdentityInUse; ServiceUnavailable when discovery stayed away;
 * PinDoubtful, caused by what was thrown, when it may have taken the pin all the same.
 */
export async function putPin(
  draft: PinDraft,
  {
    pins,
    log,
    timeoutMs,
  }: { readonly pins: PinBatches; readonly log: Log; readonly timeoutMs: number },
  { signal }: { signal: AbortSignal },
): Promise<Pin> {
  const deadlineMs = performance.now() + timeoutMs;
  let isDoubtful = false;
  for (let pauseMs = RETRY_DELAY_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_DELAY_MAX_MS)) {
    try {
      return await pins.add(draft);
    } catch (error) {
      const isAway = error instanceof ServiceUnavailable;
      isDoubtful ||= !isRefusal(error) && !(isAway && NOTHING_SENT.has(codeOf(error.cause)));
      const isLast = !isAway || signal.aborted || performance.now() + pauseMs >= deadlineMs;
      if (isLast && isDoubtful)
        throw new PinDoubtful('the pin may have been put', { cause: error });
      if (isLast) throw error;
      log.debug({ err: error, cid: draft.root }, 'pin not taken, trying again');
    }
    // Cut short when the service stops; the next call then fails at once and says so.
    await Promise.allSettled([sleep(pauseMs, undefined, { signal })]);
  }
}

/** An answer that says for certain that the pin was not taken. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof StorageFull ||
    error instanceof ClockWrong ||
    error instanceof IdentityInUse ||
    (error instanceof Problem && error.status < 500)
  );
}

/** Read by shape: what a socket throws is not always this module's own `Error`. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return String(error.code);
}
