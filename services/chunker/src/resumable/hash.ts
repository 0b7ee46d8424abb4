/**
 * The sha-256 of an upload that comes in many requests. While the process lives it is fed with the
 * chunks as they come. A hash in progress can't be written down, so after a restart, or a chunk that was
 * not stored after all, the chunks are read back from this peer's storage: in the background while
 * the rest comes in, and before the file is kept in any case.
 */
import { createHash } from 'node:crypto';
import { Sha256 } from '@shoal/protocol';

export interface FileHash {
  /** Takes the chunk of this index, when it is the one that comes next. */
  add(index: number, bytes: Uint8Array): void;
  /** Only this many chunks were stored: takes back what was hashed beyond. */
  cutTo(count: number): void;
  /** Reads what is missing up to here, in order (single-flight: concurrent callers share it). */
  catchUp(count: () => number, read: (index: number) => Promise<Uint8Array>): Promise<void>;
  /** The hash of the chunks so far; more may follow. */
  digest(): Sha256;
  /** Chunks hashed. */
  readonly count: number;
  /** Whether chunks are being read back. */
  readonly isCatchingUp: boolean;
}

export function createFileHash(): FileHash {
  let hash = createHash('sha256');
  let count = 0;
  let reading: Promise<void> | undefined;

  const readOn = async (
    wanted: () => number,
    read: (index: number) => Promise<Uint8Array>,
  ): Promise<void> => {
    while (count < wanted()) {
      const index = count;
      const bytes = await read(index);
      if (count === index) add(index, bytes); // unless it was taken back meanwhile
    }
  };
  const add = (index: number, bytes: Uint8Array): void => {
    if (index !== count) return;
    hash.update(bytes);
    count += 1;
  };
  return {
    add,
    cutTo(to) {
      if (count <= to) return;
      hash = createHash('sha256');
      count = 0;
    },
    async catchUp(wanted, read) {
      while (count < wanted()) {
        reading ??= readOn(wanted, read).finally(() => {
          reading = undefined;
        });
        await reading;
      }
    },
    digest: () => Sha256.parse(hash.copy().digest('hex')),
    get count() {
      return count;
    },
    get isCatchingUp() {
      return reading !== undefined;
    },
  };
}
