/**
 * Blocks as given: a CAR, or one block, stored under the names that they came with, then the DAGs of
 * their roots pinned. Holds a few blocks in memory, however long the CAR.
 *
 * A CAR that breaks off keeps nothing. A root that is not whole is not an error: its blocks stay under
 * their lease until storage ages that out, so that another CAR may bring the rest.
 */
import { type CarBlock, type ReadCid, readLink, verify } from '@shoal/blocks';
import { BlockCorrupt, type Cid, CidUnsupported, type ImportReply, Problem } from '@shoal/protocol';
import { createElsewhere } from './elsewhere.ts';
import { gatherDag } from './gather-dag.ts';
import { findKnownPin } from './known-pin.ts';
import { type Intake, type IntakeDeps, openIntake } from '../intake/intake.ts';
import { pinAndConfirm, type ReceivedDag } from '../intake/pin-and-confirm.ts';
import type { BlockPuts } from '../intake/put-blocks.ts';

/** Blocks and roots that are named with a reason; of more there is a count. */
const UNPINNED_NAMED_MAX = 100;

export interface IncomingBlocks {
  readonly roots: readonly CarBlock['cid'][];
  readonly blocks: AsyncIterable<CarBlock>;
}

export interface ImportWishes {
  /** Of the root, when there is one. By default the name that it is pinned under already, or its CID. */
  readonly name: string | undefined;
  readonly pin: boolean;
  readonly replicas: number;
  readonly copies: number;
  readonly expiresAtMs: number | undefined;
}

export interface ImportDeps extends IntakeDeps {
  /** Entries that a DAG may unfold to. */
  readonly entriesMax: number;
}

interface Root {
  readonly target: Extract<ReadCid, { kind: 'block' }>;
  readonly name: string | undefined;
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
  deps: ImportDeps,
  { signal }: { signal: AbortSignal },
): Promise<{ readonly reply: ImportReply; readonly isReached: boolean }> {
  const name = wishes.name ?? 'blocks';
  const intake = openIntake(
    deps,
    { name, replicas: wishes.replicas, copiesAtOnce: false },
    { signal },
  );
  const { hold, puts, progress } = intake;
  const came = { blocks: 0, blockBytes: 0 };
  const unpinned = createUnpinned();
  const received = await intake.fill(async () => {
    const { roots, blocks } = await open(intake);
    for await (const block of blocks) {
      const sizeBytes = await store(block, puts, { mayHold: !wishes.pin, unpinned });
      if (sizeBytes === undefined) continue;
      came.blocks += 1;
      came.blockBytes += sizeBytes;
      intake.received(sizeBytes);
    }
    await puts.finish();
    return gatherRoots(rootsToPin(roots, wishes, unpinned), wishes, unpinned, { ...deps, intake });
  });
  const list = unpinned.list();
  if (received.length === 0 || list.length > 0) hold.leaveToAge();
  const { files, isReached } = await pinAndConfirm(received, deps, { signal });
  if (received.length === 0) hold.close();
  if (!received.some((dag) => dag.progress === progress)) progress.now('done');
  return { reply: { ...came, pinned: [...files], unpinned: list }, isReached };
}

/** The DAGs of those roots that can be pinned; the others are noted with their reason. */
async function gatherRoots(
  roots: readonly Root[],
  { replicas, copies, expiresAtMs }: ImportWishes,
  unpinned: Unpinned,
  { intake, ...deps }: ImportDeps & { readonly intake: Intake },
): Promise<ReceivedDag[]> {
  const { hold, signal } = intake;
  const elsewhere = createElsewhere({ ...deps, gateways: [] });
  const received: ReceivedDag[] = [];
  for (const { target, name } of roots)
    try {
      const { sha256, ...dag } = await gatherDag(
        target.cid,
        { ...deps, ...intake, elsewhere },
        intake,
      );
      const known = name ?? (await knownName(target.cid, deps, intake));
      const draft = {
        ...dag,
        name: known,
        replicas,
        ...(sha256 === undefined ? {} : { sha256 }),
        ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      };
      const progress = roots.length === 1 ? intake.progress : deps.progressEvents.open(known);
      received.push({ draft, copies, isHere: true, hold, progress });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Problem) || error.status >= 500) throw error;
      unpinned.add(target.asGiven, error.message);
    }
  return received;
}

/** Stores a block; answers its size, or undefined for what can't or needn't be stored. */
async function store(
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
  if (named.kind === 'identity') return undefined; // its bytes are in the link to it
  if (!verify(named.cid, bytes)) throw new BlockCorrupt({ cid: named.asGiven, peer: 'the sender' });
  await puts.putNamed([{ cid: named.cid, bytes }]);
  return bytes.length;
}

/** The roots that can be pinned, each once. */
function rootsToPin(
  roots: IncomingBlocks['roots'],
  { name, pin }: ImportWishes,
  unpinned: Unpinned,
): Root[] {
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

/** If the request gives no name, a DAG that is pinned already keeps its own. */
async function knownName(
  root: Cid,
  deps: Pick<IntakeDeps, 'client'>,
  { signal }: { signal: AbortSignal },
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
