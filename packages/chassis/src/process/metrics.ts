import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/** The default of 10 ms wakes a process that has nothing to do a hundred times a second. */
const EVENT_LOOP_LOOK_MS = 200;

/** A service's registry with Node's own figures: CPU, memory, event-loop delay, descriptors. */
export function createRegistry(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_LOOK_MS });
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
