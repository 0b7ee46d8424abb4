/** How figures look to people. */
import { KiB } from '@shoal/protocol';
import { fitMiddle, widthOf } from './fit-line.ts';
import { printable } from './printable.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A size in the largest unit that leaves a whole part: `1.4 MiB`. */
export function formatBytes(sizeBytes: number): string {
  let index = 0;
  let value = sizeBytes;
  // 1023.95 would be printed as 1024.0.
  while (value >= KiB - 0.05 && index < UNITS.length - 1) {
    value /= KiB;
    index++;
  }
  return `${index === 0 ? value : value.toFixed(1)} ${UNITS[index]}`;
}

/** A time span in its largest fitting unit: `4 s`, `12 min`. */
export function formatAge(ageMs: number): string {
  const seconds = Math.round(ageMs / 1000);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 72 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

/** A moment of the wall clock, in local time, to the minute: `2027-03-01 12:00`. */
export function formatTime(atMs: number): string {
  const at = new Date(atMs);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The same, without its day when that is today: `12:00`. */
export function formatMoment(atMs: number, nowMs: number): string {
  const [day = '', time = ''] = formatTime(atMs).split(' ');
  return formatTime(nowMs).startsWith(day) ? time : `${day} ${time}`;
}

/** A count with its noun: `1 block`, `2 blocks`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A peer id as its last eight characters: the first ones are the same for all. */
export function shortPeerId(peerId: string): string {
  return `…${peerId.slice(-8)}`;
}

/** Names keep this many columns at least, however narrow the terminal is. */
const NAME_COLUMNS_MIN = 16;
/** Between two columns. */
const GAP = '  ';

/**
 * Columns of text, padded to the widest cell; the heading comes first. With `columns` the cells of the first
 * one, which are names, are shortened so that the lines fit, down to a minimum.
 */
export function formatTable(
  heading: readonly string[],
  rows: readonly string[][],
  columns?: number,
): string {
  return openTable(heading, columns)(rows);
}

/** A table that comes in parts: the first one has the heading, and its widths are those of all. */
export function openTable(
  heading: readonly string[],
  columns?: number,
): (rows: readonly string[][]) => string {
  let widths: readonly number[] | undefined;
  return (rows) => {
    const isFirst = widths === undefined;
    const all = (isFirst ? [heading, ...rows] : rows).map((cells) => cells.map(printable));
    widths ??= widthsOf(all, columns);
    return all.map((cells) => lineOf(cells, widths ?? [], columns !== undefined)).join('');
  };
}

function widthsOf(table: readonly string[][], columns: number | undefined): number[] {
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((cells) => widthOf(cells[column] ?? ''))),
  );
  const [names = 0, ...others] = widths;
  if (columns === undefined) return widths;
  const left = columns - others.reduce((sum, width) => sum + width + GAP.length, 0);
  return [Math.min(names, Math.max(NAME_COLUMNS_MIN, left)), ...others];
}

function lineOf(
  [name = '', ...others]: readonly string[],
  widths: readonly number[],
  isShortened: boolean,
): string {
  const first = isShortened ? fitMiddle(name, widths[0] ?? 0) : name;
  const cells = [first, ...others].map(
    (cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))),
  );
  return `${cells.join(GAP).trimEnd()}\n`;
}

/** Facts one below the other, their names padded to the longest; an empty name goes on with the last. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}
