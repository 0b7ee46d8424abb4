/**
 * Text that is safe on a terminal. Names, addresses and reasons come from other people and other peers, and a
 * terminal obeys control characters: it can be made to hide lines, to rename its window, to type. So all
 * that a command prints passes here, once, on its way out (main.ts). Escaped as JSON escapes it, so that
 * `--json` says the same as before.
 */

/** Erases the line that the cursor is on: the one sequence that we write ourselves. */
export const ERASE_LINE = '\r\u001b[K';

/** Control characters but for line ends and tabs, and those that reverse the reading direction. */
const UNPRINTABLE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The text with what does not print written out: `\u001b`. */
export function printable(text: string): string {
  return text.replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The same for a text that may begin with our own sequence. */
export function printableAfterErase(text: string): string {
  return text.startsWith(ERASE_LINE)
    ? ERASE_LINE + printable(text.slice(ERASE_LINE.length))
    : printable(text);
}
