import type { Events } from '@shoal/chassis/events';
import type { Cid, SwarmEvent } from '@shoal/protocol';

/** A bar moves smoothly enough at four steps a second. */
const EVENT_INTERVAL_MIN_MS = 250;

type UploadEvent = Extract<SwarmEvent, { kind: 'upload' }>;

/** Tells the watchers of this peer how one upload goes. */
export interface Progress {
  received(bytes: number): void;
  now(phase: UploadEvent['phase'], fields?: { cid?: Cid; copies?: number }): void;
}

export interface ProgressEvents {
  open(name: string): Progress;
}

/** Progress is best effort: what does not fit an event is left out. */
export function createProgressEvents(events: Pick<Events, 'publish'>): ProgressEvents {
  return {
    open(name) {
      let receivedBytes = 0;
      let toldAtMs = -Infinity;
      const tell = (phase: UploadEvent['phase'], cid?: Cid, copies = 0) => {
        toldAtMs = performance.now();
        events.publish({
          kind: 'upload',
          atMs: Date.now(),
          name,
          phase,
          receivedBytes,
          copies,
          ...(cid === undefined ? {} : { cid }),
        });
      };
      return {
        received(bytes) {
          receivedBytes += bytes;
          if (performance.now() - toldAtMs >= EVENT_INTERVAL_MIN_MS) tell('receiving');
        },
        now: (phase, { cid, copies } = {}) => tell(phase, cid, copies),
      };
    },
  };
}
