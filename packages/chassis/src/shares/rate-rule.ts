/**
 * The rule that bytes must move. A limit on a whole request would end long transfers and still let a
 * trickle hold a place for minutes, so the rate is judged instead, over a window.
 *
 * Only time in which we waited for the other side counts: a sender that storage holds back is not slow,
 * nor is a reader of a file whose blocks are late.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Slower than this over the window below gives way when others wait for its place; a guess: a slow phone is
 * faster.
 * Past it: 503 `gave-way`, or the answer breaks off. Time in which we hold it back does not count.
 */
export const CONTESTED_RATE_MIN_BYTES = 16 * 1024;
/**
 * Kernels pass bytes on in bursts of some hundred KiB: a shorter window would take a pause for a stop.
 * Past it: 503 `gave-way`, or the answer breaks off. Time in which we hold it back does not count.
 */
export const CONTESTED_WINDOW_MS = 10_000;
/** How often a rate is looked at. */
const SAMPLE_MS = 1000;

export interface RateRule {
  /**
   * Called regularly with how many bytes moved in all and whether we were waiting for more to move; answers
   * whether the other side is too slow.
   */
  isTooSlow(sample: {
    readonly nowMs: number;
    readonly receivedBytes: number;
    readonly isWaiting: boolean;
  }): boolean;
}

export function createRateRule({
  bytesPerSecondMin,
  windowMs,
  startedAtMs,
}: {
  readonly bytesPerSecondMin: number;
  readonly windowMs: number;
  readonly startedAtMs: number;
}): RateRule {
  const slots: { readonly waitedMs: number; readonly bytes: number }[] = [];
  let lastMs = startedAtMs;
  let lastBytes = 0;
  let waitedMs = 0;
  let bytes = 0;
  return {
    isTooSlow({ nowMs, receivedBytes, isWaiting }) {
      const slot = {
        waitedMs: isWaiting ? Math.max(0, nowMs - lastMs) : 0,
        bytes: receivedBytes - lastBytes,
      };
      lastMs = nowMs;
      lastBytes = receivedBytes;
      slots.push(slot);
      waitedMs += slot.waitedMs;
      bytes += slot.bytes;
      // Keeps the shortest run of slots that still spans the window.
      for (let oldest = slots[0]; oldest !== undefined; oldest = slots[0]) {
        const isNeeded = waitedMs - oldest.waitedMs < windowMs;
        if (isNeeded) break;
        slots.shift();
        waitedMs -= oldest.waitedMs;
        bytes -= oldest.bytes;
      }
      return waitedMs >= windowMs && bytes * 1000 < bytesPerSecondMin * waitedMs;
    },
  };
}

/** Watches how bytes move, until disposed. */
export interface RateWatch extends Disposable {
  /** Whether the other side is slower than may be while others wait for its place. */
  readonly isSlow: () => boolean;
}

export interface RateOptions {
  readonly contestedMinBytes?: number;
  readonly windowMs?: number;
}

/** Watches how fast an answer is read. */
export function watchReader(response: ServerResponse, options: RateOptions = {}): RateWatch {
  const { socket } = response;
  const startBytes = socket === null ? 0 : socket.bytesWritten - socket.writableLength;
  return watch(
    () => ({
      movedBytes: socket === null ? 0 : socket.bytesWritten - socket.writableLength - startBytes,
      isWaiting: response.writableNeedDrain || (socket?.writableLength ?? 0) > 0,
    }),
    options,
  );
}

/** Watches how fast a body is sent, beside its reader: it only samples the socket's count. */
export function watchSender(
  raw: IncomingMessage,
  {
    onSample,
    ...options
  }: RateOptions & {
    /** Called with each sample, for rules of the caller's own. */
    readonly onSample?: (sample: Parameters<RateRule['isTooSlow']>[0]) => void;
  } = {},
): RateWatch {
  const { socket } = raw;
  const startBytes = socket.bytesRead;
  return watch(
    () => ({
      movedBytes: socket.bytesRead - startBytes,
      // Bytes that lie here unread are for us to take, so the sender is not to blame.
      isWaiting: !raw.complete && raw.readableLength === 0,
    }),
    options,
    onSample,
  );
}

function watch(
  look: () => { readonly movedBytes: number; readonly isWaiting: boolean },
  {
    contestedMinBytes = CONTESTED_RATE_MIN_BYTES,
    windowMs = CONTESTED_WINDOW_MS,
  }: RateOptions = {},
  onSample: (sample: Parameters<RateRule['isTooSlow']>[0]) => void = () => {},
): RateWatch {
  const startedAtMs = performance.now();
  const rule = createRateRule({ bytesPerSecondMin: contestedMinBytes, windowMs, startedAtMs });
  let isSlow = false;
  const timer = setInterval(() => {
    const { movedBytes: receivedBytes, isWaiting } = look();
    const sample = { nowMs: performance.now(), receivedBytes, isWaiting };
    const isBelow = rule.isTooSlow(sample);
    isSlow = isWaiting && isBelow; // who has taken all that there is waits for us
    onSample(sample);
  }, SAMPLE_MS);
  timer.unref();
  return { isSlow: () => isSlow, [Symbol.dispose]: () => clearInterval(timer) };
}
