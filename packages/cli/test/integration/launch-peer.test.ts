import { mkdir, mkdtemp, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomInt } from 'node:crypto';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { env } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Service, SERVICES } from '@shoal/protocol';
import { type LaunchDeps, launchPeer, READY_TIMEOUT_MS } from '../../src/launch/launch-peer.ts';
import { watchNotices } from '../../src/launch/notices.ts';
import type { PeerPlan } from '../../src/launch/peer-plan.ts';
import { arePortsFree, portsOf } from '../../src/launch/ports.ts';
import { askForRevival } from '../../src/launch/revival.ts';
import { ensureSwarmKey } from '../../src/launch/swarm-key.ts';
import { buildIdleService } from '../fixtures/build-idle-service.ts';

const { signal } = new AbortController();
const LAUNCH_PEER = new URL('../../src/launch/launch-peer.ts', import.meta.url).href;

let folder: string;
/** Built once for all tests. */
let idleService: string;
let programs: string;
let said: string[];
let plan: PeerPlan;
let deps: LaunchDeps;

beforeAll(async () => {
  programs = await mkdtemp(join(tmpdir(), 'shoal-test-'));
  idleService = await buildIdleService(programs);
});
afterAll(() => rm(programs, { recursive: true }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-test-'));
  said = [];
  const mains = join(folder, 'mains');
  await mkdir(mains);
  for (const service of SERVICES)
    await writeFile(
      join(mains, `${service}.mjs`),
      `import { runIdle } from ${JSON.stringify(idleService)};\nawait runIdle('${service}', process.env);\n`,
    );
  const keyFile = join(folder, 'swarm.key');
  ensureSwarmKey(keyFile);
  plan = {
    label: 'peer 1',
    dataDir: join(folder, 'data'),
    keyFile,
    host: '127.0.0.1',
    ports: portsOf(await freeBasePort()),
    seeds: [],
    hasMdns: false,
    staysDownWhenKilled: true,
  };
  deps = {
    env: { ...env, NODE_OPTIONS: '' },
    say: (line) => said.push(line),
    started: new Set(),
    mainOf: (service) => join(mains, `${service}.mjs`),
  };
});

afterEach(async () => {
  for (const child of deps.started) child.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

describe('launchPeer', () => {
  it('starts Redis and five services that are ready, and stops them all', async () => {
    const peer = await launchPeer(plan, deps, { signal });
    for (const origin of Object.values(peer.origins))
      expect((await fetch(`${origin}/readyz`)).status).toBe(200);
    const ids = Object.values(peer.pids());
    expect(ids.filter((id) => id !== undefined)).toHaveLength(6);
    await peer[Symbol.asyncDispose]();
    for (const id of ids) expect(isAlive(id)).toBe(false);
    expect(await readFile(join(plan.dataDir, 'logs', 'storage.log'), 'utf8')).toContain('stopped');
    expect((await stat(plan.keyFile)).mode & 0o777).toBe(0o600);
  });

  it('keeps its identity over a restart from the same data', async () => {
    const first = await launchPeer(plan, deps, { signal });
    await first[Symbol.asyncDispose]();
    await using second = await launchPeer(plan, deps, { signal });
    expect(second.peerId).toBe(first.peerId);
  });

  it('waits no longer, and gives the reason, when a service says that a person must act', async () => {
    await writeFile(
      join(folder, 'mains', 'discovery.mjs'),
      `import { runIdle } from ${JSON.stringify(idleService)};
await runIdle('discovery', process.env, () => 'not yet', { blocker: () => 'a twin is at x' });\n`,
    );
    const startedMs = performance.now();
    await using peer = await launchPeer(plan, deps, { signal });
    expect(peer.heldUpBy).toBe('a twin is at x');
    expect(said).toEqual(['peer 1: a twin is at x']);
    expect((await fetch(`${peer.origins.transfer}/readyz`)).status).toBe(200);
    expect(performance.now() - startedMs).toBeLessThan(READY_TIMEOUT_MS);
  });

  it('says what a service wants a person to know, when it begins and when it is over', async () => {
    const answers: object[] = [];
    const server = createHttpServer((_, response) => {
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer === undefined) return response.destroy();
      return response.end(JSON.stringify(answer));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const [one, both] = [{ notices: ['a: do x'] }, { notices: ['a: do x', 'b'] }];
    answers.push(one, one, { other: 1 }, both, both, { notices: ['end'] });
    const options = { known: ['a: do x'], everyMs: 5 };
    using _watch = watchNotices(`http://127.0.0.1:${port}`, deps.say, options);
    await until(() => said.includes('over: b'));
    expect(said).toEqual(['over: a', 'a: do x', 'b', 'end', 'over: a', 'over: b']);
    server.close();
  });

  it('starts one crashed service again, and Redis too', async () => {
    await using peer = await launchPeer(plan, deps, { signal });
    const before = peer.pids();
    process.kill(before.chunker ?? 0, 'SIGKILL');
    process.kill(before.redis ?? 0, 'SIGKILL');
    await until(() => {
      const { chunker, redis } = peer.pids();
      return (
        ![undefined, before.chunker].includes(chunker) && ![undefined, before.redis].includes(redis)
      );
    });
    expect(peer.pids().storage).toBe(before.storage);
    expect(said.join('\n')).toMatch(/peer 1: chunker ended \(SIGKILL\); it is started again/);
  });

  it('leaves a peer of a swarm down when all of it was killed', async () => {
    await using peer = await launchPeer(plan, deps, { signal });
    for (const id of Object.values(peer.pids())) process.kill(id ?? 0, 'SIGKILL');
    await until(() => said.some((line) => line.includes('stays down')));
    expect(Object.values(peer.pids()).every((id) => id === undefined)).toBe(true);
    expect(said).toHaveLength(1);
  });

  it('brings a killed peer back when it is told to', async () => {
    const revivedBy = 'shoal swarm --revive 1';
    await using peer = await launchPeer({ ...plan, revivedBy }, deps, { signal });
    await expect(askForRevival(plan.dataDir, { signal })).rejects.toThrow('peer 1 is not down');
    const before = Object.values(peer.pids());
    for (const id of before) process.kill(id ?? 0, 'SIGKILL');
    await until(() => said.some((line) => line.endsWith(`to bring it back: ${revivedBy}`)));
    await Promise.all([
      askForRevival(plan.dataDir, { signal }),
      expect(askForRevival(plan.dataDir, { signal })).rejects.toThrow('is not down'),
    ]);
    for (const origin of Object.values(peer.origins))
      expect((await fetch(`${origin}/readyz`)).status).toBe(200);
    const after = Object.values(peer.pids());
    expect(after.filter((id) => id !== undefined && !before.includes(id))).toHaveLength(6);
    // Supervised as before, and stopped with the launcher.
    process.kill(peer.pids().chunker ?? 0, 'SIGKILL');
    await until(() => said.some((line) => line.includes('chunker ended (SIGKILL)')));
    await until(() => peer.pids().chunker !== undefined);
    const last = Object.values(peer.pids());
    await peer[Symbol.asyncDispose]();
    expect(last.some(isAlive)).toBe(false);
    await expect(askForRevival(plan.dataDir, { signal })).rejects.toThrow('no swarm runs');
  });

  it('starts a lone peer again even when all of it was killed', async () => {
    await using peer = await launchPeer({ ...plan, staysDownWhenKilled: false }, deps, { signal });
    for (const id of Object.values(peer.pids())) process.kill(id ?? 0, 'SIGKILL');
    await until(() => said.length === 6);
    expect(Object.values(peer.pids()).every((id) => id !== undefined)).toBe(true);
  });

  it('starts again on a disk that is full to the last byte', async () => {
    await mkdir(plan.dataDir);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', plan.dataDir], {
        stdio: 'ignore',
      });
    } catch {
      return; // mounting is not allowed here
    }
    try {
      const own = { ...plan, keyFile: join(plan.dataDir, 'swarm.key') };
      ensureSwarmKey(own.keyFile);
      const first = await launchPeer(own, deps, { signal });
      await first[Symbol.asyncDispose]();
      await rm(join(plan.dataDir, 'logs'), { recursive: true });
      await writeFile(join(plan.dataDir, 'filler'), Buffer.alloc(2 ** 21)).catch(() => {});
      expect((await statfs(plan.dataDir)).bavail).toBe(0);
      ensureSwarmKey(own.keyFile);
      await using again = await launchPeer(own, deps, { signal });
      expect(again.peerId).toBe(first.peerId);
    } finally {
      execFileSync('umount', ['-l', plan.dataDir]);
    }
  });

  it('outlives a log that is deleted', async () => {
    await using peer = await launchPeer(plan, deps, { signal });
    const log = join(plan.dataDir, 'logs', 'gateway.log');
    await rm(log);
    const { gateway } = peer.pids();
    process.kill(gateway ?? 0, 'SIGKILL');
    await until(() => {
      const { gateway: now } = peer.pids();
      return now !== undefined && now !== gateway;
    });
    await until(async () =>
      (await readFile(log, 'utf8').catch(() => '')).includes('"msg":"listening"'),
    );
    expect((await fetch(`${peer.origins.gateway}/readyz`)).status).toBe(200);
  });

  it('names the port that is taken', async () => {
    const server = createServer().listen(plan.ports.storage, '127.0.0.1');
    await once(server, 'listening');
    await expect(launchPeer(plan, deps, { signal })).rejects.toThrow(
      `port ${plan.ports.storage} (storage of peer 1) is taken`,
    );
    server.close();
  });

  it('refuses data that another launcher has in use, and takes it when that one is gone', async () => {
    const first = await launchPeer(plan, deps, { signal });
    await expect(launchPeer(plan, deps, { signal })).rejects.toThrow('is in use by another shoal');
    await first[Symbol.asyncDispose]();
    await using second = await launchPeer(plan, deps, { signal });
    expect(second.peerId).toBe(first.peerId);
  });

  it('keeps sockets out of a data folder whose path is too long for them', async () => {
    const dataDir = join(folder, 'a'.repeat(60), 'b'.repeat(60));
    await using peer = await launchPeer({ ...plan, dataDir }, deps, { signal });
    expect(peer.pids().redis).toBeDefined();
  });

  it('says which service does not start, and why, and that of this start alone', async () => {
    const main = join(folder, 'broken.mjs');
    const say = (text: string) => writeFile(main, `console.error('${text}');\nprocess.exit(78);\n`);
    for (const staysDownWhenKilled of [true, false])
      for (const why of ['no disk today', 'no key today']) {
        await say(`storage: ${why}`);
        const own = { ...plan, staysDownWhenKilled };
        const broken = {
          ...deps,
          mainOf: (service: Service) =>
            service === 'storage' ? main : (deps.mainOf?.(service) ?? ''),
        };
        const failure = launchPeer(own, broken, { signal });
        await expect(failure).rejects.toThrow(
          `storage of peer 1 does not start (exit 78): ${why}\nits log: ${join(plan.dataDir, 'logs', 'storage.log')}`,
        );
      }
    await writeFile(main, 'process.exit(78);\n');
    const silent = { ...deps, mainOf: () => main };
    await expect(launchPeer(plan, silent, { signal })).rejects.toThrow('does not start (exit 78)');
    expect(said).toEqual([]);
  });

  it('says it of a service that fails at every start, wherever its lines go', async () => {
    const main = join(folder, 'broken.mjs');
    const line = JSON.stringify({ level: 60, err: { message: 'no memory for it' }, msg: 'failed' });
    await writeFile(main, `console.log('${line}');\nprocess.exit(1);\n`);
    const heard: string[] = [];
    for (const echo of [undefined, (_: string, text: string) => void heard.push(text)]) {
      said.length = 0;
      const broken = { ...deps, echo, mainOf: () => main };
      await expect(launchPeer(plan, broken, { signal })).rejects.toThrow(
        /of peer 1 does not start \(exit 1\): no memory for it/,
      );
      expect(said).toContain(
        'peer 1: storage ended (exit 1: no memory for it); it is started again',
      );
      expect(said.join('\n')).not.toContain('killed');
    }
    expect(heard).toContain(line);
  });

  it('takes everything along when the launcher itself is killed', async () => {
    const script = join(folder, 'launcher.mjs');
    await writeFile(
      script,
      `import { launchPeer } from ${JSON.stringify(LAUNCH_PEER)};
const mains = ${JSON.stringify(pathToFileURL(join(folder, 'mains')).href)};
const peer = await launchPeer(${JSON.stringify(plan)}, {
  env: process.env, say: () => {}, started: new Set(),
  mainOf: (service) => new URL(mains + '/' + service + '.mjs').pathname,
}, { signal: new AbortController().signal });
console.log(JSON.stringify(peer.pids()));
`,
    );
    const launcher = spawn(process.execPath, [script], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: deps.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(launcher.stdout, 'data')) as [Buffer];
    const ids = Object.values(JSON.parse(String(line)) as Record<string, number>);
    expect(ids).toHaveLength(6);
    launcher.kill('SIGKILL');
    await until(() => !ids.some(isAlive));
  });
});

async function freeBasePort(): Promise<number> {
  for (;;) {
    const basePort = randomInt(1200, 3200) * 10;
    if (await arePortsFree(basePort, '127.0.0.1')) return basePort;
  }
}

function isAlive(id: number | undefined): boolean {
  if (id === undefined) return false;
  try {
    return process.kill(id, 0);
  } catch {
    return false;
  }
}

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 15_000;
  while (!(await check())) {
    if (performance.now() > deadlineMs) throw new Error('the condition did not come true');
    await sleep(20);
  }
}
