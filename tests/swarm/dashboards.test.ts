/** What Prometheus and Grafana are told to show, against what a real peer exports. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import type { Peer } from '@shoal/testkit';
import { sharedSwarm } from '../shared-swarm/shared-swarm.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));

describe('figures that are shown', () => {
  let peer: Peer;
  beforeAll(async () => {
    [peer] = await sharedSwarm();
  });

  it.each(['grafana/dashboards/shoal.json', 'prometheus/alerts.yml'])(
    'in deploy/%s are all exported',
    async (path) => {
      const exported = new Map<string, string>();
      for (const service of SERVICES) {
        const text = await (await fetch(`${peer[service]}/metrics`)).text();
        for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm))
          exported.set(name, type);
      }
      const shown = readFileSync(`${DEPLOY}/${path}`, 'utf8').match(
        /\b(?:shoal|process|nodejs)_\w+/g,
      );
      const unknown = [...new Set(shown)].filter((name) => {
        const family = name.replace(/_(?:bucket|sum|count)$/, '');
        return !exported.has(name) && exported.get(family) !== 'histogram';
      });
      expect(shown?.length).toBeGreaterThan(5);
      expect(unknown).toEqual([]);
    },
  );
});
