import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/** The default of 10 ms wakes a process that has nothing to do a hundred times a second. */
const EVENT_LOOP_LOOK_MS = 200;

/**
 * A service's registry with Node's own figures: CPU, memory, event-loop delay, descriptors. Those are measured from
 * the first time that somebody asks for them: their timers and observers cost a process that nobody watches a
 * quarter of what it takes at rest.
 */
class ServiceRegistry extends Registry {
  #isWatched = false;

  override async metrics(): Promise<string> {
    if (!this.#isWatched)
      collectDefaultMetrics({ register: this, eventLoopMonitoringPrecision: EVENT_LOOP_LOOK_MS });
    this.#isWatched = true;
    return super.metrics();
  }
}

/** Registry of a service's own figures, and of Node's. */
export function createRegistry(service: string): Registry {
  const registry = new ServiceRegistry();
  registry.setDefaultLabels({ service });
  return registry;
}

/** Latency of every route; `route` is the pattern, so the label set is closed. */
export function createRequestHistogram(registry: Registry) {
  return new Histogram({
    name: 'shoal_http_request_duration_seconds',
    help: 'Time from request line to the last byte of the answer.',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
}
