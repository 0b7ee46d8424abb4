import { Gauge, type Registry } from 'prom-client';
import type { Blockstore } from '../store/blockstore.ts';

/** Figures that are read off the store when Prometheus asks. */
export function watchStore(register: Registry, store: Blockstore): void {
  const gauge = (name: string, help: string, read: () => Promise<number> | number) =>
    new Gauge({
      name: `shoal_storage_${name}`,
      help,
      registers: [register],
      async collect() {
        this.set(await read());
      },
    });
  const stat = (name: 'blocks' | 'usedBytes' | 'freeBytes' | 'capacityBytes') => async () =>
    (await store.stats())[name];
  gauge('blocks_held', 'Blocks held.', stat('blocks'));
  gauge('used_bytes', 'Bytes of blocks held.', stat('usedBytes'));
  gauge('free_bytes', 'Room for more blocks.', stat('freeBytes'));
  gauge('capacity_bytes', 'Space given to blocks.', stat('capacityBytes'));
  gauge('leases_held', 'Uploads that hold blocks.', () => store.counts.leases);
  gauge(
    'blocks_retired',
    'Blocks on their way out: served, confirmed to nobody.',
    () => store.counts.retired,
  );
  gauge('blocks_damaged', 'Blocks found damaged and not yet replaced.', () => store.counts.damaged);
  gauge(
    'blocks_condemned',
    'Blocks that no pin reaches: served, no longer counted as copies, deleted by the next sweep.',
    () => store.counts.condemned,
  );
  gauge('scrub_oldest_check_age_seconds', 'Age of the oldest check of a block.', async () => {
    const { oldestCheckAtMs } = await store.census();
    return oldestCheckAtMs === undefined ? 0 : Math.max(0, Date.now() - oldestCheckAtMs) / 1000;
  });
  gauge(
    'scrub_overdue_blocks',
    'Blocks whose last check is older than the interval.',
    async () => (await store.census()).overdueBlocks,
  );
}
