import { describe, expect, it } from '@jest/globals';
import { createRegistry } from '../../src/process/metrics.ts';

describe('the registry of a service', () => {
  it('measures nothing of Node until somebody asks, and from then on', async () => {
    const registry = createRegistry('test');
    expect(registry.getMetricsAsArray()).toEqual([]);
    const names = ['process_cpu_seconds_total', 'nodejs_eventloop_lag_p99_seconds'];
    for (let time = 1; time <= 2; time += 1) {
      const text = await registry.metrics();
      expect(names.filter((name) => !text.includes(`\n${name}{service="test"}`))).toEqual([]);
    }
  });
});
