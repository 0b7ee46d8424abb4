import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { claimSlot } from '../../src/launch/slots.ts';
import { ensureSwarmKey, writeSwarmKey } from '../../src/launch/swarm-key.ts';

const SLOTS = new URL('../../src/launch/slots.ts', import.meta.url).href;
const KEYS = new URL('../../src/launch/swarm-key.ts', import.meta.url).href;
const { signal } = new AbortController();

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'shoal-slots-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const claim = (holder: string, patienceMs = 0) => claimSlot(root, { holder, patienceMs, signal });

describe('slots', () => {
  it('are never shared, however many claim at once', async () => {
    const slots = await Promise.all(Array.from({ length: 8 }, (_, index) => claim(`p${index}`)));
    expect(new Set(slots.map(({ index }) => index))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8]));
    for (const slot of slots) slot[Symbol.dispose]();
  });

  it('go back to the one that held them', async () => {
    const [a, b, c] = [await claim('a'), await claim('b'), await claim('c')];
    for (const slot of [a, b, c]) slot[Symbol.dispose]();
    using again = await claim('c');
    expect(again.index).toBe(c.index);
    using first = await claim('a');
    expect(first.dataDir).toBe(a.dataDir);
    using newcomer = await claim('d');
    expect(newcomer.index).toBe(b.index);
  });

  it('outlive a holder that is killed, for the same name and for another', async () => {
    const killed = await claimElsewhere('a');
    using other = await claim('b');
    expect(other.index).toBe(2);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    using heir = await claim('c');
    expect(heir.index).toBe(1);
  });

  it('wait for their holder when a newcomer comes first', async () => {
    (await claim('a'))[Symbol.dispose]();
    const newcomer = claim('b', 2000);
    using back = await claim('a');
    expect(back.index).toBe(1);
    using other = await newcomer;
    expect(other.index).toBe(2);
  });

  it('are new at once when none is free', async () => {
    using first = await claim('a', 60_000);
    using second = await claim('b', 60_000);
    expect([first.index, second.index]).toEqual([1, 2]);
  });

  it('of one name that two claim are two', async () => {
    using first = await claim('same', 60_000);
    using second = await claim('same', 60_000);
    expect(second.index).not.toBe(first.index);
  });

  it('stop waiting when the start is called off', async () => {
    (await claim('a'))[Symbol.dispose]();
    const off = new AbortController();
    const claimed = claimSlot(root, { holder: 'b', patienceMs: 60_000, signal: off.signal });
    off.abort(new Error('called off'));
    await expect(claimed).rejects.toThrow('aborted');
  });
});

describe('the swarm key', () => {
  it('is one for all that race for it, also from other processes, and readable by its owner', async () => {
    const file = join(root, 'shared', 'swarm.key');
    const racers = Array.from({ length: 4 }, () =>
      run(`import { ensureSwarmKey } from '${KEYS}'; ensureSwarmKey('${file}');`),
    );
    ensureSwarmKey(file);
    const key = await readFile(file, 'utf8');
    for (const racer of racers) expect(await ended(racer)).toBe(0);
    expect(await readFile(file, 'utf8')).toBe(key);
    expect(key).toMatch(/^[0-9a-f]{64}\n$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(root, 'shared'))).toEqual(['swarm.key']);
  });

  it('that was given is kept, and another one is refused', () => {
    const file = join(root, 'swarm.key');
    const key = 'aB'.repeat(32);
    writeSwarmKey(file, key);
    writeSwarmKey(file, key);
    expect(() => writeSwarmKey(file, 'cd'.repeat(32))).toThrow('SWARM_KEY is not the key in');
    expect(() => writeSwarmKey(file, 'short')).toThrow('64 hex digits');
  });

  it('is not replaced when the file holds something else', async () => {
    const file = join(root, 'swarm.key');
    await writeFile(file, 'no key');
    expect(() => ensureSwarmKey(file)).toThrow('must hold 64 hex digits');
    expect(await readFile(file, 'utf8')).toBe('no key');
  });
});

function run(code: string) {
  return spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...env, NODE_OPTIONS: '' },
  });
}

async function ended(child: ReturnType<typeof run>): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit');
  return child.exitCode;
}

/** Holds a slot in a process of its own until that is killed. */
async function claimElsewhere(holder: string) {
  const child = run(`
    import { claimSlot } from '${SLOTS}';
    const { signal } = new AbortController();
    const slot = await claimSlot('${root}', { holder: '${holder}', patienceMs: 0, signal });
    console.log(slot.index);
    setInterval(() => slot.index, 1000);`);
  await once(child.stdout, 'data');
  return child;
}
