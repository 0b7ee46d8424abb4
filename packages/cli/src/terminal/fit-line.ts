/**
 * Lines that are written over. One that is wider than the terminal goes on in the next row, where erasing
 * the line does not reach: each redraw would leave a row behind. So a line is cut to the columns that there
 * are, as a terminal counts them: a character of Chinese takes two, a combining mark none.
 */
import stringWidth from 'string-width';
import { printable } from './printable.ts';

const CUT = '…';

/** The columns that a text takes. */
export const widthOf = (text: string): number => stringWidth(text);

/** The text, cut in its middle to this number of columns: names that begin alike differ at their ends. */
export function fitMiddle(text: string, columns: number): string {
  const shown = printable(text);
  if (widthOf(shown) <= columns) return shown;
  if (columns < 1) return '';
  const segments = Array.from(new Intl.Segmenter().segment(shown), ({ segment }) => segment);
  const rest = columns - widthOf(CUT);
  const head = longest(segments, Math.ceil(rest / 2));
  const tail = longest(segments.toReversed(), rest - widthOf(head.join(''))).toReversed();
  return [...head, CUT, ...tail].join('');
}

/** The first ones that fit. */
function longest(segments: readonly string[], columns: number): string[] {
  const taken: string[] = [];
  let width = 0;
  for (const segment of segments) {
    width += widthOf(segment);
    if (width > columns) break;
    taken.push(segment);
  }
  return taken;
}

/** The text, cut to this number of columns. */
export function fit(text: string, columns: number): string {
  const shown = printable(text);
  if (widthOf(shown) <= columns) return shown;
  const segments = Array.from(new Intl.Segmenter().segment(shown), ({ segment }) => segment);
  const cut = longest(segments, columns - widthOf(CUT)).join('');
  return columns < 1 ? '' : cut + CUT;
}
