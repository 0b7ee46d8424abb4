/** A progress bar on stderr, when somebody watches; silence otherwise. */
import type { Context } from './context.ts';
import { formatBytes } from './format.ts';
import { ERASE_LINE } from './printable.ts';

const REDRAW_EVERY_MS = 100;
const BAR_WIDTH = 24;

export interface Progress extends Disposable {
  /** Counts bytes as they pass. */
  add(sizeBytes: number): void;
  /** Shows a word in place of the speed: what is waited for once the bytes are through. */
  note(text: string): void;
}

/** Starts a bar for `totalBytes` (undefined: not known); disposing erases it. */
export function startProgress(
  { err, isWatched }: Context,
  { title, totalBytes }: { readonly title: string; readonly totalBytes: number | undefined },
): Progress {
  if (!isWatched) return { add: () => {}, note: () => {}, [Symbol.dispose]: () => {} };
  const startedAtMs = performance.now();
  let doneBytes = 0;
  let drawnAtMs = 0;
  let remark: string | undefined;
  const draw = (): void => {
    drawnAtMs = performance.now();
    err(
      ERASE_LINE +
        progressLine({ title, totalBytes, doneBytes, remark, elapsedMs: drawnAtMs - startedAtMs }),
    );
  };
  return {
    add(sizeBytes) {
      doneBytes += sizeBytes;
      if (performance.now() - drawnAtMs > REDRAW_EVERY_MS) draw();
    },
    note(text) {
      if (text === remark) return;
      remark = text;
      draw();
    },
    [Symbol.dispose]: () => err(ERASE_LINE),
  };
}

/** A line on stderr that is written over, when somebody watches; disposing erases it. */
export function startStatusLine({
  err,
  isWatched,
}: Context): { readonly show: (text: string) => void } & Disposable {
  if (!isWatched) return { show: () => {}, [Symbol.dispose]: () => {} };
  return {
    show: (text) => err(ERASE_LINE + text),
    [Symbol.dispose]: () => err(ERASE_LINE),
  };
}

/** One state of the bar as text. */
export function progressLine(state: {
  readonly title: string;
  readonly totalBytes: number | undefined;
  readonly doneBytes: number;
  readonly elapsedMs: number;
  readonly remark: string | undefined;
}): string {
  const { title, totalBytes, doneBytes, elapsedMs } = state;
  const perSecond = elapsedMs > 0 ? (doneBytes * 1000) / elapsedMs : 0;
  const remark = state.remark ?? `${formatBytes(Math.round(perSecond))}/s`;
  if (totalBytes === undefined) return `${title}  ${formatBytes(doneBytes)}  ${remark}`;
  const share = totalBytes === 0 ? 1 : Math.min(doneBytes / totalBytes, 1);
  const full = Math.round(share * BAR_WIDTH);
  const bar = '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
  return `${title}  ${bar} ${Math.floor(share * 100)} %  ${formatBytes(doneBytes)}  ${remark}`;
}
