/** Which blocks a CAR is to have: `?dag-scope=` and `?entity-bytes=` (IPIP-402). */
import { RequestInvalid } from '@shoal/protocol';
import type { ByteRange } from '../../file/pieces.ts';

/** `block`: the block at the path's end. `entity`: one file, or one directory without its entries. */
export type Scope = 'block' | 'entity' | 'all';

/** Bytes of a file as asked for: below 0 they count from its end, `to` undefined is its end. */
export interface EntityBytes {
  readonly from: number;
  readonly to: number | undefined;
}

export interface CarQuery {
  readonly scope: Scope;
  readonly entityBytes: EntityBytes | undefined;
}

/** @throws RequestInvalid */
export function readCarQuery(query: {
  readonly 'dag-scope'?: string | undefined;
  readonly 'entity-bytes'?: string | undefined;
}): CarQuery {
  const scope = query['dag-scope'] ?? 'all';
  if (scope !== 'block' && scope !== 'entity' && scope !== 'all')
    throw new RequestInvalid({ reason: 'dag-scope is "block", "entity" or "all"' });
  const text = query['entity-bytes'];
  if (text === undefined) return { scope, entityBytes: undefined };
  return { scope: scope === 'all' ? 'entity' : scope, entityBytes: readEntityBytes(text) };
}

function readEntityBytes(text: string): EntityBytes {
  const [, first, last] = /^(-?\d{1,15}):(-?\d{1,15}|\*)$/.exec(text) ?? [];
  const from = Number(first);
  const to = last === '*' ? undefined : Number(last);
  // Both from the same end: whether they are in order does not depend on the size.
  const isReversed = to !== undefined && from < 0 === to < 0 && to < from;
  if (first === undefined || isReversed)
    throw new RequestInvalid({
      reason: 'entity-bytes is "from:to", two numbers in order, or "*" for the end',
    });
  return { from, to };
}

/** The bytes that are meant in a file of this size; undefined when none of them is in it. */
export function bytesIn({ from, to }: EntityBytes, sizeBytes: number): ByteRange | undefined {
  const last = sizeBytes - 1;
  const start = from < 0 ? Math.max(0, sizeBytes + from) : from;
  const end = to === undefined ? last : Math.min(last, to < 0 ? sizeBytes + to : to);
  return start <= end ? { start, end } : undefined;
}
