import { randomInt } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import type { LaunchDeps } from '../../src/launch/launch-peer.ts';
import { launchSwarm, type SwarmPlan } from '../../src/launch/launch-swarm.ts';
import { arePortsFree, PORTS_PER_PEER } from '../../src/launch/ports.ts';
import { askForRevival } from '../../src/launch/revival.ts';
import { ensureSwarmKey } from '../../src/launch/swarm-key.ts';
import { buildIdleService } from '../fixtures/build-idle-service.ts';

const { signal } = new AbortController();
/** Their discovery knows of nobody, so meeting is not waited for. */
const LIMITS = { meetMs: 0, signal };
const PEERS = 2;

let folder: string;
/** Built once for all tests. */
let idleService: string;
let programs: string;
/** Once this file is there, peer 2 is as good as the other. */
let mended: string;
let said: string[];
let deps: LaunchDeps;
let plan: SwarmPlan;

beforeAll(async () => {
  programs = await mkdtemp(join(tmpdir(), 'shoal-test-'));
  idleService = await buildIdleService(programs);
});
afterAll(() => rm(programs, { recursive: true }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-test-'));
  mended = join(folder, 'mended');
  said = [];
  plan = {
    peers: PEERS,
    basePort: await freeBasePort(),
    host: '127.0.0.1',
    dataDir: join(folder, 'data'),
    keyFile: join(folder, 'swarm.key'),
  };
  ensureSwarmKey(plan.keyFile);
  deps = {
    env: { ...env, NODE_OPTIONS: '' },
    say: (line) => said.push(line),
    started: new Set(),
    mainOf: (service) => join(folder, `${service}.mjs`),
  };
});

afterEach(async () => {
  for (const child of deps.started) child.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Writes programs of services, of which peer 2's storage has a fault. */
async function writePrograms(body: string): Promise<void> {
  for (const service of SERVICES)
    await writeFile(
      join(folder, `${service}.mjs`),
      `import { existsSync } from 'node:fs';
import { runIdle } from ${JSON.stringify(idleService)};
const service = '${service}';
const isFaulty = () => service === 'storage' && process.env.PEER_DATA_DIR.endsWith('peer-2') && !existsSync(${JSON.stringify(mended)});
${body}
`,
    );
}

describe('launchSwarm', () => {
  it('does not wait for a slow peer, which joins when it is ready', async () => {
    await writePrograms(
      "await runIdle(service, process.env, () => isFaulty() ? 'reads a large disk' : undefined);",
    );
    await using swarm = await launchSwarm(plan, deps, { ...LIMITS, patienceMs: 15_000 });
    expect(labels(swarm.peers)).toEqual(['peer 1']);
    expect(labels(swarm.missing)).toEqual(['peer 2']);
    await until(() => said.some((line) => line.includes("peer 2 is slow: the others don't wait")));
    expect(said.join('\n')).toContain('reads a large disk');
    for (const { origins } of swarm.peers)
      expect((await fetch(`${origins.gateway}/readyz`)).status).toBe(200);
    await writeFile(mended, '');
    await until(() => said.includes('peer 2 is ready now'));
  });

  it('leaves a peer down that can not start, until it is told to try again', async () => {
    await writePrograms(
      "if (isFaulty()) { console.error('no disk today'); process.exit(78); }\nawait runIdle(service, process.env);",
    );
    const named = { ...deps, program: 'npm run -s shoal --' };
    await using swarm = await launchSwarm(plan, named, LIMITS);
    expect(labels(swarm.peers)).toEqual(['peer 1']);
    await until(() => said.some((line) => line.includes('peer 2 is left down')));
    expect(said.join('\n')).toMatch(
      /storage of peer 2 does not start \(exit 78\): no disk today[^]*to try again: npm run -s shoal -- swarm --revive 2/,
    );
    const [faulty] = swarm.missing;
    await until(() => Object.values(faulty?.pids() ?? {}).every((id) => id === undefined));
    const dataDir = join(plan.dataDir, 'peer-2');
    await expect(askForRevival(dataDir, { signal })).rejects.toThrow('no disk today');
    await writeFile(mended, '');
    await askForRevival(dataDir, { signal });
    expect((await fetch(`${faulty?.origins.storage}/readyz`)).status).toBe(200);
  });

  it('fails when there is no peer at all, and leaves nothing running', async () => {
    await writePrograms("console.error('no disk today'); process.exit(78);");
    await expect(launchSwarm(plan, deps, LIMITS)).rejects.toThrow('no disk today');
    expect([...deps.started].filter(({ pid }) => pid !== undefined)).toEqual([]);
    expect(said.join('\n')).not.toContain('killed'); // they ended by themselves
  });
});

const labels = (peers: readonly { readonly label: string }[]) => peers.map(({ label }) => label);

async function freeBasePort(): Promise<number> {
  for (;;) {
    const basePort = randomInt(1200, 3200) * 10;
    const indices = Array.from({ length: PEERS }, (_, index) => index);
    const free = await Promise.all(
      indices.map((index) => arePortsFree(basePort + index * PORTS_PER_PEER, '127.0.0.1')),
    );
    if (free.every(Boolean)) return basePort;
  }
}

async function until(check: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!check()) {
    if (performance.now() > deadlineMs) throw new Error('the condition did not come true');
    await sleep(20);
  }
}
