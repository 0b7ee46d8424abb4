import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import type { Attributes } from '@shoal/blocks';
import {
  chunkerRoutes,
  fileNameFault,
  PATH_SEGMENTS_MAX,
  UploadReply,
  visibleName,
} from '@shoal/protocol';
import type { Client } from '../../call/client.ts';
import { askingCommand } from '../../call/asking-command.ts';
import type { Context } from '../../context.ts';
import { sayShortage, whyText } from '../../files/file-state.ts';
import { CommandFailure, EXIT_FAILURE, UsageError } from '../../failure.ts';
import { attributesQuery, folderForm } from '../../files/folder-form.ts';
import { formatBytes } from '../../terminal/format.ts';
import { type Hidden, type LeftOut, listFolder } from '../../files/list-folder.ts';
import { openFile, reasonOf, STDIN } from '../../files/open-file.ts';
import { readPath } from '../../options.ts';
import { startProgress } from '../../terminal/progress.ts';
import {
  readWishes,
  UPLOAD_OPTIONS,
  UPLOAD_USAGE,
  type UploadWishes,
} from '../../files/upload-options.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** How one path is uploaded. */
interface Order {
  readonly path: string;
  readonly name: string | undefined;
  readonly wishes: UploadWishes;
  readonly isRecursive: boolean;
  readonly hidden: Hidden;
  readonly isPreserving: boolean;
}

/** Uploads files and folders one after the other; one that fails does not stop the rest. */
export const add = askingCommand({
  usage: `shoal add <path…> [options]    upload files; prints each one's CID and link
  -r, --recursive    take folders too, each as one directory with all that is in it
  --hidden           with -r: also what begins with a dot
  --no-hidden        with -r: not what begins with a dot, and without a word about it
  --preserve         keep modes and times of last change too (UnixFS 1.5); the CID is then another
                     one than that of the same bytes without
  --peer URL         gateway to upload to (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${UPLOAD_USAGE}
  --name NAME        name for a single file or folder (needed for "-", standard input)
  --json             print the peer's answers, one a line

Of a folder, what can't be kept (a name that is not UTF-8, a device, a pipe, a file that may not be
read, what is deeper than ${PATH_SEGMENTS_MAX} folders, what is hidden) is left out and listed, the rest is uploaded,
and the exit code is 1. So it is when a file changes while it is sent. A pipe named by itself is sent
to its end, as in "shoal add <(command) --name NAME"; devices and sockets are refused. Behind "--"
every word is a path.`,
  options: {
    recursive: { type: 'boolean', short: 'r', default: false },
    hidden: { type: 'boolean', default: false },
    'no-hidden': { type: 'boolean', default: false },
    preserve: { type: 'boolean', default: false },
    ...UPLOAD_OPTIONS,
    name: { type: 'string' },
  },
  takesWords: true,
  async run({ values, words, context, client, stop, print }) {
    const paths = words;
    if (paths.length === 0) throw new UsageError('which file? give at least one path');
    if (values.name !== undefined && paths.length > 1)
      throw new UsageError('--name is for a single file or folder');
    if (paths.includes(STDIN) && values.name === undefined)
      throw new UsageError('standard input needs a --name');
    if ((values.hidden || values['no-hidden']) && !values.recursive)
      throw new UsageError('--hidden and --no-hidden go with -r');
    if (values.hidden && values['no-hidden'])
      throw new UsageError('--hidden and --no-hidden cannot both be meant');
    const hidden = values.hidden ? 'take' : values['no-hidden'] ? 'pass-over' : 'list';
    if (values.preserve)
      context.err(
        'shoal: --preserve: modes and times are kept, so the CIDs are other ones than without\n',
      );
    const wishes = readWishes(values);
    let exitCode = 0;
    for (const path of paths) {
      try {
        const { recursive: isRecursive, preserve: isPreserving, name } = values;
        const order = { path, name, wishes, isRecursive, hidden, isPreserving } as const;
        const { reply, faults } = await addOne(client, order, context, stop);
        print(reply, resultLine(reply, client));
        for (const fault of faults) context.err(`shoal: ${fault}\n`);
        if (faults.length > 0) exitCode = EXIT_FAILURE;
        if (context.isWatched) context.err(`${describe(reply)}\n`);
        if (wishes.replicas !== undefined && !values.json) sayShortage(reply, context);
      } catch (error) {
        stop.signal.throwIfAborted();
        if (!(error instanceof CommandFailure)) throw error;
        context.err(`shoal: ${visibleName(path)}: ${error.message}\n`);
        exitCode = EXIT_FAILURE;
      }
    }
    return exitCode;
  },
});

/** An upload that was kept, and what is not as it should be, each in a sentence. */
interface Added {
  readonly reply: UploadReply;
  readonly faults: readonly string[];
}

async function addOne(
  client: Client,
  order: Order,
  context: Context,
  stop: { signal: AbortSignal },
): Promise<Added> {
  const { path, name, isRecursive } = order;
  if (isRecursive && path !== STDIN && (await isFolder(readPath(path, context))))
    return addFolder(client, order, context, stop);
  await using file = await openFile(path, name, context);
  const reply = await addFile(client, file, order, context, stop);
  const isChanged = await file.hasChanged();
  return {
    reply,
    faults: isChanged
      ? [
          `${visibleName(path)} changed while it was sent: what was kept may be neither its old nor its new bytes`,
        ]
      : [],
  };
}

async function addFile(
  client: Client,
  { name, sizeBytes, source, attributes }: Awaited<ReturnType<typeof openFile>>,
  { wishes, isPreserving }: Order,
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
  const query = { ...wishes, name, ...(isPreserving ? queryOf(attributes) : {}) };
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
  { path, name: given, wishes, hidden, isPreserving }: Order,
  context: Context,
  { signal }: { signal: AbortSignal },
): Promise<Added> {
  const full = readPath(path, context);
  const name = given ?? basename(full);
  if (name === '') throw new CommandFailure('this folder has no name of its own; give a --name');
  const nameFault = fileNameFault(name);
  if (nameFault !== undefined)
    throw new CommandFailure(`a folder can't have this name, since ${nameFault}; give it a --name`);
  const { entries, leftOut, attributes } = await listFolder(full, {
    hidden,
    withAttributes: isPreserving,
    nameBytes: Buffer.byteLength(name) + 1,
  }).catch((cause: unknown) => {
    throw new CommandFailure(reasonOf(cause), { cause });
  });
  const faults: string[] = [];
  const leave = ({ path: below, reason }: LeftOut) =>
    void faults.push(`${visibleName(`${path}/${below}`)} was left out: ${visibleName(reason)}`);
  leftOut.forEach(leave);
  const totalBytes = entries.reduce(
    (sum, entry) => sum + (entry.kind === 'file' ? entry.sizeBytes : 0),
    0,
  );
  using progress = startProgress(context, { title: name, totalBytes });
  const form = folderForm({ name, attributes }, entries, {
    onBytes: (bytes) => progress.add(bytes),
    onLeftOut: leave,
    onChanged: (below) =>
      void faults.push(
        `${visibleName(`${path}/${below}`)} changed while it was sent: what was kept may be neither its old nor its new bytes`,
      ),
  });
  async function* noted() {
    yield* form.body;
    progress.note('waiting for copies');
  }
  const body = Readable.from(noted(), { objectMode: false });
  const query = { ...wishes, encoded: 'true' };
  const { addDirectory: route } = chunkerRoutes;
  const type = form.contentType;
  const reply = await client.upload(
    route,
    route.reply,
    { query, type, body, sizeBytes: undefined },
    { signal },
  );
  return { reply, faults };
}

function queryOf(attributes: Attributes | undefined): Record<string, unknown> {
  return Object.fromEntries(new URLSearchParams(attributesQuery(attributes)));
}

async function isFolder(full: string): Promise<boolean> {
  try {
    return (await stat(full)).isDirectory();
  } catch (cause) {
    throw new CommandFailure(reasonOf(cause), { cause });
  }
}

function resultLine({ cid, url }: UploadReply, client: Pick<Client, 'urlOf'>): string {
  return `${cid}  ${client.urlOf(url)}\n`;
}

function describe(reply: UploadReply): string {
  const { name, sizeBytes, copies, replicas, state } = reply;
  const why = whyText(reply, Date.now());
  return `${name}: ${formatBytes(sizeBytes)}, ${copies} of ${replicas} copies (${state})${why === '' ? '' : `: ${why}`}`;
}
