/** What a peer's storage does to look after its blocks, asked for now. */
import {
  type ScrubReport,
  storageRoutes,
  type SweepReport,
  type UpkeepReport,
} from '@shoal/protocol';
import { eventually, type RunningPeer } from '@shoal/testkit';
import { request } from 'undici';

const ANSWER_TIMEOUT_MS = 30_000;
const CURRENT_WITHIN_MS = 30_000;

export async function upkeep(peer: RunningPeer): Promise<UpkeepReport> {
  return storageRoutes.upkeep.reply.parse(await ask(peer, 'GET', storageRoutes.upkeep.path));
}

export async function scrub(peer: RunningPeer): Promise<ScrubReport> {
  return storageRoutes.scrub.reply.parse(await ask(peer, 'POST', storageRoutes.scrub.path));
}

/** One round of the sweep; it may find that it must not delete anything, and says why. */
export async function sweepOnce(peer: RunningPeer): Promise<SweepReport> {
  return storageRoutes.sweep.reply.parse(await ask(peer, 'POST', storageRoutes.sweep.path));
}

/** One round of the sweep that was not held up: a peer that just came back first learns what it missed. */
export async function sweep(peer: RunningPeer): Promise<SweepReport> {
  let heldUpBy: string | undefined;
  return eventually(
    () => `a sweep is not held up: ${heldUpBy}`,
    async () => {
      const report = await sweepOnce(peer);
      ({ heldUpBy } = report);
      return heldUpBy === undefined && report;
    },
    { timeoutMs: CURRENT_WITHIN_MS },
  );
}

/** Deletes a file for good: its bytes go with the sweeps that follow. */
export async function purge({ discovery }: RunningPeer, cid: string): Promise<void> {
  const { statusCode, body } = await request(`${discovery}/files/${cid}?now`, { method: 'DELETE' });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`DELETE ${cid}: ${statusCode} ${text}`);
}

async function ask(
  { storage }: RunningPeer,
  method: 'GET' | 'POST',
  path: string,
): Promise<unknown> {
  const { statusCode, body } = await request(`${storage}${path}`, {
    method,
    headersTimeout: ANSWER_TIMEOUT_MS,
  });
  const json: unknown = await body.json();
  if (statusCode !== 200)
    throw new Error(`${method} ${path}: ${statusCode} ${JSON.stringify(json)}`);
  return json;
}
