import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { chunkerRoutes, UploadReply } from '@shoal/protocol';
import { type Client, createClient } from '../client.ts';
import type { Command, Context } from '../context.ts';
import { whyText } from '../file-state.ts';
import { CommandFailure, EXIT_FAILURE, UsageError } from '../failure.ts';
import { folderForm } from '../folder-form.ts';
import { formatBytes } from '../format.ts';
import { listFolder } from '../list-folder.ts';
import { openFile, reasonOf, STDIN } from '../open-file.ts';
import { readOptions, readPath } from '../options.ts';
import { readPeerUrl } from '../peer-url.ts';
import { startProgress } from '../progress.ts';
import { readWishes, UPLOAD_OPTIONS, UPLOAD_USAGE, type UploadWishes } from '../upload-options.ts';
import { watchStop } from '../watch-stop.ts';
import { readToken, TOKEN_USAGE } from '../write-token.ts';

export const USAGE = `shoal add <path…> [options]    upload files; prints each one's CID and link
  -r, --recursive    take folders too, each as one directory with all that is in it
  --hidden           with -r: also what begins with a dot
  --peer URL         gateway to upload to (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${UPLOAD_USAGE}
  --name NAME        name for a single file or folder (needed for "-", standard input)
  --json             print the peer's answers, one a line`;

/** What one path is uploaded as. */
interface Order {
  readonly path: string;
  readonly name: string | undefined;
  readonly wishes: UploadWishes;
  readonly isRecursive: boolean;
  readonly withHidden: boolean;
}

/** Uploads files and folders one after the other; one that fails does not stop the rest. */
export const add: Command = async (args, context) => {
  const { values, positionals: paths } = readOptions(args, {
    recursive: { type: 'boolean', short: 'r', default: false },
    hidden: { type: 'boolean', default: false },
    peer: { type: 'string' },
    'token-file': { type: 'string' },
    ...UPLOAD_OPTIONS,
    name: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  if (paths.length === 0) throw new UsageError('which file? give at least one path');
  if (values.name !== undefined && paths.length > 1)
    throw new UsageError('--name is for a single file or folder');
  if (paths.includes(STDIN) && values.name === undefined)
    throw new UsageError('standard input needs a --name');
  if (values.hidden && !values.recursive) throw new UsageError('--hidden goes with -r');
  const wishes = readWishes(values);
  await using client = createClient(
    readPeerUrl(values.peer, context),
    readToken(values['token-file'], context),
  );
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  let exitCode = 0;
  for (const path of paths) {
    try {
      const { recursive: isRecursive, hidden: withHidden, name } = values;
      const order = { path, name, wishes, isRecursive, withHidden };
      const reply = await addOne(client, order, context, stop);
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

async function addOne(
  client: Client,
  order: Order,
  context: Context,
  stop: { signal: AbortSignal },
): Promise<UploadReply> {
  const { path, name, isRecursive } = order;
  if (isRecursive && path !== STDIN && (await isFolder(readPath(path, context))))
    return addFolder(client, order, context, stop);
  await using file = await openFile(path, name, context);
  return await addFile(client, file, order, context, stop); // awaited: the file is open until then
}

async function addFile(
  client: Client,
  { name, sizeBytes, source }: Awaited<ReturnType<typeof openFile>>,
  { wishes }: Order,
  context: Context,
  { signal }: { signal: AbortSignal },
): Promise<UploadReply> {
  using progress = startProgress(context, { title: name, totalBytes: sizeBytes });
  async function* counted() {
    for await (const piece of source) {
      yield piece;
      progress.add(piece.length);
    }
    progress.note('waiting for copies');
  }
  const body = Readable.from(counted(), { objectMode: false });
  const query = { ...wishes, name };
  const type = 'application/octet-stream';
  return await client.upload(
    chunkerRoutes.addFile,
    UploadReply,
    { query, type, body, sizeBytes },
    { signal },
  );
}

async function addFolder(
  client: Client,
  { path, name: given, wishes, withHidden }: Order,
  context: Context,
  { signal }: { signal: AbortSignal },
): Promise<UploadReply> {
  const full = readPath(path, context);
  const name = given ?? basename(full);
  if (name === '') throw new CommandFailure('this folder has no name of its own; give a --name');
  const entries = await listFolder(full, { withHidden });
  const totalBytes = entries.reduce(
    (sum, entry) => sum + (entry.kind === 'file' ? entry.sizeBytes : 0),
    0,
  );
  using progress = startProgress(context, { title: name, totalBytes });
  const form = folderForm(name, entries, { onBytes: (bytes) => progress.add(bytes) });
  async function* noted() {
    yield* form.body;
    progress.note('waiting for copies');
  }
  const body = Readable.from(noted(), { objectMode: false });
  const query = { ...wishes, encoded: 'true' };
  const { addDirectory: route } = chunkerRoutes;
  const type = form.contentType;
  return await client.upload(
    route,
    route.reply,
    { query, type, body, sizeBytes: undefined },
    { signal },
  );
}

async function isFolder(full: string): Promise<boolean> {
  try {
    return (await stat(full)).isDirectory();
  } catch (cause) {
    throw new CommandFailure(reasonOf(cause), { cause });
  }
}

function resultLine({ cid, url }: UploadReply, { peerUrl }: Client): string {
  return `${cid}  ${new URL(url, peerUrl).href}\n`;
}

function describe(reply: UploadReply): string {
  const { name, sizeBytes, copies, replicas, state } = reply;
  const why = whyText(reply, Date.now());
  return `${name}: ${formatBytes(sizeBytes)}, ${copies} of ${replicas} copies (${state})${why === '' ? '' : `: ${why}`}`;
}
