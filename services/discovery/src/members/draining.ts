import type { Log } from '@shoal/chassis';
import type { Metrics } from '../metrics.ts';

/** Whether this peer hands over what it holds, to leave for good. */
export function createDraining({
  state,
  metrics,
  announceSelf,
  log,
}: {
  /** Where that is kept over a restart. */
  readonly state: { isDraining(): boolean; saveDraining(isDraining: boolean): Promise<void> };
  readonly metrics: Pick<Metrics, 'draining'>;
  readonly announceSelf: () => void;
  readonly log: Log;
}): {
  /** Durable, and told to all members, once resolved. */
  set(isDraining: boolean): Promise<void>;
} {
  const count = () => metrics.draining.set(state.isDraining() ? 1 : 0);
  count();
  return {
    async set(isDraining) {
      if (state.isDraining() === isDraining) return;
      await state.saveDraining(isDraining);
      log.info({ isDraining }, 'draining set');
      count();
      announceSelf();
    },
  };
}
