import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { UpkeepReport } from '@shoal/protocol';
import { eventually, type HostedSwarm, startHostedSwarm } from '@shoal/testkit';

/** Every loop of a peer; those in the second list only run when they are needed. */
const LOOPS = {
  gateway: ['events-heartbeat'],
  chunker: ['resumable-leases', 'resumable-tidying'],
  storage: ['ballast', 'heal', 'idle-leases', 'make-room', 'scrub', 'sweep'],
  transfer: ['members', 'settle-pass'],
  discovery: [
    'exchange',
    'expiry',
    'failure-detector',
    'joining',
    'own-clock',
    'own-losses',
    'pin-sync',
    'pin-sync-retries',
    'presence',
    'proving',
    'saving-members',
    'settle-requests',
    'storage-figures',
    'survey',
    'twins',
  ],
};
const WHEN_NEEDED = ['heal', 'make-room'];
/** The longest first pause is that of the survey. */
const FIRST_RUNS_TIMEOUT_MS = 90_000;

let swarm: HostedSwarm;
beforeAll(async () => {
  swarm = await startHostedSwarm(1, {
    env: {
      STORAGE_SWEEP_INTERVAL_MS: '1000',
      STORAGE_LEASE_IDLE_MS: '1000',
      GATEWAY_EVENTS_HEARTBEAT_MS: '500',
    },
  });
});
afterAll(async () => {
  await swarm[Symbol.asyncDispose]();
});

const origin = (): string => {
  const [peer] = swarm.peers;
  if (peer === undefined) throw new Error('a swarm of one has one peer');
  return peer.gateway;
};
const readUpkeep = async (): Promise<UpkeepReport> =>
  UpkeepReport.parse(await (await fetch(`${origin()}/upkeep`)).json());

describe('the background work of a peer', () => {
  it('is listed whole by GET /upkeep, each loop with its last run', async () => {
    // There is room; and a record that says the same is signed again after ten minutes.
    const mayBeLate = ['make-room', 'presence'];
    let late: string[] = [];
    const { loops } = await eventually(
      () => `every loop ran, but for ${late.join(', ')}`,
      async () => {
        const report = await readUpkeep();
        late = report.loops.flatMap((each) =>
          each.loops
            .filter(({ name, runs }) => runs === 0 && !mayBeLate.includes(name))
            .map(({ name }) => `${each.service} ${name}`),
        );
        return late.length === 0 && report;
      },
      { timeoutMs: FIRST_RUNS_TIMEOUT_MS },
    );
    const names = loops.map(({ service, loops: own }) => [
      service,
      own.map(({ name }) => name).toSorted(),
    ]);
    expect(Object.fromEntries(names)).toEqual(LOOPS);
    const all = loops.flatMap(({ loops: own }) => own);
    expect(loops.filter(({ isSilent }) => isSilent)).toEqual([]);
    const unplanned = all.filter(({ everyMs }) => everyMs === undefined).map(({ name }) => name);
    expect(unplanned.toSorted()).toEqual(WHEN_NEEDED);
    const undated = all.filter(
      (loop) => loop.lastRunAtMs === undefined || loop.tookMs === undefined,
    );
    expect(undated.map(({ name }) => name).toSorted()).toEqual(mayBeLate);
    expect(all.filter(({ lastError }) => lastError !== undefined)).toEqual([]);
  }, 120_000);

  it('has figures that Prometheus reads: runs, the last one, and the period', async () => {
    const [peer] = swarm.peers;
    for (const service of ['gateway', 'chunker', 'storage', 'transfer', 'discovery'] as const) {
      const text = await (await fetch(`${peer?.[service]}/metrics`)).text();
      const has = (figure: string, name: string) =>
        new RegExp(`^shoal_${service}_loop_${figure}\\{loop="${name}"`, 'm').test(text);
      const names = LOOPS[service];
      for (const figure of ['runs_total', 'last_run_timestamp_seconds'])
        expect(names.filter((name) => !has(figure, name))).toEqual([]);
      const unplanned = names.filter((name) => WHEN_NEEDED.includes(name));
      expect(names.filter((name) => !has('period_seconds', name))).toEqual(unplanned);
    }
  });

  it('is a table for people', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      new URL('../../../cli/src/main.ts', import.meta.url).pathname,
      'upkeep',
      '--peer',
      origin(),
    ]);
    expect(stdout).toMatch(/^LOOP +SERVICE +EVERY +LAST RUN +TOOK/m);
    expect(stdout).toMatch(/^survey +discovery +30 s +\d+ s ago/m);
  });

  it('is told to nobody else by the services themselves', async () => {
    for (const service of ['gateway', 'discovery'] as const)
      expect((await fetch(`${swarm.peers[0]?.[service]}/loops`)).status).toBe(401);
  });
});
