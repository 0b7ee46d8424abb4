/** A progress bar on stderr, when a person watches; silence otherwise. */
import type { Context } from '../context.ts';
import { fit, widthOf } from './fit-line.ts';
import { formatAge, formatBytes } from './format.ts';
import { ERASE_LINE } from './printable.ts';

const REDRAW_EVERY_MS = 100;
const BAR_WIDTH = 24;
/** A name is cut to this before facts are left out: its beginning tells it from others. */
const TITLE_WIDTH_MIN = 12;
/** Before that a speed says nothing about the time that is left. */
const ESTIMATE_AFTER_MS = 2000;
const GAP = '  ';

export interface Progress extends Disposable {
  /** Counts bytes as they pass. */
  add(sizeBytes: number): void;
  /** Shows a word in place of the speed: what is waited for once the bytes are through. */
  note(text: string): void;
}

/** Starts a bar for `totalBytes` (undefined: not known); disposing erases it. */
export function startProgress(
  context: Context,
  { title, totalBytes }: { readonly title: string; readonly totalBytes: number | undefined },
): Progress {
  const line = startStatusLine(context);
  const startedAtMs = performance.now();
  let doneBytes = 0;
  let drawnAtMs = 0;
  let remark: string | undefined;
  const draw = (): void => {
    drawnAtMs = performance.now();
    const elapsedMs = drawnAtMs - startedAtMs;
    const columns = roomIn(context);
    line.show(progressLine({ title, totalBytes, doneBytes, remark, elapsedMs, columns }));
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
    [Symbol.dispose]: () => line[Symbol.dispose](),
  };
}

/** A line on stderr that is written over, when a person watches; disposing erases it. */
export function startStatusLine(
  context: Context,
): { readonly show: (text: string) => void } & Disposable {
  const { err, isWatched } = context;
  if (!isWatched) return { show: () => {}, [Symbol.dispose]: () => {} };
  return {
    show: (text) => err(ERASE_LINE + fit(text, roomIn(context))),
    [Symbol.dispose]: () => err(ERASE_LINE),
  };
}

/** Columns of a line: the last one stays free, since terminals differ in when they go on below. */
const roomIn = ({ columns }: Context): number => (columns?.() || 80) - 1;

/** One state of the bar as text of at most `columns`: the name is cut first, then facts are left out. */
export function progressLine(state: {
  readonly title: string;
  readonly totalBytes: number | undefined;
  readonly doneBytes: number;
  readonly elapsedMs: number;
  readonly remark: string | undefined;
  readonly columns: number;
}): string {
  const { title, columns } = state;
  const name = fit(title, Number.MAX_SAFE_INTEGER); // as it will be written
  const room = (facts: readonly string[]) => columns - widthOf([...facts, ''].join(GAP));
  // The last one that is tried is the shortest.
  const forms = formsOf(state);
  const titleMin = Math.min(widthOf(name), TITLE_WIDTH_MIN);
  const facts = forms.find((form) => room(form) >= titleMin) ?? forms.at(-1) ?? [];
  const left = room(facts);
  return left < 1 ? fit(facts.join(GAP), columns) : [fit(name, left), ...facts].join(GAP);
}

/** The variants of the line, the longest first. */
function formsOf({
  totalBytes,
  doneBytes,
  elapsedMs,
  remark,
}: Omit<Parameters<typeof progressLine>[0], 'title' | 'columns'>): string[][] {
  const perSecond = elapsedMs > 0 ? (doneBytes * 1000) / elapsedMs : 0;
  const doing = remark ?? `${formatBytes(Math.round(perSecond))}/s`;
  const done = formatBytes(doneBytes);
  if (totalBytes === undefined) return [[done, doing], [done], []];
  const share = totalBytes === 0 ? 1 : Math.min(doneBytes / totalBytes, 1);
  const percent = `${Math.floor(share * 100)} %`;
  const bar = (width: number) => {
    const full = Math.round(share * width);
    return `${'█'.repeat(full) + '░'.repeat(width - full)} ${percent}`;
  };
  const of = `${done} of ${formatBytes(totalBytes)}`;
  const isCertain = remark === undefined && elapsedMs >= ESTIMATE_AFTER_MS && doneBytes > 0;
  const leftMs = (Math.max(0, totalBytes - doneBytes) * 1000) / perSecond;
  const end = isCertain ? [`${formatAge(leftMs)} left`] : [];
  return [
    [bar(BAR_WIDTH), of, doing, ...end],
    [bar(BAR_WIDTH / 2), of, doing, ...end],
    [percent, of, doing, ...end],
    [percent, doing, ...end],
    [percent, doing],
    [percent],
  ];
}
