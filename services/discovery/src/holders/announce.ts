/**
 * The verb "announce" ⑤: what this peer holds of a root may have changed, so tell the others. It saves
 * them a question and is never relied upon: a reader asks again, and before a copy is dropped storage is asked.
 *
 * When transfer starts it looks at all files and announces each. So what did not change since it was
 * announced is not announced again (deduplicated), and announcements of one moment go out together (debounced).
 */
import { createHash } from 'node:crypto';
import { RecentMap } from '@shoal/chassis';
import { type Cid, type HaveMap, type PeerId, WANT_ROOTS_MAX } from '@shoal/protocol';
import type { Holders } from './holders.ts';
import { Holdings } from '../network/messages.ts';
import type { ReadHaveMap } from './own-have-maps.ts';
import type { Wire } from '../network/wire.ts';

/** Larger have-maps (files above 380 GiB) are not broadcast; a want brings them. */
const BITS_ANNOUNCED_MAX_CHARS = 64 * 1024;
/** How long a change waits for others: short compared with the time that a broadcast takes. */
const GATHER_MS = 50;
/** Roots for which the last announcement is remembered, about 200 bytes each. */
const TOLD_MAX = 65_536;

/** `haveMap` is undefined when nothing is left. */
interface News {
  readonly haveMap: HaveMap | undefined;
  readonly readAtMs: number;
}

export interface Announce extends Disposable {
  /** Reads what our storage holds of these roots, notes it in the table, and soon announces what changed. */
  announce(roots: readonly Cid[]): Promise<void>;
}

export function createAnnounce(deps: {
  readonly self: PeerId;
  readonly wire: Pick<Wire, 'broadcast' | 'budget' | 'listen'>;
  readonly holders: Holders;
  readonly readHaveMap: ReadHaveMap;
  readonly onHolding: (root: Cid, peerId: PeerId) => void;
}): Announce {
  const { self, wire, holders, readHaveMap, onHolding } = deps;
  const told = new RecentMap<Cid, string>({ max: TOLD_MAX });
  /** Goes out with the next messages. */
  const waiting = new Map<Cid, News>();
  let timer: NodeJS.Timeout | undefined;

  const note = (
    peerId: PeerId,
    root: Cid,
    { haveMap, readAtMs }: { haveMap: HaveMap | undefined; readAtMs: number | undefined },
  ): void => {
    holders.note(root, peerId, haveMap, { readAtMs });
    if (haveMap !== undefined) onHolding(root, peerId);
  };
  wire.listen('holdings', Holdings, (peerId, { haves, gone, readAtMs }) => {
    wire.budget.spend(peerId, 'roots', haves.length + gone.length);
    for (const root of gone) note(peerId, root, { haveMap: undefined, readAtMs });
    for (const haveMap of haves) note(peerId, haveMap.root, { haveMap, readAtMs });
  });
  const isNews = (root: Cid, haveMap: HaveMap | undefined): boolean => {
    const now = haveMap === undefined ? 'nothing' : fingerprint(haveMap);
    if (told.peek(root) === now) return false;
    told.set(root, now);
    return true;
  };
  const tell = (): void => {
    timer = undefined;
    const all = [...waiting];
    waiting.clear();
    for (const message of messagesOf(all)) wire.broadcast('holdings', message);
  };
  return {
    async announce(roots) {
      const maps = await Promise.all(
        [...new Set(roots)].map(async (root) => ({ root, ...(await readHaveMap(root)) })),
      );
      for (const { root, haveMap, readAtMs } of maps) {
        if (haveMap === 'unread') continue; // no news; a reader asks
        note(self, root, { haveMap, readAtMs });
        if (isNews(root, haveMap)) waiting.set(root, { haveMap, readAtMs });
      }
      if (waiting.size > 0) timer ??= setTimeout(tell, GATHER_MS);
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** Packs news into messages of bounded length and size. */
function messagesOf(all: readonly (readonly [Cid, News])[]): Holdings[] {
  const messages: Holdings[] = [];
  let roots = Infinity;
  let chars = 0;
  // One date for a message: that of what was read first.
  const readAtMs = Math.min(...all.map(([, news]) => news.readAtMs));
  for (const [root, { haveMap }] of all) {
    const size = haveMap?.bits.length ?? 0;
    if (size > BITS_ANNOUNCED_MAX_CHARS) continue;
    if (roots >= WANT_ROOTS_MAX || chars + size > BITS_ANNOUNCED_MAX_CHARS) {
      messages.push({ v: 1, haves: [], gone: [], readAtMs });
      roots = 0;
      chars = 0;
    }
    roots += 1;
    chars += size;
    if (haveMap === undefined) messages.at(-1)?.gone.push(root);
    else messages.at(-1)?.haves.push(haveMap);
  }
  return messages;
}

/** Short, whatever the size of the file. */
const fingerprint = ({ blocks, bits }: HaveMap): string =>
  createHash('sha256').update(`${blocks} ${bits}`).digest('base64url');
