/**
 * The index of blocks, and the small blocks themselves, in LMDB. One transaction makes a batch
 * durable: with `overlappingSync` off, an awaited transaction has its pages synced and its root
 * written through (checked with strace), and nobody reads a block that is not yet on disk.
 */
import type { Lease } from '@shoal/protocol';
import { open } from 'lmdb';
import type { BlockRecord, Digest } from './blockstore.ts';

/** What one transaction does: removals first. */
export interface IndexChanges {
  readonly remove?: readonly Digest[];
  /** `bytes` come along for a block that is placed in LMDB and written anew. */
  readonly put?: readonly {
    readonly digest: Digest;
    readonly record: BlockRecord;
    readonly bytes?: Uint8Array | undefined;
  }[];
}

export interface BlockIndex extends AsyncDisposable {
  find(digest: Digest): BlockRecord | undefined;
  /** The bytes of a small block. */
  readSmall(digest: Digest): Uint8Array | undefined;
  /** All or nothing; durable once resolved. */
  write(changes: IndexChanges): Promise<void>;
  all(): Iterable<readonly [Digest, BlockRecord]>;
}

const keyOf = (digest: Digest): Buffer => Buffer.from(digest, 'hex');

export function openBlockIndex(path: string, { isDurable }: { isDurable: boolean }): BlockIndex {
  const environment = open({
    path,
    maxDbs: 2,
    overlappingSync: false,
    noSync: !isDurable,
    // With it on, a failed commit also rejects a promise that nobody can reach.
    eventTurnBatching: false,
  });
  const options = { keyEncoding: 'binary', encoding: 'binary' } as const;
  const records = environment.openDB<Uint8Array, Buffer>('blocks', options);
  const small = environment.openDB<Uint8Array, Buffer>('small', options);
  return {
    find(digest) {
      const value = records.getBinary(keyOf(digest));
      return value === undefined ? undefined : decodeRecord(value);
    },
    readSmall: (digest) => small.getBinary(keyOf(digest)),
    async write({ remove = [], put = [] }) {
      if (remove.length + put.length === 0) return;
      try {
        await environment.transaction(() => {
          for (const digest of remove) {
            void records.remove(keyOf(digest));
            void small.remove(keyOf(digest));
          }
          for (const { digest, record, bytes } of put) {
            void records.put(keyOf(digest), encodeRecord(record));
            if (bytes !== undefined && bytes.length > 0) void small.put(keyOf(digest), bytes);
          }
        });
      } catch (error) {
        // The reason comes on a promise of its own, perhaps much later; unheard it ends the process.
        const { commitError } = error as { commitError?: Promise<unknown> };
        commitError?.catch(() => {}); // lmdb has printed it
        throw new Error('the index could not be written', { cause: error });
      }
    },
    *all() {
      for (const { key, value } of records.getRange({}))
        // The key is a digest because only digests were put.
        yield [key.toString('hex') as Digest, decodeRecord(Buffer.from(value))] as const;
    },
    [Symbol.asyncDispose]: () => environment.close(),
  };
}

const FLAG_FILE = 1;
const FLAG_NODE = 2;
const FIXED_SIZE_BYTES = 14;

/** Flags, keep, size (4 bytes), time of writing (8 bytes), then the lease if there is one. */
export function encodeRecord(record: BlockRecord): Buffer {
  const lease = record.lease ?? '';
  const value = Buffer.alloc(FIXED_SIZE_BYTES + lease.length);
  value[0] = (record.place === 'file' ? FLAG_FILE : 0) | (record.isNode ? FLAG_NODE : 0);
  value[1] = record.keep;
  value.writeUInt32BE(record.sizeBytes, 2);
  value.writeDoubleBE(record.writtenAtMs, 6);
  value.write(lease, FIXED_SIZE_BYTES, 'latin1');
  return value;
}

export function decodeRecord(value: Buffer): BlockRecord {
  const flags = value.readUInt8(0);
  const lease = value.toString('latin1', FIXED_SIZE_BYTES);
  return {
    place: (flags & FLAG_FILE) === 0 ? 'lmdb' : 'file',
    isNode: (flags & FLAG_NODE) !== 0,
    keep: value.readUInt8(1),
    sizeBytes: value.readUInt32BE(2),
    writtenAtMs: value.readDoubleBE(6),
    lease: lease === '' ? undefined : (lease as Lease), // as it was encoded
  };
}
