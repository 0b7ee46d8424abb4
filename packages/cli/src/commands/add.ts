import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { REPLICAS_MAX, type UploadReply } from '@shoal/protocol';
import { type Client, createClient } from '../client.ts';
import type { Command, Context } from '../context.ts';
import { CommandFailure, EXIT_FAILURE, UsageError } from '../failure.ts';
import { formatBytes } from '../format.ts';
import { readNumber, readOptions, readPath } from '../options.ts';
import { readPeerUrl } from '../peer-url.ts';
import { readExpiry } from '../read-expiry.ts';
import { type Progress, startProgress } from '../progress.ts';
import { watchStop } from '../watch-stop.ts';

const READ_SIZE_BYTES = 256 * 1024;
const STDIN = '-';

export const USAGE = `shoal add <path…> [options]    upload files; prints each one's CID and link
  --peer URL         gateway to upload to (default: SHOAL_PEER, or http://127.0.0.1:7100)
  --replicas N       copies to keep
  --copies N         copies to wait for
  --expires WHEN     when it ends by itself: a date, or a time from now such as 7d (default: never)
  --name NAME        name for a single file (needed for "-", standard input)
  --json             print the peer's answers, one a line`;

/** Uploads files one after the other; one that fails does not stop the rest. */
export const add: Command = async (args, context) => {
  const { values, positionals: paths } = readOptions(args, {
    peer: { type: 'string' },
    replicas: { type: 'string' },
    copies: { type: 'string' },
    expires: { type: 'string' },
    name: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  if (paths.length === 0) throw new UsageError('which file? give at least one path');
  if (values.name !== undefined && paths.length > 1)
    throw new UsageError('--name is for a single file');
  if (paths.includes(STDIN) && values.name === undefined)
    throw new UsageError('standard input needs a --name');
  const wishes = {
    replicas: readCount(values.replicas, { name: '--replicas', min: 1 }),
    copies: readCount(values.copies, { name: '--copies', min: 0 }),
    expiresAt: readExpiry(values.expires, Date.now()) ?? undefined,
  };
  await using client = createClient(readPeerUrl(values.peer, context));
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  let exitCode = 0;
  for (const path of paths) {
    try {
      await using file = await openFile(path, values.name, context);
      const reply = await upload(client, { ...file, ...wishes }, context, stop);
      context.out(values.json ? `${JSON.stringify(reply)}\n` : resultLine(reply, client));
      if (context.isWatched) context.err(`${describe(reply)}\n`);
    } catch (error) {
      stop.signal.throwIfAborted();
      if (!(error instanceof CommandFailure)) throw error;
      context.err(`shoal: ${path}: ${error.message}\n`);
      exitCode = EXIT_FAILURE;
    }
  }
  return exitCode;
};

interface OpenFile {
  readonly name: string;
  readonly sizeBytes: number | undefined;
  readonly source: AsyncIterable<Uint8Array>;
}

async function upload(
  client: Client,
  file: OpenFile & Pick<Parameters<Client['addFile']>[0], 'replicas' | 'copies' | 'expiresAt'>,
  context: Context,
  options: { signal: AbortSignal },
): Promise<UploadReply> {
  const { name, sizeBytes, source } = file;
  using progress = startProgress(context, { title: name, totalBytes: sizeBytes });
  const body = Readable.from(counted(source, progress), { objectMode: false });
  return client.addFile({ ...file, body }, options);
}

async function* counted(source: AsyncIterable<Uint8Array>, progress: Progress) {
  for await (const piece of source) {
    yield piece;
    progress.add(piece.length);
  }
  progress.note('waiting for copies');
}

async function openFile(
  path: string,
  givenName: string | undefined,
  context: Context,
): Promise<OpenFile & AsyncDisposable> {
  if (path === STDIN && givenName !== undefined)
    return {
      name: givenName,
      sizeBytes: undefined,
      source: process.stdin,
      [Symbol.asyncDispose]: async () => {},
    };
  const full = readPath(path, context);
  const name = givenName ?? basename(full);
  try {
    const status = await stat(full);
    if (status.isDirectory())
      throw new CommandFailure('it is a folder; name the files in it, for example with *');
    const handle = await open(full);
    // A pipe or a device has no size: it is read to its end.
    const sizeBytes = status.isFile() ? status.size : undefined;
    const end = sizeBytes === undefined ? {} : { end: sizeBytes - 1 };
    const source =
      sizeBytes === 0
        ? Readable.from([])
        : handle.createReadStream({ highWaterMark: READ_SIZE_BYTES, autoClose: false, ...end });
    return { name, sizeBytes, source, [Symbol.asyncDispose]: () => handle.close() };
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : new CommandFailure(reasonOf(cause), { cause });
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  return code === 'EACCES' ? 'it may not be read' : message;
}

function readCount(
  text: string | undefined,
  { name, min }: { name: string; min: number },
): number | undefined {
  return text === undefined ? undefined : readNumber(text, { name, min, max: REPLICAS_MAX });
}

function resultLine({ cid, url }: UploadReply, { peerUrl }: Client): string {
  return `${cid}  ${new URL(url, peerUrl).href}\n`;
}

function describe({ name, sizeBytes, copies, replicas, state }: UploadReply): string {
  return `${name}: ${formatBytes(sizeBytes)}, ${copies} of ${replicas} copies (${state})`;
}
