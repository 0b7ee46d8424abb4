import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type DrainReport, MiB, transferRoutes } from '@shoal/protocol';
import {
  download,
  eventually,
  health,
  listAlive,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededStream,
  sha256Of,
  signalProcess,
  startSwarm,
  type TestFile,
  untilAllSee,
  upload,
} from '@shoal/testkit';
import { request } from 'undici';

const DRAIN_TIMEOUT_MS = 60_000;
const FILES = Array.from({ length: 5 }, (_, index): TestFile => ({
  name: `file-${index}.bin`,
  seed: `drain ${index}`,
  sizeBytes: (4 + index) * MiB,
}));

async function drain(peer: RunningPeer, method: 'GET' | 'POST' | 'DELETE'): Promise<DrainReport> {
  const { statusCode, body } = await request(`${peer.gateway}/drain`, { method });
  const json: unknown = await body.json();
  if (statusCode !== 200) throw new Error(`drain: ${statusCode} ${JSON.stringify(json)}`);
  return transferRoutes.drainState.reply.parse(json);
}

/** Chunks on a peer's disk. */
async function countBlocks({ dataDir }: RunningPeer): Promise<number> {
  const names = await readdir(join(dataDir, 'storage', 'blocks'), { recursive: true });
  return names.filter((name) => name.includes('/')).length;
}

const logOf = ({ dataDir }: RunningPeer): Promise<string> =>
  readFile(join(dataDir, 'logs', 'transfer.log'), 'utf8');

describe('leaving', () => {
  let swarm: RunningSwarm | undefined;
  afterEach(async () => {
    await swarm?.[Symbol.asyncDispose]();
    swarm = undefined;
  });
  const start = async (
    count: number,
    env: Readonly<Record<string, string>> = {},
    leaverRuns: 'per service' | 'per peer' = 'per peer',
  ): Promise<[RunningPeer, ...RunningPeer[]]> => {
    swarm = await startSwarm(count, {
      env: { TRANSFER_SETTLE_DELAY_MS: '500', ...env },
      optionsOf: (index) => ({ processes: index === 0 ? leaverRuns : 'per peer' }),
    });
    const [first, ...others] = swarm.peers;
    if (first === undefined) throw new Error('no peers');
    return [first, ...others];
  };

  it('by a drain, under downloads, fails none of them and leaves every file safe at once', async () => {
    const peers = await start(4);
    const [leaver, ...others] = peers;
    const files: { cid: string; sha256: string }[] = [];
    for (const file of FILES) {
      const { reply } = await upload(leaver.chunker, file, { query: 'copies=3' });
      const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
      files.push({ cid: reply.cid, sha256 });
    }

    let isOver = false;
    const outcomes: string[] = [];
    const read = async (readers: readonly RunningPeer[]): Promise<void> => {
      for (let turn = 0; !isOver; turn += 1) {
        const file = files[turn % files.length];
        const reader = readers[turn % readers.length];
        if (file === undefined || reader === undefined) return;
        const outcome = await download(reader.gateway, file.cid).then(
          ({ status, sha256 }) => (sha256 === file.sha256 ? 'right' : `wrong ${status}`),
          String,
        );
        outcomes.push(outcome);
      }
    };
    const reading = Promise.all([read(peers), read(others)]);

    try {
      expect(await drain(leaver, 'GET')).toMatchObject({ isDraining: false, isDrained: false });
      expect(await drain(leaver, 'POST')).toMatchObject({
        isDraining: true,
        filesTotal: FILES.length,
      });
      await eventually(
        () => `it is drained\n${leaver.logTails()}`,
        async () => (await drain(leaver, 'GET')).isDrained,
        { timeoutMs: DRAIN_TIMEOUT_MS },
      );
      expect(await countBlocks(leaver)).toBe(0);
    } finally {
      isOver = true;
      await reading;
    }
    expect(outcomes.length).toBeGreaterThan(0);
    expect(outcomes.filter((outcome) => outcome !== 'right')).toEqual([]);

    expect(await leaver.stop()).toBe(0);
    for (const other of others)
      for (const { cid, sha256 } of files) {
        expect(await health(other.discovery, cid)).toMatchObject({ state: 'safe', copies: 3 });
        expect(await download(other.transfer, cid)).toMatchObject({ sha256 });
      }

    // It is no reboot that brings it back among the placed peers, but the operator.
    await leaver.start();
    await untilAllSee(peers, peers.length);
    expect(await drain(leaver, 'GET')).toMatchObject({ isDraining: true });
    await eventually('it is found drained again', async () => {
      return (await drain(leaver, 'GET')).isDrained;
    });
    expect(await drain(leaver, 'DELETE')).toMatchObject({ isDraining: false });
    await eventually('it has its share again', async () => (await countBlocks(leaver)) > 0, {
      timeoutMs: DRAIN_TIMEOUT_MS,
    });
  });

  it('by a drain is held up while nobody else is up, and goes on when somebody is', async () => {
    const [leaver, other] = (await start(2)) as unknown as [RunningPeer, RunningPeer];
    const { reply } = await upload(leaver.chunker, FILES[0] as TestFile, { query: 'copies=1' });
    await other.kill();
    await eventually('it is held up', async () => {
      const report = await drain(leaver, 'POST');
      return !report.isDrained && report.heldUpBy === 'no other peer is up';
    });
    await other.start();
    await eventually('it is drained', async () => (await drain(leaver, 'GET')).isDrained, {
      timeoutMs: DRAIN_TIMEOUT_MS,
    });
    expect(await leaver.stop()).toBe(0);
    expect(await download(other.transfer, reply.cid)).toMatchObject({ status: 200 });
  });

  it('by SIGTERM right after an upload with one copy, it leaves the file readable', async () => {
    // Nobody else makes copies meanwhile: repair has next to no bandwidth, and the jobs are lost.
    const [leaver, ...others] = await start(
      3,
      { TRANSFER_REPAIR_BYTES_PER_SECOND: '1' },
      'per service',
    );
    const { transfer = 0 } = leaver.processIds();
    signalProcess(transfer, 'SIGSTOP');
    const file = { name: 'last.bin', seed: 'last words', sizeBytes: 16 * MiB };
    const { reply } = await upload(leaver.chunker, file, { query: 'copies=1' });
    leaver.killOne('redis');
    signalProcess(transfer, 'SIGCONT');
    expect(await leaver.stop()).toBe(0);
    expect(await logOf(leaver)).toContain('handed over');
    const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
    for (const other of others)
      expect(await download(other.transfer, reply.cid)).toMatchObject({ status: 200, sha256 });
  });

  it('by SIGTERM with every file safe, it hands over nothing, and nobody copies anything', async () => {
    const [leaver, ...others] = await start(3, { LOG_LEVEL: 'debug' }, 'per service');
    for (const file of FILES) await upload(leaver.chunker, file, { query: 'copies=3' });
    const copied = () =>
      Promise.all(
        others.map(({ transfer }) =>
          metric(transfer, 'shoal_transfer_blocks_replicated_total', { outcome: 'copied' }),
        ),
      );
    // Each chunk came once, by an offer or by settling; what comes from now on came for the leaving.
    const chunks = FILES.reduce((sum, { sizeBytes }) => sum + sizeBytes / MiB, 0);
    const each = others.map(() => chunks);
    await eventually('every copy is counted', async () => {
      const counts = await copied();
      return counts.every((count) => count >= chunks);
    });
    expect(await copied()).toEqual(each);

    expect(await leaver.stop()).toBe(0);
    const log = await logOf(leaver);
    const handedOver = { filesChecked: FILES.length, blocks: 0, blocksLeft: 0 };
    expect(log).toContain(
      `${JSON.stringify(handedOver).slice(1, -1)},"msg":"nothing more to hand over"`,
    );
    await eventually('the others see it gone', async () => {
      const seen = await Promise.all(others.map(listAlive));
      return seen.every((alive) => alive.length === others.length);
    });
    expect(await copied()).toEqual(each);
  });
});
