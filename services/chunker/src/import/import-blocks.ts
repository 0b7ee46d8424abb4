/**
 * Blocks as given: a CAR, or one block, stored under the names that they came with, then the DAGs of
 * their roots kept. Holds a few blocks in memory, however long the CAR.
 *
 * A CAR that breaks off keeps nothing. A root that is not whole is not an error: its blocks stay under
 * their lease until storage ages that out, so that another CAR may bring the rest.
 */
import { type CarBlock, type ReadCid, readLink, verify } from '@shoal/blocks';
import { BlockCorrupt, type Cid, CidUnsupported, type ImportReply, Problem } from '@shoal/protocol';
import { createElsewhere } from './elsewhere.ts';
import { gatherDag } from './gather-dag.ts';
import { findKnownPin } from './known-pin.ts';
import { type IntakeDeps, leftToAge, openHold } from '../intake/intake.ts';
import { dropDag, keepDags, type ReceivedDag } from '../intake/keep-dags.ts';
import { type BlockPuts, createBlockPuts } from '../intake/put-blocks.ts';

/** Blocks and roots that are named with a reason; of more there is a count. */
const UNPINNED_NAMED_MAX = 100;

export interface IncomingBlocks {
  readonly roots: readonly CarBlock['cid'][];
  readonly blocks: AsyncIterable<CarBlock>;
}

export interface ImportWishes {
  /** Of the root, when there is one; without, what it is named by now, or its CID. */
  readonly name: string | undefined;
  readonly pin: boolean;
  readonly replicas: number;
  readonly copies: number;
  readonly expiresAtMs: number | undefined;
}

interface Unpinned {
  add(cid: string, reason: string): void;
  list(): ImportReply['unpinned'];
}

/**
 * Takes blocks in and waits for the copies of what is kept. `signal` fires when the sender leaves.
 * @param open Reads the header, until its signal fires.
 * @throws CarInvalid, BlockCorrupt, CidUnsupported, StorageFull, ServiceUnavailable; whatever `open` throws.
 */
export async function importBlocks(
  open: (options: { signal: AbortSignal }) => Promise<IncomingBlocks>,
  wishes: ImportWishes,
  { entriesMax, ...deps }: IntakeDeps & { readonly entriesMax: number },
  { signal }: { signal: AbortSignal },
): Promise<{ readonly reply: ImportReply; readonly isReached: boolean }> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const hold = openHold(deps, wishes);
  const progress = deps.progressEvents.open(wishes.name ?? 'blocks');
  const onFailure = (error: unknown) => failed.abort(error);
  const puts = createBlockPuts({ ...deps, onFailure }, hold.lease, {
    signal: either,
    stopping: deps.stopping,
  });
  const came = { blocks: 0, blockBytes: 0 };
  const unpinned = createUnpinned();
  const received: ReceivedDag[] = [];
  try {
    const { roots, blocks } = await open({ signal: either });
    for await (const block of blocks) {
      const sizeBytes = await take(block, puts, { mayHold: !wishes.pin, unpinned });
      if (sizeBytes === undefined) continue;
      came.blocks += 1;
      came.blockBytes += sizeBytes;
      progress.received(sizeBytes);
    }
    await puts.finish();
    const elsewhere = createElsewhere({ ...deps, gateways: [] });
    const gatherDeps = { ...deps, hold, puts, elsewhere, entriesMax };
    const targets = rootsToKeep(roots, wishes, unpinned);
    for (const { target, name } of targets)
      try {
        const { sha256, ...dag } = await gatherDag(target.cid, gatherDeps, { signal: either });
        const { replicas, copies, expiresAtMs } = wishes;
        const known = name === undefined ? await knownName(target.cid, deps, either) : name;
        const draft = {
          ...dag,
          name: known,
          replicas,
          ...(sha256 === undefined ? {} : { sha256 }),
          ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
        };
        const own = targets.length === 1 ? progress : deps.progressEvents.open(known);
        received.push({ draft, copies, isHere: true, hold, progress: own });
      } catch (error) {
        either.throwIfAborted();
        if (!(error instanceof Problem) || error.status >= 500) throw error;
        unpinned.add(target.asGiven, error.message);
      }
    signal.throwIfAborted(); // the last moment at which leaving keeps nothing
  } catch (error) {
    hold.endAfter(puts.settle());
    const draft = { sizeBytes: came.blockBytes };
    dropDag({ hold, progress, draft }, { error }, deps, { signal });
    throw error;
  }
  const list = unpinned.list();
  const kept = await keepDags(
    list.length === 0 ? received : received.map((dag) => ({ ...dag, hold: leftToAge(hold) })),
    deps,
    { signal },
  );
  if (received.length === 0) hold.close();
  if (!received.some((dag) => dag.progress === progress)) progress.now('done');
  return {
    reply: { ...came, pinned: [...kept.files], unpinned: list },
    isReached: kept.isReached,
  };
}

/** Stores a block; answers its size, or undefined for what can't or needn't be stored. */
async function take(
  { cid, bytes }: CarBlock,
  puts: BlockPuts,
  { mayHold, unpinned }: { readonly mayHold: boolean; readonly unpinned: Unpinned },
): Promise<number | undefined> {
  let named: ReadCid;
  try {
    named = readLink(cid);
  } catch (error) {
    // Nothing is promised for a block that comes without a pin, so one that can't be held is left out.
    if (!mayHold || !(error instanceof CidUnsupported)) throw error;
    unpinned.add(cid.toString(), error.message);
    return undefined;
  }
  if (named.kind === 'identity') return undefined; // it stands in the link to it
  if (!verify(named.cid, bytes)) throw new BlockCorrupt({ cid: named.asGiven, peer: 'the sender' });
  await puts.putNamed([{ cid: named.cid, bytes }]);
  return bytes.length;
}

/** The roots that can be kept, each once. */
function rootsToKeep(
  roots: IncomingBlocks['roots'],
  { name, pin }: ImportWishes,
  unpinned: Unpinned,
): { target: Extract<ReadCid, { kind: 'block' }>; name: string | undefined }[] {
  const distinct = new Map(roots.map((cid) => [cid.toString(), cid]));
  return [...distinct.values()].flatMap((cid) => {
    const asGiven = cid.toString();
    if (!pin) {
      unpinned.add(asGiven, 'not asked for');
      return [];
    }
    try {
      const target = readLink(cid);
      if (target.kind === 'block')
        return [{ target, name: distinct.size === 1 ? name : undefined }];
      unpinned.add(asGiven, 'it holds its bytes itself, so there is nothing to keep');
    } catch (error) {
      if (!(error instanceof CidUnsupported)) throw error;
      unpinned.add(asGiven, error.message);
    }
    return [];
  });
}

/** Without a name in the request what is kept already stays as it is named. */
async function knownName(
  root: Cid,
  deps: Pick<IntakeDeps, 'peers'>,
  signal: AbortSignal,
): Promise<string> {
  const known = await findKnownPin(root, deps, { signal });
  return known?.name ?? root;
}

function createUnpinned(): Unpinned {
  const named: ImportReply['unpinned'] = [];
  let more = 0;
  return {
    add(cid, reason) {
      if (named.length < UNPINNED_NAMED_MAX) named.push({ cid, reason });
      else more += 1;
    },
    list: () => (more === 0 ? named : [...named, { cid: '', reason: `${more} more` }]),
  };
}
