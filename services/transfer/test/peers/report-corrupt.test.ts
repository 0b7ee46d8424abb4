import { describe, expect, it } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import { ServiceUnavailable, storageRoutes } from '@shoal/protocol';
import { Registry } from 'prom-client';
import { createMetrics } from '../../src/metrics.ts';
import { createReportCorrupt } from '../../src/peers/report-corrupt.ts';
import { cidOf, paperClient, paperView } from '../paper.ts';

describe('reportCorrupt', () => {
  const setUp = (check: () => Promise<unknown>) => {
    const told: string[] = [];
    const client = paperClient([
      [
        storageRoutes.checkBlock,
        ({ to, params }) => {
          told.push(`${to} ${params['cid']}`);
          return check();
        },
      ],
    ]);
    const metrics = createMetrics(new Registry());
    const [self, other] = paperView([{}, {}]).view.asked();
    if (self === undefined || other === undefined) throw new Error('two members were made');
    const report = createReportCorrupt({ client, metrics, log: createLog('test', 'silent') });
    return { report, told, self, other, metrics };
  };

  it('tells the storage that sent the bytes, our own too, once at a time for each block', async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const { report, told, self, other, metrics } = setUp(() => promise);
    report(other, cidOf('a'));
    report(other, cidOf('a'));
    report(self, cidOf('a'));
    expect(told).toEqual(['peer-1 a', 'own a']);
    resolve({ state: 'corrupt' });
    await promise;
    await new Promise(setImmediate);
    expect((await metrics.corruptReports.get()).values).toMatchObject([
      { labels: { outcome: 'corrupt' }, value: 2 },
    ]);
  });

  it('has a bounded number of reports under way, and survives a peer that does not answer', async () => {
    const { report, told, other } = setUp(() =>
      Promise.reject(new ServiceUnavailable({ service: 'storage' })),
    );
    for (let index = 0; index < 100; index += 1) report(other, cidOf(`cid-${index}`));
    expect(told).toHaveLength(16);
    await new Promise(setImmediate);
    report(other, cidOf('later'));
    expect(told).toHaveLength(17);
    await new Promise(setImmediate);
  });
});
