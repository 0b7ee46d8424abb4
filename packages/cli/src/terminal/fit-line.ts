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

/** The text, cut to this number of columns. */
export function fit(text: string, columns: number): string {
  const shown = printable(text);
  if (widthOf(shown) <= columns) return shown;
  let cut = '';
  let width = widthOf(CUT);
  for (const { segment } of new Intl.Segmenter().segment(shown)) {
    width += widthOf(segment);
    if (width > columns) break;
    cut += segment;
  }
  return columns < 1 ? '' : cut + CUT;
}
