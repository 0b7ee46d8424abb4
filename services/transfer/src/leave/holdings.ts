/**
 * Holdings of files, ours and of the members that stay, asked at this moment. Counts that decide whether
 * this peer may go come from here, never from an empty queue.
 */
import { decodeBits } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  BlockNotFound,
  type Cid,
  discoveryRoutes,
  type HaveMapOrNot,
  ManifestIncomplete,
  type Pin,
  storageRoutes,
  WANT_ROOTS_MAX,
} from '@shoal/protocol';
import { type MemberView, remainingOthers } from '../peers/member-view.ts';

/** Longest wait for the members' answers. */
const WANT_TIMEOUT_MS = 1500;
/** Blocks of the files in one question: their have-maps must fit in one answer of a member. */
const BLOCKS_PER_QUESTION_MAX = 8 * 1024 * 1024;

/** Have-maps of one file, as bits in DAG order. */
export interface Holding {
  readonly pin: Pin;
  /** Blocks that we confirm ourselves; undefined when our manifest has a gap, so that we don't know. */
  readonly own: Uint8Array | undefined;
  /** For each of the others that is up and stays, the blocks that it confirms. */
  readonly others: readonly Uint8Array[];
}

/** Cuts a list of files into questions of a bounded size. */
export function questionsOf(pins: readonly Pin[]): Pin[][] {
  const questions: Pin[][] = [];
  let blocks = Infinity;
  for (const pin of pins) {
    const last = questions.at(-1);
    blocks += pin.blocks;
    if (last !== undefined && last.length < WANT_ROOTS_MAX && blocks <= BLOCKS_PER_QUESTION_MAX)
      last.push(pin);
    else {
      questions.push([pin]);
      blocks = pin.blocks;
    }
  }
  return questions;
}

/** Asks about the files of one question. @throws ServiceUnavailable when a service of ours is away. */
export async function askHoldings(
  pins: readonly Pin[],
  {
    client,
    view,
    log,
  }: { readonly client: PeerClient; readonly view: MemberView; readonly log: Log },
  { signal }: { signal: AbortSignal },
): Promise<Holding[]> {
  const roots = pins.map(({ root }) => root);
  const body = { roots, timeoutMs: WANT_TIMEOUT_MS };
  const [owns, { answers }] = await Promise.all([
    ownMaps(roots, client, { signal }),
    client.call(client.own('discovery'), discoveryRoutes.want, { body }, { signal }),
  ]);
  const counted = new Set(remainingOthers(view).map(({ peerId }) => peerId));
  return pins.map((pin, index) => ({
    pin,
    own: bitsOf(owns[index] ?? 'unread', pin, log),
    others: answers
      .filter(({ peerId, haveMap }) => counted.has(peerId) && haveMap.root === pin.root)
      .flatMap(({ haveMap }) => bitsOf(haveMap, pin, log) ?? []),
  }));
}

/** Our own have-maps. Those that do not fit the time or size of one answer are asked for alone. */
async function ownMaps(
  roots: readonly Cid[],
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<HaveMapOrNot[]> {
  const args = { body: { roots: [...roots] } };
  const { haveMaps } = await client.call(client.own('storage'), storageRoutes.haveMaps, args, {
    signal,
  });
  return Promise.all(
    roots.map(async (root, index) => {
      const said = haveMaps[index] ?? 'unread';
      return said === 'unread' ? ownMap(root, client, { signal }) : said;
    }),
  );
}

async function ownMap(
  root: Cid,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<HaveMapOrNot> {
  try {
    const args = { params: { cid: root } };
    return await client.call(client.own('storage'), storageRoutes.haveMap, args, { signal });
  } catch (error) {
    if (error instanceof BlockNotFound) return 'absent';
    if (error instanceof ManifestIncomplete) return 'incomplete';
    throw error;
  }
}

function bitsOf(said: HaveMapOrNot, { root, blocks }: Pin, log: Log): Uint8Array | undefined {
  if (said === 'absent') return new Uint8Array(Math.ceil(blocks / 8));
  if (typeof said === 'string') return undefined;
  try {
    return decodeBits(said.bits, blocks);
  } catch (err) {
    log.debug({ err, root }, 'a have-map does not fit its file');
    return undefined;
  }
}
