import { lstat, rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { visibleName } from '@shoal/protocol';
import { type Client, connectionFailure } from '../call/client.ts';
import type { Context } from '../context.ts';
import { draftBeside, targetFault } from './draft.ts';
import { CommandFailure } from '../failure.ts';
import { formatBytes, plural } from '../terminal/format.ts';
import { startProgress } from '../terminal/progress.ts';
import { writeTree } from './write-tree.ts';

/**
 * Downloads a directory as a folder, which appears under its name only when all of it is there.
 * A folder that is there already is never replaced: what is in it might be lost.
 */
export async function getFolder(
  client: Client,
  {
    cid,
    path,
    isJson,
    isPreserving,
    withLinksOut,
  }: {
    readonly cid: string;
    readonly path: string;
    readonly isJson: boolean;
    /** Whether modes and times that the directory carries are set. */
    readonly isPreserving: boolean;
    /** Whether symlinks may lead out of the folder. */
    readonly withLinksOut: boolean;
  },
  context: Context,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  await refuseExisting(path);
  const draft = draftBeside(path);
  const body = await client.getCar(cid, { signal });
  try {
    using progress = startProgress(context, { title: basename(path), totalBytes: undefined });
    const onBytes = (bytes: number) => progress.add(bytes);
    const options = { onBytes, isPreserving, withLinksOut };
    const written = await writeTree(body, cid, draft, options).catch((cause: unknown) => {
      signal.throwIfAborted();
      if (cause instanceof CommandFailure) throw cause;
      const { syscall, message } = cause as NodeJS.ErrnoException;
      if (['open', 'write', 'mkdir', 'symlink', 'chmod', 'lutime', 'fsync'].includes(syscall ?? ''))
        throw new CommandFailure(
          `can't write the folder: ${message.replaceAll(draft, visibleName(path))}`,
          { cause },
        );
      throw connectionFailure(client.peerUrl, cause);
    });
    await refuseExisting(path);
    await rename(draft, path).catch((cause: unknown) => {
      const { code = '' } = cause as NodeJS.ErrnoException;
      throw ['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(code)
        ? existing(path)
        : targetFault(cause, { draft, path });
    });
    if (isJson) context.out(`${JSON.stringify({ path, cid, ...written })}\n`);
    else if (context.isWatched)
      context.err(
        `${visibleName(basename(path))}: ${plural(written.files, 'file')}, ${formatBytes(written.sizeBytes)}, every block verified\n`,
      );
  } finally {
    body.on('error', () => {}).destroy();
    await rm(draft, { recursive: true, force: true });
  }
}

async function refuseExisting(path: string): Promise<void> {
  const isThere = await lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return false;
    },
  );
  if (isThere) throw existing(path);
}

function existing(path: string): CommandFailure {
  return new CommandFailure(
    `${visibleName(path)} is there already; move it away, or choose another -o`,
  );
}
