/**
 * A directory on its way in: every file as in `upload`, all in one intake, then the directories above
 * them and one pin. Of each file only its name and CID stay in memory. An upload that dies leaves
 * nothing, however many of its files were whole.
 */
import assert from 'node:assert/strict';
import { type Attributes, buildSymlink } from '@shoal/blocks';
import {
  DirectoryInvalid,
  type DirectoryItem,
  type DirectoryReply,
  FileMissing,
  SYMLINK_TARGET_MAX_BYTES,
} from '@shoal/protocol';
import { createDirectoryTree, type DirectoryTree, type ItemKind } from './directory-tree.ts';
import { type Intake, type IntakeDeps, openIntake } from '../intake/intake.ts';
import { pinAndConfirm, type ReceivedDag } from '../intake/pin-and-confirm.ts';
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

/** The wishes for the whole; each part repeats them. */
export interface DirectoryWishes {
  /** Of the new directory around all paths; if undefined, they must share their first segment. */
  readonly name: string | undefined;
  readonly replicas: number;
  readonly copies: number;
  readonly expiresAtMs: number | undefined;
}

/** The state of one upload. */
interface Directory {
  readonly wishes: DirectoryWishes;
  readonly tree: DirectoryTree;
  readonly intake: Intake;
}

/** A directory that came in, and what there is to say of it beside its pin. */
interface ReceivedDirectory {
  readonly dag: ReceivedDag;
  readonly facts: Pick<DirectoryReply, 'entries' | 'treeSizeBytes' | 'items'>;
}

/**
 * Takes a directory in and waits for its copies. `signal` fires when the sender leaves.
 * @throws DirectoryInvalid, FileMissing, StorageFull, ServiceUnavailable; whatever a body throws.
 */
export async function uploadDirectory(
  entries: AsyncIterable<IncomingEntry>,
  options: { readonly entriesMax: number; readonly withItems: boolean },
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<{ readonly reply: DirectoryReply; readonly isReached: boolean }> {
  const { dag, facts } = await receive(entries, options, deps, { signal });
  const { files, isReached } = await pinAndConfirm([dag], deps, { signal });
  const [file] = files;
  assert(file !== undefined, 'one directory was pinned');
  return { reply: { ...file, ...facts }, isReached };
}

async function receive(
  entries: AsyncIterable<IncomingEntry>,
  { entriesMax, withItems }: { readonly entriesMax: number; readonly withItems: boolean },
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<ReceivedDirectory> {
  const parts = entries[Symbol.asyncIterator]();
  // The form says what it wants before its first file, and no later.
  const first = await parts.next();
  if (first.done === true) throw new FileMissing({});
  const { wishes, path } = first.value;
  const name = wishes.name ?? path.split('/', 1).join();
  const { replicas, copies } = wishes;
  const spread = { replicas, copies: Math.min(copies, replicas) };
  const intake = openIntake(deps, { name, replicas, copiesAtOnce: true, spread }, { signal });
  return intake.fill(async () => {
    const tree = createDirectoryTree({ name: wishes.name, entriesMax });
    const directory = { wishes, tree, intake };
    try {
      for (let entry = first.value, isOver = false; !isOver;) {
        await receiveEntry(entry, directory);
        const next = await parts.next();
        if (next.done === true) isOver = true;
        else entry = next.value;
      }
    } finally {
      await parts.return?.();
    }
    return finish(directory, { withItems });
  });
}

async function receiveEntry(
  { path, kind, attributes, body }: IncomingEntry,
  { tree, intake }: Directory,
): Promise<void> {
  const { puts, received: onBytes } = intake;
  const fill = tree.claim(path, kind, attributes);
  if (kind === 'file') {
    const { root: cid, ...file } = await receiveFile(body(intake), { puts, attributes, onBytes });
    fill({ ...file, cid });
    return;
  }
  const bytes = await readShort(body(intake), kind === 'symlink' ? SYMLINK_TARGET_MAX_BYTES : 0);
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

/** Builds the directories; from here on all blocks are durable, here or at other peers. */
async function finish(
  { wishes, tree, intake }: Directory,
  { withItems }: { readonly withItems: boolean },
): Promise<ReceivedDirectory> {
  const { puts, hold, progress } = intake;
  const items: DirectoryItem[] = [];
  const { cid, entries, treeSizeBytes, sizeBytes, blocks } = await tree.build({
    onNodes: (nodes) => puts.putNamed(nodes),
    onItem: (item) => void (withItems && items.push(item)),
  });
  await puts.finish();
  hold.replication.finish();
  const { name = tree.name, replicas, copies, expiresAtMs } = wishes;
  assert(name !== undefined, 'a tree with a path has a name');
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
  return {
    dag: { draft, copies, isHere: false, spread: puts.copies, hold, progress },
    facts,
  };
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
