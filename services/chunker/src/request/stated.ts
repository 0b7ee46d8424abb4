/** Facts that a request states of a file: its name, its sha-256, its mode and time of last change. */
import type { Attributes } from '@shoal/blocks';
import {
  AttributesQuery,
  checkedName,
  FileNameInvalid,
  readSha256,
  RequestInvalid,
  type Sha256,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';

/**
 * The one name of a file, out of all the places that may give one: `?name=`, a form field, the
 * part's own file name. Two different names are a mistake that must not be settled by order.
 * @throws FileNameInvalid
 */
export function oneName(given: readonly (string | undefined)[]): string {
  const names = new Set(given.filter((name) => name !== undefined));
  if (names.size > 1) throw new FileNameInvalid({ reason: 'two names were given' });
  const [name] = names;
  if (name === undefined) throw new FileNameInvalid({ reason: 'none was given' });
  return checkedName(name);
}

/**
 * The sha-256 that the sender says the file has; undefined when no header says. With a body that is
 * the file, its content digest is the file's too.
 * @throws RequestInvalid for a header that can't be read, or two that disagree.
 */
export function statedSha256(
  headers: FastifyRequest['headers'],
  { isWholeBody }: { readonly isWholeBody: boolean },
): Sha256 | undefined {
  const ofFile = readSha256('Repr-Digest', headers['repr-digest']);
  if (!isWholeBody) return ofFile;
  const ofBody = readSha256('Content-Digest', headers['content-digest']);
  if (ofFile !== undefined && ofBody !== undefined && ofFile !== ofBody)
    throw new RequestInvalid({
      reason: 'Repr-Digest and Content-Digest state different sha-256 of one body',
    });
  return ofFile ?? ofBody;
}

/** The mode and time in a query. @throws RequestInvalid */
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

/** The same behind the name of a field, as Kubo's clients write them: `file?mode=0644&mtime=1700000000&mtime-nsecs=5`. @throws RequestInvalid */
export function fieldAttributes(fieldName: string): Attributes | undefined {
  const at = fieldName.indexOf('?');
  if (at < 0) return undefined;
  return readAttributes(Object.fromEntries(new URLSearchParams(fieldName.slice(at))));
}
