/**
 * When blocks were found sound, written down a batch at a time: a transaction for each would cost
 * more than the look. What a crash or a full disk takes away is a check done twice.
 */
import type { Log } from '@shoal/chassis';
import type { BlockTable } from '../index/block-table.ts';
import type { Digest } from '../disk/block-record.ts';
import type { Alone } from './parts.ts';

const NOTES_MAX = 64;
const FLUSH_DELAY_MS = 5000;

export interface CheckNotes extends AsyncDisposable {
  /** @param writtenAtMs Tells which bytes were looked at: of others written since, it says nothing. */
  add(digest: Digest, check: { readonly writtenAtMs: number; readonly checkedAtMs: number }): void;
  flush(): Promise<void>;
}

export function createCheckNotes(deps: {
  readonly table: BlockTable;
  readonly alone: Alone;
  readonly log: Log;
}): CheckNotes {
  const { table, alone, log } = deps;
  let notes = new Map<Digest, { writtenAtMs: number; checkedAtMs: number }>();
  let timer: NodeJS.Timeout | undefined;

  const flush = async (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    if (notes.size === 0) return;
    const taken = notes;
    notes = new Map();
    try {
      await alone(() =>
        table.write({
          put: [...taken].flatMap(([digest, { writtenAtMs, checkedAtMs }]) => {
            const record = table.held(digest);
            if (record?.writtenAtMs !== writtenAtMs) return [];
            return [{ digest, record: { ...record, checkedAtMs } }];
          }),
        }),
      );
    } catch (err) {
      log.warn({ err, blocks: taken.size }, 'checks not written down: they are made again');
    }
  };
  return {
    add(digest, check) {
      notes.set(digest, check);
      if (notes.size >= NOTES_MAX) void flush();
      else timer ??= setTimeout(() => void flush(), FLUSH_DELAY_MS).unref();
    },
    flush,
    [Symbol.asyncDispose]: flush,
  };
}
