import type { Log } from '@shoal/chassis';
import { connectRedis } from '@shoal/chassis/queue';
import { type Cid, EVENTS_CHANNEL, type SwarmEvent } from '@shoal/protocol';

/** A bar moves smoothly enough at four steps a second. */
const EVENT_INTERVAL_MIN_MS = 250;

type UploadEvent = Extract<SwarmEvent, { kind: 'upload' }>;

/** Tells the watchers of this peer how one upload goes. */
export interface Progress {
  received(bytes: number): void;
  now(phase: UploadEvent['phase'], fields?: { cid?: Cid; copies?: number }): void;
}

export interface ProgressEvents extends AsyncDisposable {
  open(name: string): Progress;
}

/** Progress is a courtesy: while Redis is away it is not told, and nothing waits for it. */
export function createProgressEvents(socket: string, log: Log): ProgressEvents {
  const redis = connectRedis(socket, log);
  const publish = (event: UploadEvent) => {
    if (redis.status !== 'ready') return;
    redis
      .publish(EVENTS_CHANNEL, JSON.stringify(event))
      .catch((err: unknown) => log.debug({ err }, 'progress not told'));
  };
  return {
    open(name) {
      let receivedBytes = 0;
      let toldAtMs = -Infinity;
      const tell = (phase: UploadEvent['phase'], cid?: Cid, copies = 0) => {
        toldAtMs = performance.now();
        publish({
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
    async [Symbol.asyncDispose]() {
      redis.disconnect();
    },
  };
}
