import { createHash } from 'node:crypto';
import { MiB } from '@shoal/protocol';
import type { RunningPeer } from '@shoal/testkit';
import { request } from 'undici';
import { formatMs, quantile } from '../ledger.ts';
import { type KnownFile, nameOf } from '../model.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';

const FILE_SIZE_BYTES = 16 * MiB;
/** What is under way to the client at the cut still reaches it: with more left than that, it has to resume. */
const PAUSE_BEFORE_BYTES = 6 * MiB;
const DOWNLOADS_PER_ROUND = 10;
const ANSWER_TIMEOUT_MS = 30_000;

export const resumeElsewhere: Scenario = {
  id: 'R2',
  promise: 'kill the serving peer: the client goes on at another, from the last byte it has',
  open: steadySwarm,
  scale: { short: 2 * DOWNLOADS_PER_ROUND, long: 30 * DOWNLOADS_PER_ROUND },
  async run(rig) {
    const { peers } = rig.stage;
    const file = await add(rig, at(peers, 0), fileOf(rig, 'r2', FILE_SIZE_BYTES));
    for (let round = 0; round * DOWNLOADS_PER_ROUND < rig.scale; round += 1) {
      const random = rig.random.fork(round);
      const victim = random.pick(peers);
      const others = peers.filter((peer) => peer !== victim);
      const cut = createCut(DOWNLOADS_PER_ROUND, () =>
        rig.inject(`kill ${nameOf(victim)} while it serves`, () => victim.kill()),
      );
      await Promise.all(
        Array.from({ length: DOWNLOADS_PER_ROUND }, async () => {
          const pauseAtByte = random.int(1, PAUSE_BEFORE_BYTES);
          const next = random.pick(others);
          await resumingDownload(rig, file, [victim, next], { pauseAtByte, cut }).finally(() =>
            cut.give(),
          );
        }),
      );
      await revive(peers);
    }
    rig.ledger.figure('p95', formatMs(quantile(rig.ledger.samples('download'), 0.95)));
  },
};

/** All downloads stop somewhere of their own, then the harm is done, then they go on. */
interface Cut {
  /** This download got as far as it was to get. */
  wait(): Promise<void>;
  /** This download won't come to the cut any more; one that was there may say so too. */
  give(): void;
}

function createCut(count: number, act: () => Promise<void>): Cut {
  const { promise, resolve } = Promise.withResolvers<void>();
  let missing = count;
  const arrive = (): void => {
    missing -= 1;
    if (missing === 0) resolve(act());
  };
  return {
    wait() {
      arrive();
      return promise;
    },
    give: arrive,
  };
}

/** As `curl -C -` would: asks the next peer for what is missing, if it is still the same file. */
async function resumingDownload(
  { ledger, signal }: Rig,
  file: KnownFile,
  peers: readonly RunningPeer[],
  { pauseAtByte, cut }: { readonly pauseAtByte: number; readonly cut: Cut },
): Promise<void> {
  ledger.tried('downloads');
  const startedAtMs = performance.now();
  const digest = createHash('sha256');
  let receivedBytes = 0;
  let hasPaused = false;
  let etag = '';
  let lastError: unknown;
  for (const peer of peers) {
    const headers: Record<string, string> =
      receivedBytes === 0 ? {} : { range: `bytes=${receivedBytes}-`, 'if-range': etag };
    try {
      const answer = await request(`${peer.transfer}/files/${file.cid}`, {
        headers,
        signal,
        headersTimeout: ANSWER_TIMEOUT_MS,
        bodyTimeout: ANSWER_TIMEOUT_MS,
      });
      etag = String(answer.headers['etag']);
      const expected = receivedBytes === 0 ? 200 : 206;
      if (answer.statusCode !== expected) {
        await answer.body.dump();
        ledger.blame('failed', `${nameOf(peer)} answers ${answer.statusCode}, not ${expected}`);
        return;
      }
      if (receivedBytes > 0) ledger.tried('resumed');
      for await (const piece of answer.body as AsyncIterable<Buffer>) {
        digest.update(piece);
        receivedBytes += piece.length;
        if (hasPaused || receivedBytes < pauseAtByte) continue;
        hasPaused = true;
        await cut.wait();
      }
      if (digest.digest('hex') !== file.sha256)
        ledger.blame('corrupt', `after ${nameOf(peer)} sent the rest`);
      else ledger.sample('download', performance.now() - startedAtMs);
      return;
    } catch (error) {
      signal.throwIfAborted();
      lastError = error;
    }
  }
  ledger.blame('failed', `after ${receivedBytes} bytes: ${String(lastError)}`);
}
