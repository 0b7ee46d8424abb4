/**
 * Looks at the disks and processes of all peers, one after another and dated, so that what a peer said can be
 * held against what was true at the date that it said.
 *
 * A copy on a disk can be read while its peer's processes run. Whether others must know of it is another
 * matter: a peer that has just been started, or was told to end, or is stopped by a signal, speaks to nobody,
 * and may be called away although its processes are there.
 */
import { readFileSync } from 'node:fs';
import { isRunning, type RunningPeer } from '@shoal/testkit';
import { request } from 'undici';
import { listBlocks } from './disks.ts';

const READY_TIMEOUT_MS = 1000;

/** A peer in one look. */
export interface PeerLook {
  /** Digests of the blocks that have a file on its disk. */
  readonly blocks: ReadonlySet<string>;
  /** Its storage runs, so that they can be read. */
  readonly isRunning: boolean;
  /** It is ready since it started, was not told to end, and is not stopped by a signal. */
  readonly isServing: boolean;
}

/** All peers between two moments, by their ids: a wiped peer comes back as another. */
export interface Look {
  readonly startMs: number;
  readonly endMs: number;
  readonly peers: ReadonlyMap<string, PeerLook>;
}

/** Answers a function that takes a look. */
export function createLooker(peers: readonly RunningPeer[]): () => Promise<Look> {
  const lives = new Map<RunningPeer, Life>();
  return async () => {
    const startMs = Date.now();
    const looks = await Promise.all(
      peers.map(async (peer): Promise<[string, PeerLook]> => {
        const { peerId } = peer;
        const before = await lifeOf(peer, lives.get(peer));
        const blocks = await listBlocks(peer);
        // What changed while the disk was read counts as the lesser for what others must know.
        const life = await lifeOf(peer, before);
        lives.set(peer, life);
        return [
          peerId,
          {
            blocks,
            isRunning: isAnyRunning(before) || isAnyRunning(life),
            isServing: isServing(before) && isServing(life),
          },
        ];
      }),
    );
    return { startMs, endMs: Date.now(), peers: new Map(looks) };
  };
}

/** A peer between two starts of its storage or discovery. */
interface Life {
  readonly processIds: readonly number[];
  readonly isReady: boolean;
  readonly isToldToEnd: boolean;
}

async function lifeOf(peer: RunningPeer, last: Life | undefined): Promise<Life> {
  const processIds = processIdsOf(peer);
  if (processIds === undefined)
    return { processIds: last?.processIds ?? [], isReady: false, isToldToEnd: true };
  const isSame = last !== undefined && String(last.processIds) === String(processIds);
  const isReady = (isSame && last.isReady) || (await isSaidReady(peer));
  return { processIds, isReady, isToldToEnd: false };
}

const isAnyRunning = ({ processIds }: Life) => processIds.some(isRunning);
const isServing = ({ processIds, isReady, isToldToEnd }: Life) =>
  isReady && !isToldToEnd && processIds.every((id) => isRunning(id) && !isStoppedBySignal(id));

/** Of storage and discovery; undefined once the peer was told to end, or when one of them is not there. */
function processIdsOf(peer: RunningPeer): number[] | undefined {
  try {
    const { storage, discovery } = peer.processIds();
    return storage === undefined || discovery === undefined ? undefined : [storage, discovery];
  } catch {
    return undefined; // it says so by throwing
  }
}

/** Whether its discovery has asked the others, and so is known to them. */
async function isSaidReady({ discovery }: RunningPeer): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
    const { statusCode, body } = await request(`${discovery}/readyz`, { signal });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false; // not yet
  }
}

function isStoppedBySignal(processId: number): boolean {
  try {
    const stat = readFileSync(`/proc/${processId}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
  } catch {
    return false; // it is gone
  }
}
