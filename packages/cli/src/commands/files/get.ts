import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { callbackify } from 'node:util';
import { discoveryRoutes, fileNameFault, visibleName } from '@shoal/protocol';
import { connectionFailure, type Download } from '../../call/client.ts';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import type { Context } from '../../context.ts';
import {
  draftBeside,
  findTarget,
  openPipe,
  publish,
  type Target,
  targetFault,
} from '../../files/draft.ts';
import { CommandFailure, UsageError } from '../../failure.ts';
import { formatBytes } from '../../terminal/format.ts';
import { readHash, readPath } from '../../options.ts';
import { type Progress, startProgress } from '../../terminal/progress.ts';

const STDOUT = '-';

/** Downloads a file. It appears under its name only when all of it is there and right. */
export const get = askingCommand({
  usage: `shoal get <hash> [options]     download a file by its CID or sha-256, or a directory by its CID
  -o, --output FILE  where to (default: the file's own name; - for standard output)
  -f, --force        replace a file that is there, which keeps its mode, and through a symlink the file
                     that it leads to; a folder is never replaced
  --links-out        take a directory with symlinks that lead out of it, too
  --preserve         give files and folders the modes and times that the directory carries
  --peer URL         gateway to download from (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print what was downloaded as JSON

A file appears under its name only when all of it is there and right; until then it is a draft called
".shoal-….part" beside it. A device or a pipe named by -o is written to.`,
  options: {
    output: { type: 'string', short: 'o' },
    force: { type: 'boolean', short: 'f', default: false },
    'links-out': { type: 'boolean', default: false },
    preserve: { type: 'boolean', default: false },
  },
  takesWords: true,
  async run({ values, words, context, client, stop }) {
    const hash = readHash(words);
    if (values.json && values.output === STDOUT)
      throw new UsageError('--json and the file cannot both go to standard output');

    const isReplaceable = values.force;
    // Asked before the download too, so that nobody waits for a refusal.
    if (values.output !== undefined && values.output !== STDOUT)
      await findTarget(readPath(values.output, context), { isReplaceable });
    const download = await client.getFile(hash, stop);
    if ('location' in download) {
      const isFolder = download.location.endsWith('/');
      if (!isFolder)
        throw new CommandFailure(
          `it is neither a file nor a directory; fetch its blocks with: curl -O "${client.peerUrl}/ipfs/${hash}?format=car"`,
        );
      if (values.output === STDOUT)
        throw new CommandFailure('it is a directory, which cannot go to standard output; give -o');
      const { getFolder } = await import('../../files/get-folder.ts');
      const { name } = await client.call(discoveryRoutes.fileHealth, { params: { hash } }, stop);
      const target = readPath(values.output ?? safeName(name) ?? hash, context);
      const { json: isJson, preserve: isPreserving, 'links-out': withLinksOut } = values;
      const order = { cid: hash, path: target, isJson, isPreserving, withLinksOut };
      await getFolder(client, order, context, stop);
      return 0;
    }
    const options = { peerUrl: client.peerUrl, hash, signal: stop.signal };
    if (values.output === STDOUT) {
      await receive(download, keptOpen(process.stdout), context, options);
      return 0;
    }
    const path = readPath(values.output ?? safeName(download.name) ?? hash, context);
    try {
      const target = await findTarget(path, { isReplaceable });
      const received = await write(target, (to) => receive(download, to, context, options), stop);
      const result = { path, ...received };
      if (values.json) context.out(`${JSON.stringify(result)}\n`);
      else if (context.isWatched)
        context.err(
          `${visibleName(basename(path))}: ${formatBytes(received.sizeBytes)}, sha-256 verified\n`,
        );
    } finally {
      download.body.on('error', () => {}).destroy();
    }
    return 0;
  },
});

/** Writes into a draft that becomes the file, or straight into a device or a pipe. */
async function write(
  target: Target,
  receiveInto: (to: Writable) => Promise<Received>,
  stop: { signal: AbortSignal },
): Promise<Received> {
  if (target.kind === 'pipe') return receiveInto(await openPipe(target.path, stop));
  if (target.kind === 'device') {
    await using handle = await open(target.path, constants.O_WRONLY);
    return await receiveInto(writerOf(handle));
  }
  const draft = draftBeside(target.path);
  const fault = (cause: unknown): never => {
    throw targetFault(cause, { draft, path: target.path });
  };
  const handle = await open(draft, 'wx').catch(fault);
  try {
    try {
      const received = await receiveInto(writerOf(handle));
      if (target.kind === 'file') await handle.chmod(target.mode);
      await handle.sync().catch(writeFault); // a disk that fails says so now, or never
      const { size } = await handle.stat();
      if (size !== received.sizeBytes)
        throw new CommandFailure(`of ${received.sizeBytes} bytes the disk took ${size}`);
      await publish(draft, target).catch(fault);
      return received;
    } finally {
      await handle.close();
    }
  } finally {
    await rm(draft, { force: true });
  }
}

/** A file as a stream that leaves it open. */
function writerOf(handle: FileHandle): Writable {
  const write = callbackify((piece: Uint8Array) => handle.writeFile(piece)); // appends
  return new Writable({ write: (piece: Uint8Array, _encoding, done) => write(piece, done) });
}

function writeFault(cause: unknown): never {
  throw new CommandFailure(`can't write the file: ${(cause as Error).message}`, { cause });
}

interface Received {
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** @throws CommandFailure when the bytes are too few, too many, or not those that were promised. */
async function receive(
  download: Download,
  target: Writable,
  context: Context,
  { peerUrl, hash, signal }: { peerUrl: string; hash: string; signal: AbortSignal },
): Promise<Received> {
  const title =
    (download.name === undefined ? undefined : visibleName(download.name)) ??
    `${hash.slice(0, 16)}…`;
  using progress = startProgress(context, { title, totalBytes: download.sizeBytes });
  const digest = createHash('sha256');
  let sizeBytes = 0;
  try {
    await pipeline(
      download.body,
      (source: AsyncIterable<Uint8Array>) =>
        counted(source, progress, (piece) => {
          digest.update(piece);
          sizeBytes += piece.length;
        }),
      target,
      { signal },
    );
  } catch (cause) {
    signal.throwIfAborted();
    const { syscall, message } = cause as NodeJS.ErrnoException;
    if (syscall === 'open' || syscall === 'write')
      throw new CommandFailure(`can't write the file: ${message}`, { cause });
    throw incomplete(connectionFailure(peerUrl, cause).message, sizeBytes, download.sizeBytes);
  }
  if (download.sizeBytes !== undefined && sizeBytes !== download.sizeBytes)
    throw incomplete('the body was too short', sizeBytes, download.sizeBytes);
  const sha256 = digest.digest('hex');
  const expected = /^[0-9a-f]{64}$/i.test(hash) ? hash.toLowerCase() : download.sha256;
  if (expected !== undefined && sha256 !== expected)
    throw new CommandFailure(
      `${peerUrl} sent bytes with sha-256 ${sha256}, not ${expected}; nothing was kept, try another peer`,
    );
  return { sizeBytes, sha256 };
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  progress: Progress,
  count: (piece: Uint8Array) => void,
) {
  for await (const piece of source) {
    count(piece);
    progress.add(piece.length);
    yield piece;
  }
}

function incomplete(reason: string, sizeBytes: number, totalBytes: number | undefined): Error {
  const of = totalBytes === undefined ? '' : ` of ${totalBytes}`;
  return new CommandFailure(`only ${sizeBytes}${of} bytes came: ${reason}; nothing was kept`);
}

/** A name from the network is used only when it is one plain name. */
function safeName(name: string | undefined): string | undefined {
  return name !== undefined && fileNameFault(name) === undefined ? name : undefined;
}

/** Standard output as a stream that may be finished without closing the process's own. */
function keptOpen(stream: NodeJS.WriteStream): Writable {
  return new Writable({
    write: (piece, encoding, done) => void stream.write(piece, encoding, done),
  });
}
