import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Client, connectionFailure } from '../client.ts';
import type { Context } from '../context.ts';
import { CommandFailure } from '../failure.ts';
import { formatBytes, plural } from '../format.ts';
import { startProgress } from '../progress.ts';
import { writeTree } from '../write-tree.ts';

/**
 * Downloads a directory as a folder, which appears under its name only when all of it is there.
 * A folder that is there already is never replaced: what is in it might be lost.
 */
export async function getFolder(
  client: Client,
  { cid, path, isJson }: { readonly cid: string; readonly path: string; readonly isJson: boolean },
  context: Context,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  refuseExisting(path);
  const draft = `${path}.part`;
  refuseExisting(draft);
  const body = await client.getCar(cid, { signal });
  try {
    using progress = startProgress(context, { title: basename(path), totalBytes: undefined });
    const onBytes = (bytes: number) => progress.add(bytes);
    const written = await writeTree(body, cid, draft, { onBytes }).catch((cause: unknown) => {
      signal.throwIfAborted();
      if (cause instanceof CommandFailure) throw cause;
      const { syscall, message } = cause as NodeJS.ErrnoException;
      if (['open', 'write', 'mkdir', 'symlink'].includes(syscall ?? ''))
        throw new CommandFailure(`can't write the folder: ${message}`, { cause });
      throw connectionFailure(client.peerUrl, cause);
    });
    refuseExisting(path);
    await rename(draft, path);
    if (isJson) context.out(`${JSON.stringify({ path, cid, ...written })}\n`);
    else if (context.isWatched)
      context.err(
        `${basename(path)}: ${plural(written.files, 'file')}, ${formatBytes(written.sizeBytes)}, every block verified\n`,
      );
  } finally {
    body.on('error', () => {}).destroy();
    await rm(draft, { recursive: true, force: true });
  }
}

function refuseExisting(path: string): void {
  if (existsSync(path))
    throw new CommandFailure(`${path} is there already; move it away, or choose -o`);
}
