import { PeerConfig, portSetting } from '@shoal/chassis';
import { MiB } from '@shoal/protocol';
import * as z from 'zod';

const count = (max: number) => z.coerce.number().int().min(1).max(max);

export const TransferConfig = PeerConfig.extend({
  TRANSFER_PORT: portSetting(7103),
  /** Downloads at once, shared by clients; past that, 503. Each holds at most a window of blocks in memory. */
  TRANSFER_DOWNLOADS_MAX: count(10_000).default(128),
  /** Single blocks sent below /ipfs/ at once, shared by clients; past that, 503. Each is a block in memory. */
  TRANSFER_RAW_BLOCKS_MAX: count(10_000).default(128),
  /** CARs sent at once, shared by clients; past that, 503. Each remembers what it has sent. */
  TRANSFER_CAR_EXPORTS_MAX: count(1000).default(16),
  /** Blocks in flight over all downloads, shared out among them: 1 MiB of memory each. */
  TRANSFER_WINDOW_BLOCKS: count(1024).default(48),
  /** Most blocks that a single download asks for ahead of its reader; it begins with 4. */
  TRANSFER_DOWNLOAD_WINDOW_BLOCKS: count(64).default(16),
  /** A reader that takes nothing for this long is disconnected. */
  TRANSFER_READER_STALL_MS: z.coerce.number().int().min(1000).max(86_400_000).default(120_000),
  /** A block's answer must begin within this, and go on at least this often. */
  TRANSFER_BLOCK_STALL_MS: z.coerce.number().int().min(100).max(60_000).default(3000),
  /** The whole of a block must be here within this, from one provider. */
  TRANSFER_BLOCK_TIMEOUT_MS: z.coerce.number().int().min(100).max(600_000).default(15_000),
  /** Offered blocks copied from other peers at once. */
  TRANSFER_COPIES_MAX: count(64).default(6),
  /** Blocks copied at once to settle files and to replace damaged blocks, apart from offers. */
  TRANSFER_REPAIRS_MAX: count(64).default(4),
  /** Bandwidth of those copies, in bytes a second; 0 sets no limit. */
  TRANSFER_REPAIR_BYTES_PER_SECOND: z.coerce
    .number()
    .int()
    .min(0)
    .max(100 * 1024 * MiB)
    .default(32 * MiB),
  /** `replicate` jobs run at once. */
  TRANSFER_REPLICATE_JOBS_MAX: count(64).default(3),
  /** How often files that are not known to be in order are looked for, besides when members change. */
  TRANSFER_SETTLE_INTERVAL_MS: z.coerce.number().int().min(1000).max(86_400_000).default(300_000),
  /** A file that was found in order is looked at again after this long. */
  TRANSFER_RESETTLE_MS: z.coerce.number().int().min(1000).max(2_592_000_000).default(21_600_000),
  /** Wait after a change of members before files are looked at: changes come in bursts. */
  TRANSFER_SETTLE_DELAY_MS: z.coerce.number().int().min(0).max(600_000).default(3000),
  /** Longest wait, on a stop, for others to take blocks that only this peer holds; within SHUTDOWN_TIMEOUT_MS. */
  TRANSFER_HANDOVER_TIMEOUT_MS: z.coerce.number().int().min(0).max(600_000).default(5000),
});
export type TransferConfig = z.infer<typeof TransferConfig>;
