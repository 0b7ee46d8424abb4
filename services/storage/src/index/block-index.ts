/**
 * The index of blocks, and the small blocks themselves, in LMDB. One transaction makes a batch
 * durable: with `overlappingSync` off, an awaited transaction has its pages synced and its root
 * written through (checked with strace), and nobody reads a block that is not yet on disk.
 */
import assert from 'node:assert';
import type { Lease } from '@shoal/protocol';
import { open } from 'lmdb';
import type { BlockRecord, BlockRow, Digest } from '../disk/block-record.ts';

/** The changes of one transaction: removals first. */
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
  /** The next rows after this digest, or the first ones, in the order of digests. */
  scan(after: Digest | undefined, limit: number): readonly BlockRow[];
  all(): Iterable<BlockRow>;
}

const keyOf = (digest: Digest): Buffer => Buffer.from(digest, 'hex');
/** Sorts right behind the digest's own key. */
const keyAfter = (digest: Digest): Buffer => Buffer.from(`${digest}00`, 'hex');

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
        // lmdb reports the cause on a second promise; left unhandled, it would end the process.
        const { commitError } = error as { commitError?: Promise<unknown> };
        commitError?.catch(() => {}); // lmdb has printed it
        throw new Error('the index could not be written', { cause: error });
      }
    },
    scan: (after, limit) =>
      [
        ...records.getRange(after === undefined ? { limit } : { start: keyAfter(after), limit }),
      ].map(rowOf),
    *all() {
      for (const row of records.getRange({})) yield rowOf(row);
    },
    [Symbol.asyncDispose]: () => environment.close(),
  };
}

/** The key is a digest because only digests were put. */
const rowOf = ({ key, value }: { key: Buffer; value: Uint8Array }): BlockRow => [
  key.toString('hex') as Digest,
  decodeRecord(Buffer.from(value)),
];

const FLAG_FILE = 1;
const FLAG_NODE = 2;
const FLAG_DAMAGED = 4;
/** Set in the second layout; the first one ended, but for the lease, with the time of writing. */
const FLAG_V2 = 0x80;
const V1_SIZE_BYTES = 14;
const V2_SIZE_BYTES = 30;

/**
 * Flags, replicas, size (4 bytes); the times of writing, of the last check and of condemnation (8 bytes
 * each); then the lease if there is one.
 */
export function encodeRecord(record: BlockRecord): Buffer {
  assert(record.replicas <= 0xff, 'the replicas of a record fit into a byte');
  const lease = record.lease ?? '';
  const value = Buffer.alloc(V2_SIZE_BYTES + lease.length);
  value[0] =
    FLAG_V2 |
    (record.place === 'file' ? FLAG_FILE : 0) |
    (record.isNode ? FLAG_NODE : 0) |
    (record.isDamaged ? FLAG_DAMAGED : 0);
  value[1] = record.replicas;
  value.writeUInt32BE(record.sizeBytes, 2);
  value.writeDoubleBE(record.writtenAtMs, 6);
  value.writeDoubleBE(record.checkedAtMs, 14);
  value.writeDoubleBE(record.condemnedAtMs, 22);
  value.write(lease, V2_SIZE_BYTES, 'latin1');
  return value;
}

export function decodeRecord(value: Buffer): BlockRecord {
  const flags = value.readUInt8(0);
  const isV2 = (flags & FLAG_V2) !== 0;
  const writtenAtMs = value.readDoubleBE(6);
  const lease = value.toString('latin1', isV2 ? V2_SIZE_BYTES : V1_SIZE_BYTES);
  return {
    place: (flags & FLAG_FILE) === 0 ? 'lmdb' : 'file',
    isNode: (flags & FLAG_NODE) !== 0,
    isDamaged: (flags & FLAG_DAMAGED) !== 0,
    replicas: value.readUInt8(1),
    sizeBytes: value.readUInt32BE(2),
    writtenAtMs,
    checkedAtMs: isV2 ? value.readDoubleBE(14) : writtenAtMs,
    condemnedAtMs: isV2 ? value.readDoubleBE(22) : 0,
    lease: lease === '' ? undefined : (lease as Lease), // as it was encoded
  };
}
