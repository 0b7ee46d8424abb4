import { MiB } from '@shoal/protocol';
import { download, type RunningPeer } from '@shoal/testkit';
import { formatMs, quantile } from '../ledger.ts';
import { type KnownFile, nameOf } from '../model.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';

const FILE_SIZE_BYTES = 8 * MiB;
/** Downloads at once, over the three peers that live on. */
const DOWNLOADS_PER_ROUND = 50;
const ADDED_P95_MAX_MS = 5000;
const DOWNLOAD_TIMEOUT_MS = 60_000;

export const killAnyTwo: Scenario = {
  id: 'R1',
  promise: 'kill any 2 of 5 in the middle of downloads that others serve: right bytes, no failure',
  open: steadySwarm,
  scale: { short: 2 * DOWNLOADS_PER_ROUND, long: 20 * DOWNLOADS_PER_ROUND },
  async run(rig) {
    const { peers } = rig.stage;
    const file = await add(rig, at(peers, 0), fileOf(rig, 'r1', FILE_SIZE_BYTES));
    for (let round = 0; round * DOWNLOADS_PER_ROUND < rig.scale; round += 1) {
      const random = rig.random.fork(round);
      const victims = random.sample(peers, 2);
      const serving = peers.filter((peer) => !victims.includes(peer));
      const killAfterBytes = (0.1 + 0.7 * random.share()) * DOWNLOADS_PER_ROUND * FILE_SIZE_BYTES;
      let receivedBytes = 0;
      let killing: Promise<void> | undefined;
      const onBytes = (bytes: number): void => {
        receivedBytes += bytes;
        if (receivedBytes >= killAfterBytes)
          killing ??= rig.inject(`kill ${victims.map(nameOf).join(' and ')}`, () =>
            Promise.all(victims.map((peer) => peer.kill())),
          );
      };
      await Promise.all(
        Array.from({ length: DOWNLOADS_PER_ROUND }, (_, index) =>
          timedDownload(rig, file, at(serving, index % serving.length), onBytes),
        ),
      );
      await killing;
      await revive(peers);
    }
    judgeAddedTime(rig);
  },
};

async function timedDownload(
  { ledger, signal }: Rig,
  file: KnownFile,
  peer: RunningPeer,
  onMoreBytes: (bytes: number) => void,
): Promise<void> {
  ledger.tried('downloads');
  const startedAtMs = performance.now();
  let seenBytes = 0;
  try {
    const { status, sha256 } = await download(peer.transfer, file.cid, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]),
      onBytes(bytes) {
        onMoreBytes(bytes - seenBytes);
        seenBytes = bytes;
      },
    });
    if (status !== 200) ledger.blame('failed', `${status} from ${nameOf(peer)}`);
    else if (sha256 !== file.sha256) ledger.blame('corrupt', `from ${nameOf(peer)}`);
    else ledger.sample('download', performance.now() - startedAtMs);
  } catch (error) {
    signal.throwIfAborted();
    ledger.blame('failed', `from ${nameOf(peer)} after ${seenBytes} bytes: ${String(error)}`);
  }
}

function judgeAddedTime({ ledger, control }: Rig): void {
  if (control === undefined) return;
  const addedMs =
    quantile(ledger.samples('download'), 0.95) - quantile(control.samples('download'), 0.95);
  ledger.figure('p95 added', formatMs(addedMs));
  if (addedMs > ADDED_P95_MAX_MS)
    ledger.blame('broken', `${formatMs(addedMs)} added at p95, not ${formatMs(ADDED_P95_MAX_MS)}`);
}
