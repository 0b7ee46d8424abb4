import { PeerConfig, portSetting } from '@shoal/chassis';
import { GiB, KiB, MiB } from '@shoal/protocol';
import * as z from 'zod';

const DAY_MS = 24 * 3_600_000;
const bytes = z.coerce.number().int().nonnegative();

export const StorageConfig = PeerConfig.extend({
  /** Port of this service. */
  STORAGE_PORT: portSetting(7102),
  /** False skips every fsync: for tests alone, since a crash of the machine then loses blocks. */
  STORAGE_FSYNC: z.stringbool().default(true),
  /** Space given to blocks. Default: the whole file system, in whole GiB, so equal on one disk. */
  STORAGE_CAPACITY_BYTES: bytes.optional(),
  /** Left free on the disk at every capacity: the index must always have room to delete. */
  STORAGE_RESERVE_BYTES: bytes.default(256 * MiB),
  /** Share of the capacity that uploads leave free, so that lost copies can be made again. */
  STORAGE_REPAIR_RESERVE_SHARE: z.coerce.number().min(0).max(0.5).default(0.05),
  /** Block bodies being received at once; each holds a buffer of 1 MiB. */
  STORAGE_WRITES_MAX: z.coerce.number().int().min(1).max(256).default(24),
  /** Block bodies being sent at once; each holds a buffer of 1 MiB. */
  STORAGE_READS_MAX: z.coerce.number().int().min(1).max(256).default(24),
  /** Requests that may wait for one of those buffers; more are answered 503 `overloaded`. */
  STORAGE_WAITING_MAX: z.coerce.number().int().min(0).max(10_000).default(512),
  /** A body that stalls longer than this, either way, has its connection closed. */
  STORAGE_STALL_TIMEOUT_MS: z.coerce.number().int().min(100).max(600_000).default(60_000),
  /** A lease that nothing was put under for this long no longer holds its blocks back. */
  STORAGE_LEASE_IDLE_MS: z.coerce
    .number()
    .int()
    .min(1000)
    .max(30 * DAY_MS)
    .default(6 * 3_600_000),
  /** Every block is read again and re-hashed at least this often, the rate below allowing. */
  STORAGE_SCRUB_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(1000)
    .max(365 * DAY_MS)
    .default(7 * DAY_MS),
  /** Bytes that the scrub reads in a second, on average. */
  STORAGE_SCRUB_BYTES_PER_SECOND: z.coerce
    .number()
    .int()
    .min(64 * KiB)
    .max(16 * GiB)
    .default(16 * MiB),
  /** Pause between two rounds of the sweep, which deletes what no file needs any more. */
  STORAGE_SWEEP_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(1000)
    .max(30 * DAY_MS)
    .default(3_600_000),
  /** Age from which the sweep looks at a block: younger ones may belong to what is being written. */
  STORAGE_SWEEP_GRACE_MS: z.coerce
    .number()
    .int()
    .min(0)
    .max(30 * DAY_MS)
    .default(3_600_000),
  /** Blocks of DAGs whose listing is kept in memory, 33 bytes each. */
  STORAGE_LISTING_BLOCKS_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(16 * 1024 * KiB)
    .default(256 * KiB),
});
export type StorageConfig = z.infer<typeof StorageConfig>;
