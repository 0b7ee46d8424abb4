/**
 * A directory on its way in: every file as in `upload`, all under one hold, then the directories above
 * them and one pin. Of each file only its name and CID stay in memory. An upload that dies leaves
 * nothing, however many of its files were whole.
 */
import { type Attributes, buildSymlink } from '@shoal/blocks';
import {
  DirectoryInvalid,
  type DirectoryItem,
  type DirectoryReply,
  FileMissing,
  SYMLINK_TARGET_MAX_BYTES,
} from '@shoal/protocol';
import { createDirectoryTree, type DirectoryTree, type ItemKind } from './directory-tree.ts';
import { type Hold, type IntakeDeps, openHold } from '../intake/intake.ts';
import { dropDag, keepDags, type ReceivedDag } from '../intake/keep-dags.ts';
import type { Progress } from '../intake/progress.ts';
import { type BlockPuts, createBlockPuts } from '../intake/put-blocks.ts';
import { receiveFile } from '../intake/receive-file.ts';

/** One part of a form. */
export interface IncomingEntry {
  readonly path: string;
  readonly kind: ItemKind;
  readonly attributes?: Attributes | undefined;
  readonly wishes: DirectoryWishes;
  /** A file's bytes, a symlink's target, of a directory nothing; to be read before the next part. */
  readonly body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
}

/** What is asked for the whole; each part says the same. */
export interface DirectoryWishes {
  /** Of the new directory around all paths; without, they must share their first segment. */
  readonly name: string | undefined;
  readonly replicas: number;
  readonly copies: number;
  readonly expiresAtMs: number | undefined;
}

/** What one upload has under way. */
interface Intake {
  readonly wishes: DirectoryWishes;
  readonly tree: DirectoryTree;
  readonly hold: Hold;
  readonly puts: BlockPuts;
  readonly progress: Progress;
  receivedBytes: number;
}

/**
 * Takes a directory in and waits for its copies. `signal` fires when the sender leaves.
 * @throws DirectoryInvalid, FileMissing, StorageFull, ServiceUnavailable; whatever a body throws.
 */
export async function uploadDirectory(
  entries: AsyncIterable<IncomingEntry>,
  { entriesMax, withItems }: { readonly entriesMax: number; readonly withItems: boolean },
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<{ readonly reply: DirectoryReply; readonly isReached: boolean }> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  let intake: Intake | undefined;
  let received: ReceivedDag;
  let facts: Pick<DirectoryReply, 'entries' | 'treeSizeBytes' | 'items'>;
  try {
    for await (const entry of entries) {
      // The form says what it wants before its first file, and no later.
      intake ??= openIntake(entry, entriesMax, deps, {
        signal: either,
        onFailure: (error) => failed.abort(error),
      });
      await receiveEntry(entry, intake, { signal: either });
    }
    if (intake === undefined) throw new FileMissing({});
    ({ received, facts } = await finish(intake, { withItems }));
    signal.throwIfAborted(); // the last moment at which leaving keeps nothing
  } catch (error) {
    if (intake !== undefined) {
      const { hold, puts, progress, receivedBytes: sizeBytes } = intake;
      hold.endAfter(puts.settle());
      dropDag({ hold, progress, draft: { sizeBytes } }, { error }, deps, { signal });
    }
    throw error;
  }
  const { files, isReached } = await keepDags([received], deps, { signal });
  const [file] = files;
  if (file === undefined) throw new Error('one directory was kept');
  return { reply: { ...file, ...facts }, isReached };
}

function openIntake(
  { wishes, path }: IncomingEntry,
  entriesMax: number,
  deps: IntakeDeps,
  { signal, onFailure }: { signal: AbortSignal; onFailure: (error: unknown) => void },
): Intake {
  const hold = openHold(deps, wishes);
  const { name } = wishes;
  return {
    wishes,
    hold,
    tree: createDirectoryTree({ name, entriesMax }),
    puts: createBlockPuts(
      { ...deps, onLeaf: (cid) => hold.replication.add(cid), onFailure },
      hold.lease,
      { signal, stopping: deps.stopping },
    ),
    progress: deps.progressEvents.open(name ?? path.split('/', 1).join()),
    receivedBytes: 0,
  };
}

async function receiveEntry(
  { path, kind, attributes, body }: IncomingEntry,
  intake: Intake,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { tree, puts, progress } = intake;
  const fill = tree.claim(path, kind, attributes);
  if (kind === 'file') {
    const { root: cid, ...file } = await receiveFile(body({ signal }), {
      puts,
      attributes,
      onBytes(bytes) {
        intake.receivedBytes += bytes;
        progress.received(bytes);
      },
    });
    fill({ ...file, cid });
    return;
  }
  const bytes = await readShort(
    body({ signal }),
    kind === 'symlink' ? SYMLINK_TARGET_MAX_BYTES : 0,
  );
  if (bytes === undefined)
    throw new DirectoryInvalid({
      path,
      reason: kind === 'symlink' ? 'its target is too long' : 'a folder has no bytes of its own',
    });
  if (kind === 'directory') return;
  if (bytes.length === 0 || bytes.includes(0))
    throw new DirectoryInvalid({ path, reason: 'its target is not a path' });
  const node = buildSymlink(bytes, attributes);
  await puts.putNamed([node]);
  fill({ cid: node.cid, sizeBytes: 0, treeSizeBytes: node.bytes.length, blocks: 1 });
}

/** Builds the directories; from here on all blocks are durable. */
async function finish(
  { wishes, tree, hold, puts, progress }: Intake,
  { withItems }: { readonly withItems: boolean },
): Promise<{
  received: ReceivedDag;
  facts: Pick<DirectoryReply, 'entries' | 'treeSizeBytes' | 'items'>;
}> {
  const items: DirectoryItem[] = [];
  const { cid, entries, treeSizeBytes, sizeBytes, blocks } = await tree.build({
    onNodes: (nodes) => puts.putNamed(nodes),
    onItem: (item) => void (withItems && items.push(item)),
  });
  await puts.finish();
  hold.replication.finish();
  const { name = tree.name, replicas, copies, expiresAtMs } = wishes;
  if (name === undefined) throw new Error('a tree with a path has a name');
  const draft = {
    root: cid,
    kind: 'directory' as const,
    name,
    sizeBytes,
    blocks,
    replicas,
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
  };
  const sorted = items.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const facts = { entries, treeSizeBytes, ...(withItems ? { items: sorted } : {}) };
  return { received: { draft, copies, isHere: true, hold, progress }, facts };
}

/** The bytes of a short body; undefined when it is longer. */
async function readShort(
  body: AsyncIterable<Uint8Array>,
  sizeMaxBytes: number,
): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of body) {
    sizeBytes += piece.length;
    if (sizeBytes > sizeMaxBytes) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
