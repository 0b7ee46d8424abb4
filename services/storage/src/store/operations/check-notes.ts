/**
 * When blocks were found sound, written down a batch at a time: a transaction for each would cost
 * more than the look. After a crash or on a full disk the cost is a check done twice.
 */
import { AssertionError } from 'node:assert';
import type { Digest } from '../../disk/block-record.ts';
import type { OperationParts } from '../state/store-parts.ts';

const NOTES_MAX = 64;
const FLUSH_DELAY_MS = 5000;

export interface CheckNotes extends AsyncDisposable {
  /** @param writtenAtMs Of the bytes that were checked: of others, written since, the note says nothing. */
  add(digest: Digest, check: { readonly writtenAtMs: number; readonly checkedAtMs: number }): void;
  flush(): Promise<void>;
}

export function createCheckNotes({ table, alone, log }: OperationParts): CheckNotes {
  let notes = new Map<Digest, { writtenAtMs: number; checkedAtMs: number }>();
  let timer: NodeJS.Timeout | undefined;

  const flush = async (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    if (notes.size === 0) return;
    const taken = notes;
    notes = new Map();
    try {
      await alone((exclusive) =>
        table.write(exclusive, {
          put: [...taken].flatMap(([digest, { writtenAtMs, checkedAtMs }]) => {
            const record = table.held(digest);
            if (record?.writtenAtMs !== writtenAtMs) return [];
            return [{ digest, record: { ...record, checkedAtMs } }];
          }),
        }),
      );
    } catch (err) {
      if (err instanceof AssertionError) throw err;
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
