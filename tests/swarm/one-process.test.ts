import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import {
  download,
  eventually,
  listChildren,
  seededStream,
  sha256Of,
  signalProcess,
  startPeer,
  upload,
} from '@shoal/testkit';

const FILE = { name: 'one', seed: 'one process', sizeBytes: 100_000 };

it('runs as one process beside its Redis, and is back with its files after that was killed', async () => {
  await using peer = await startPeer({ launcherArgs: ['--one-process'] });
  const programs = () =>
    listChildren(peer.launcherId).filter(({ command }) => command.includes('/packages/peer/'));
  const [first, ...others] = programs();
  expect(others).toEqual([]);
  expect(listChildren(peer.launcherId).map(({ command }) => command)).not.toContainEqual(
    expect.stringContaining('/services/'),
  );
  const { reply } = await upload(peer.gateway, FILE);
  signalProcess(first?.processId ?? 0, 'SIGKILL');
  await eventually('another process', () =>
    programs().find(({ processId }) => processId !== first?.processId),
  );
  const back = await eventually('the file', async () => {
    const answer = await download(peer.gateway, reply.cid).catch(() => undefined);
    return answer?.status === 200 ? answer : undefined;
  });
  expect(back.sha256).toBe(await sha256Of(seededStream(FILE.seed, FILE.sizeBytes)));
  const log = readFileSync(join(peer.dataDir, 'logs', 'services.log'), 'utf8');
  for (const service of SERVICES) expect(log).toContain(`"service":"${service}"`);
  expect(await peer.stop()).toBe(0);
});
