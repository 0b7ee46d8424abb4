/** Members as a person adds and removes them: by the command line, real peers, and a stolen one. */
import { execFile } from 'node:child_process';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env as ownEnv } from 'node:process';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { MiB, type SignedRecord } from '@shoal/protocol';
import {
  createTestRoster,
  download,
  eventually,
  health,
  identityAt,
  metric,
  openTemporaryFolder,
  ownerEnvironment,
  CLI_MAIN,
  type RunningPeer,
  seededStream,
  sha256Of,
  startPeer,
  type TestRoster,
  untilAllSee,
  upload,
  writeSwarmKey,
} from '@shoal/testkit';
import { request } from 'undici';

jest.setTimeout(180_000);
const FILE = { name: 'film.mp4', seed: 'film', sizeBytes: 8 * MiB };
/** A removed peer is refused everywhere by then. */
const REMOVED_WITHIN_MS = 5000;

let closing = new AsyncDisposableStack();
afterEach(async () => {
  await closing.disposeAsync();
  closing = new AsyncDisposableStack();
});

interface Closed {
  readonly folder: string;
  readonly roster: TestRoster;
  readonly records: readonly SignedRecord[];
  readonly peers: readonly [RunningPeer, RunningPeer, RunningPeer];
  /** What a command of the owner prints; its refusal as an error. */
  readonly shoal: (...args: string[]) => Promise<string>;
}

/** Three peers whose owner is here. */
async function startClosed(): Promise<Closed> {
  const folder = closing.use(await openTemporaryFolder()).path;
  const roster = createTestRoster();
  const keyFile = join(folder, 'swarm.key');
  await writeSwarmKey(keyFile);
  const dirs = ['a', 'b', 'c'].map((name) => join(folder, name));
  const records = dirs.map((dir) => roster.add(identityAt(dir), { mayInvite: true }));
  for (const dir of dirs) roster.write(dir, records);
  const peers: RunningPeer[] = [];
  for (const dataDir of dirs) {
    const seeds = peers.slice(0, 1).map(({ libp2p }) => libp2p);
    peers.push(closing.use(await startPeer({ dataDir, keyFile, seeds, processes: 'per peer' })));
  }
  await untilAllSee(peers, 3);
  const shoal = commandOf(ownerEnvironment(join(folder, 'config'), roster));
  return {
    folder,
    roster,
    records,
    peers: peers as unknown as Closed['peers'],
    shoal,
  };
}

/** The command line of a person; a refusal is an error. */
function commandOf(env: NodeJS.ProcessEnv): Closed['shoal'] {
  const run = promisify(execFile);
  return async (...args) => {
    const { stdout } = await run(process.execPath, [CLI_MAIN, ...args], { env });
    return stdout.trim();
  };
}

const membersAt = async ({ discovery }: RunningPeer, state = ''): Promise<string[]> => {
  const { body } = await request(`${discovery}/peers`);
  const { peers } = (await body.json()) as { peers: { peerId: string; state: string }[] };
  return peers.filter((each) => each.state.startsWith(state)).map(({ peerId }) => peerId);
};

describe('the members of a swarm that has an owner', () => {
  it('grow by a line that is pasted, and take files', async () => {
    const { folder, peers, shoal } = await startClosed();
    const [a, b] = peers;
    const line = await shoal('invite', '--peer', a.gateway);
    expect(line).toMatch(/^sh1_[1-9A-HJ-NP-Za-km-z]+$/);
    const dataDir = join(folder, 'd');
    const said = await shoal('join', line, '--data-dir', dataDir, '--name', 'attic', '--no-start');
    expect(said).toContain('joined');
    const seeds = [...said.matchAll(/--seed (\S+)/g)].map(([, seed = '']) => seed);
    const keyFile = join(dataDir, 'swarm.key');
    const joined = closing.use(await startPeer({ dataDir, keyFile, seeds, processes: 'per peer' }));
    await untilAllSee([...peers, joined], 4);
    const { reply } = await upload(joined.chunker, FILE, { query: 'copies=3' });
    const got = await download(b.transfer, reply.cid);
    expect(got.sha256).toBe(await sha256Of(seededStream(FILE.seed, FILE.sizeBytes)));
    expect(await shoal('members', '--peer', b.gateway)).toMatch(/attic +its own files/);
    await expect(shoal('join', line, '--data-dir', join(folder, 'e'))).rejects.toThrow(
      /used as often as it may be/,
    );
    await expect(shoal('rename', 'attic', 'attic', '--peer', a.gateway)).resolves.toBe('');
    await expect(shoal('rename', a.peerId, 'attic', '--peer', a.gateway)).rejects.toThrow(
      /is called attic already/,
    );
    const withdrawn = await shoal('invite', '--peer', a.gateway);
    await shoal('invite', '--close', withdrawn, '--peer', a.gateway);
    await expect(shoal('join', withdrawn, '--data-dir', join(folder, 'e'))).rejects.toThrow(
      /was withdrawn/,
    );
    // Who joins was no intruder.
    const log = await shoal('log', '--kind', 'handshake-refused', '--json', '--peer', a.gateway);
    expect(log).not.toContain(joined.peerId);
    await expect(shoal('join', `${line}x`, '--data-dir', join(folder, 'e'))).rejects.toThrow(
      /check digits are wrong/,
    );
  });

  it('are rid of a stolen one, whose folder runs elsewhere, and make its copies again', async () => {
    const { folder, roster, records, peers, shoal } = await startClosed();
    const [a, b, stolen] = peers;
    const { reply } = await upload(a.chunker, FILE, { query: 'replicas=2&copies=2' });
    const { peerId, keyFile } = stolen;
    await stolen.stop();
    const dataDir = join(folder, 'elsewhere');
    await cp(stolen.dataDir, dataDir, { recursive: true });
    const seeds = [a.libp2p, b.libp2p];
    const thief = closing.use(await startPeer({ dataDir, keyFile, seeds, processes: 'per peer' }));
    await untilAllSee([a, b, thief], 3);

    await shoal('remove', peerId.slice(-8), '--peer', a.gateway, '--reason', 'left in a train');
    const removedAtMs = performance.now();
    await eventually('nobody takes it for a member', async () => {
      const lists = await Promise.all([a, b].map((each) => membersAt(each)));
      return lists.every((list) => !list.includes(peerId));
    });
    expect(performance.now() - removedAtMs).toBeLessThan(REMOVED_WITHIN_MS);
    expect(await shoal('members', '--peer', b.gateway)).toContain('left in a train');

    const refused = 'shoal_discovery_handshakes_refused_total';
    // It forgets that it was removed, as a thief would have it.
    await thief.stop();
    roster.write(dataDir, records);
    await thief.start();
    await eventually('it was refused', async () => {
      const counts = await Promise.all(
        [a, b].map(({ discovery }) => metric(discovery, refused, { reason: 'roster' })),
      );
      return counts.every((count) => count > 0);
    });
    expect(await membersAt(thief, 'alive')).toEqual([peerId]);
    const log = await shoal('log', '--kind', 'handshake-refused', '--json', '--peer', a.gateway);
    expect(log).toContain(`${peerId} is not on the roster`);
    const later = await upload(a.chunker, { ...FILE, name: 'later', seed: 'later' });
    const { statusCode } = await request(`${thief.gateway}/files/${later.reply.cid}`);
    expect(statusCode).toBe(404);
    await eventually(
      'the file is safe on the two that are left',
      async () => (await health(b.discovery, reply.cid)).state === 'safe',
      { timeoutMs: 60_000 },
    );
    const { holders } = await health(b.discovery, reply.cid);
    expect(holders.map(({ peerId: holder }) => holder).sort()).toEqual([a.peerId, b.peerId].sort());
  });

  it('are those of before in a swarm that gets an owner, whose lost key the one on paper replaces', async () => {
    const folder = closing.use(await openTemporaryFolder()).path;
    const keyFile = join(folder, 'swarm.key');
    await writeSwarmKey(keyFile);
    const start = async (name: string, seeds: string[] = []) =>
      closing.use(
        await startPeer({ dataDir: join(folder, name), keyFile, seeds, processes: 'per peer' }),
      );
    const a = await start('a');
    const b = await start('b', [a.libp2p]);
    await untilAllSee([a, b], 2);
    const { reply } = await upload(a.chunker, FILE, { query: 'copies=2' });
    const at = ['--peer', a.gateway];
    const laptop = commandOf({ ...ownEnv, SHOAL_CONFIG_DIR: join(folder, 'laptop') });
    const owned = JSON.parse(await laptop('own', '--data-dir', a.dataDir, '--json', ...at)) as {
      recovery: string;
      owner: string;
      members: string[];
    };
    expect(owned.members.toSorted()).toEqual([a.peerId, b.peerId].toSorted());
    // Nothing of its files was disturbed, and the key alone lets nobody in any more.
    expect((await download(b.transfer, reply.cid)).status).toBe(200);
    const late = await start('late', [a.libp2p, b.libp2p]);
    await eventually('it was refused', async () => {
      const refused = 'shoal_discovery_handshakes_refused_total';
      return (await metric(a.discovery, refused, { reason: 'roster' })) > 0;
    });
    expect(await membersAt(late, 'alive')).toEqual([late.peerId]);
    await expect(laptop('own', '--data-dir', a.dataDir, ...at)).rejects.toThrow(/has an owner/);

    // The laptop is lost.
    const paper = join(folder, 'paper.txt');
    await writeFile(paper, owned.recovery.toUpperCase());
    const other = commandOf({ ...ownEnv, SHOAL_CONFIG_DIR: join(folder, 'other') });
    await expect(other('invite', ...at)).resolves.toMatch(/^sh1_/); // by the peer itself
    await expect(other('rename', a.peerId, 'mine', ...at)).rejects.toThrow(/key of an owner/);
    const id = await other('owner', 'key');
    await other('owner', 'add', id, '--name', 'me again', '--recovery', paper, ...at);
    await other('owner', 'remove', owned.owner, '--recovery', paper, ...at);
    await other('rename', a.peerId, 'mine', ...at);
    await expect(laptop('rename', a.peerId, 'theirs', ...at)).rejects.toThrow(/no owner/);
    const listed = await other('members', '--peer', b.gateway);
    expect(listed).toMatch(/mine/);
    expect(listed).toMatch(/me again/);
    expect(await isAlive(a, b.peerId)).toBe(true);
  });
});

const isAlive = async (peer: RunningPeer, peerId: string): Promise<boolean> =>
  (await membersAt(peer, 'alive')).includes(peerId);
