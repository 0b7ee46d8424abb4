/**
 * Names and paths inside a directory. Unlike a file's own name (`FileName`), which is shown in lists and
 * headers, they are kept as they are: a folder that is backed up must come back with the names it had.
 * Code that shows one makes such characters visible first.
 */
/**
 * Longest name, in bytes of UTF-8: what common file systems take. Never lower it: folders that are kept have such names.
 * Past it: 400 `directory-invalid`; the command line leaves it out, lists it, and exits 1.
 */
export const ENTRY_NAME_MAX_BYTES = 255;
/**
 * Longest path, in bytes of UTF-8: what Linux takes.
 * Past it: 400 `directory-invalid`; the command line leaves it out, lists it, and exits 1.
 */
export const PATH_SIZE_MAX_BYTES = 4096;
/**
 * Folders above a file, at most. Each may be a HAMT of eight levels, and no walk of a DAG goes down
 * more than 256.
 * Past it: 400 `directory-invalid`; the command line leaves it out, lists it, and exits 1.
 */
export const PATH_SEGMENTS_MAX = 30;
/** Longest target of a symlink: what Linux takes. Past it: 400. */
export const SYMLINK_TARGET_MAX_BYTES = 4095;

/**
 * The fault of a name inside a directory, in words for a person; undefined when it has none:
 * POSIX forbids "/", NUL, "." and "..", and UTF-8 can't say half a character.
 * Those who read kept folders ask it too (the command line's write-tree, TAR in and out): it must not become stricter,
 * or they could not be fetched any more. A rule for new names alone goes into directory-tree.ts and list-folder.ts.
 */
export function entryNameFault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (new TextEncoder().encode(name).length > ENTRY_NAME_MAX_BYTES)
    return `it is longer than ${ENTRY_NAME_MAX_BYTES} bytes`;
  if (name === '.' || name === '..') return 'it names a folder';
  if (name.includes('/')) return 'it contains a path separator';
  if (name.includes('\0')) return 'it contains a NUL character';
  return name.isWellFormed() ? undefined : 'it is not valid Unicode';
}

/** A name or path for people to read: characters that steer a terminal or the reading direction are spelled out. */
export function visibleName(name: string): string {
  return name.replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
