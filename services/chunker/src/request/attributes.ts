/** Modes and times that a sender states: in a query, or behind the name of a form's field as Kubo's clients do. */
import type { Attributes } from '@shoal/blocks';
import { AttributesQuery, RequestInvalid } from '@shoal/protocol';

/** @throws RequestInvalid */
export function readAttributes(query: unknown): Attributes | undefined {
  const parsed = AttributesQuery.safeParse(query);
  if (!parsed.success)
    throw new RequestInvalid({ reason: `a mode or time is not valid: ${parsed.error.message}` });
  const { mode, mtime, 'mtime-nsecs': nsecs = 0 } = parsed.data;
  if (mode === undefined && mtime === undefined) return undefined;
  return {
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8),
    mtime: mtime === undefined ? undefined : { secs: BigInt(mtime), nsecs },
  };
}

/** Of a field such as `file?mode=0644&mtime=1700000000&mtime-nsecs=5`. @throws RequestInvalid */
export function fieldAttributes(fieldName: string): Attributes | undefined {
  const at = fieldName.indexOf('?');
  if (at < 0) return undefined;
  return readAttributes(Object.fromEntries(new URLSearchParams(fieldName.slice(at))));
}
