import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { MiB, type Pin, StorageFull } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { draft, type TestPeer } from './peer.ts';
import { openPeers, type Peers, seedOf, seeEachOther } from './peers.ts';

jest.setTimeout(120_000);

/** Pins until no page of the database is free: it grows by a few KiB each. */
const PINS_MAX = 2000;

let peers: Peers;
let small: string;
let isMounted: boolean;

beforeEach(async () => {
  peers = await openPeers();
  small = join(peers.folder, 'small');
  await mkdir(small);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', small], { stdio: 'ignore' });
    isMounted = true;
  } catch {
    isMounted = false; // mounting is not allowed here
  }
});
afterEach(async () => {
  await peers.stopAll();
  if (isMounted) execFileSync('umount', [small]);
  await peers[Symbol.asyncDispose]();
});

const options = () => ({ folder: small, isQuiet: true });
const filler = () => join(small, 'filler');

async function totals(peer: TestPeer): Promise<{ listed: number; live: number }> {
  const { body } = await peer.ask('GET', '/files?limit=1');
  const { pins } = await peer.pins();
  return { listed: (body as { total: number }).total, live: pins.length };
}

interface Filled {
  readonly kept: Pin[];
  readonly refused: string;
  readonly problem: InstanceType<typeof StorageFull>;
}

/** Takes the last bytes of the disk, then pins until one is refused; answers what was promised. */
async function fill(peer: TestPeer): Promise<Filled> {
  const kept: Pin[] = [];
  for (let index = 0; index < 20; index += 1) kept.push(await peer.put(draft(`early ${index}`)));
  await writeFile(filler(), Buffer.alloc(4 * MiB)).catch(() => {}); // as far as it goes
  for (let index = 0; index < PINS_MAX; index += 1) {
    const name = `${index} ${'x'.repeat(200)}`;
    const wish = { ...draft(`file ${index}`), name };
    const answer = await peer.put(wish).catch((error: unknown) => {
      if (error instanceof StorageFull) return error;
      throw error;
    });
    if (answer instanceof StorageFull) return { kept, refused: wish.root, problem: answer };
    kept.push(answer);
  }
  throw new Error('the disk never got full');
}

describe('a full disk', () => {
  it('refuses pins and nothing else, lists nothing half-done, and is over when there is room', async () => {
    if (!isMounted) return;
    const a = await peers.start('a', options());
    const { kept, refused, problem } = await fill(a);
    expect(problem.fields).toEqual({ limit: 'disk space of the pin store', freeBytes: 0 });
    expect(await totals(a)).toEqual({ listed: kept.length, live: kept.length });
    await expect(a.find(refused, false)).rejects.toMatchObject({ status: 404 });

    const [first] = kept;
    if (first === undefined) throw new Error('nothing was kept');
    const changed = await a.ask('PATCH', `/files/${first.root}`, { name: 'n', replicas: 5 });
    expect([200, 507]).toContain(changed.status);
    expect((await a.find(first.root, false)).replicas).toBe(changed.status === 200 ? 5 : 2);
    // Deleting has room, again and again.
    for (const { root } of kept.slice(0, -5))
      expect((await a.ask('DELETE', `/files/${root}`)).status).toBe(200);
    const live = 5;
    expect(await totals(a)).toEqual({ listed: live, live });

    // A start on the full disk, with what was promised before.
    await a.kill('SIGTERM');
    const again = await peers.restart('a', a, options());
    expect(await totals(again)).toEqual({ listed: live, live });
    await writeFile(filler(), '');
    expect((await again.put(draft('after'))).name).toBe('after');
    expect((await again.ask('DELETE', `/files/${kept.at(-1)?.root}`)).status).toBe(200);
    expect(await totals(again)).toEqual({ listed: live, live });
  });

  it('still answers for pins of others that it has no room for, and takes them in later', async () => {
    if (!isMounted) return;
    const a = await peers.start('a', options());
    await fill(a);
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    for (let index = 0; index < 30; index += 1)
      await b.put({ ...draft(`of b ${index}`), name: 'y'.repeat(250) });
    const last = draft('of b 29');
    await expect(a.find(last.root, false)).rejects.toMatchObject({ status: 404 });
    expect(await a.find(last.root)).toMatchObject({ root: last.root });
    expect(await a.find(last.sha256)).toMatchObject({ root: last.root });
    await expect(a.find(last.root, false)).rejects.toMatchObject({ status: 404 });
    expect(a.process.exitCode).toBeNull();
    expect((await a.pins()).isCurrent).toBe(false);
    // Nobody who looks at this peer alone takes its list for all that there is.
    const incomplete = expect.stringMatching(/^the disk under .* is full: files that others/);
    expect((await a.ask('GET', '/files')).body).toMatchObject({ incomplete });
    const readiness = async (): Promise<unknown> => (await fetch(`${a.origin}/readyz`)).json();
    expect(await readiness()).toMatchObject({ status: 'ready', notices: [incomplete] });

    await writeFile(filler(), '');
    await eventually(
      'all pins, on both sides',
      async () => {
        const [here, there] = [await totals(a), await totals(b)];
        return here.live === there.live && here.listed === there.listed;
      },
      { timeoutMs: 15_000 },
    );
    await eventually('current', async () => (await a.pins()).isCurrent);
    expect((await a.ask('GET', '/files')).body).not.toHaveProperty('incomplete');
    expect(await readiness()).not.toHaveProperty('notices');
    expect((await a.find(last.root, false)).root).toBe(last.root);
  });
});
