/**
 * `add`: the files and directories of a form, uploaded one after the other while the form comes in.
 *
 * A part without a slash in its name is a file by itself. Parts that share their first name are one
 * directory, and go on as one form, since a directory is complete only with its last entry; so their
 * lines come after it. With `wrap-with-directory` the whole form is one directory.
 */
import { randomUUID } from 'node:crypto';
import { DirectoryReply, MiB, routePath, UploadReply } from '@shoal/protocol';
import { readParts, type RpcCall, type RpcCommand } from './rpc/call.ts';
import { ALWAYS, holdTo, holdToSpelling, NEVER, type Rules, UNKNOWN } from './rpc/options.ts';
import { openOutput, type Output } from './rpc/output.ts';
import type { FormPart } from './rpc/read-form.ts';
import { misused } from './rpc/rpc-error.ts';
import { treeSizeOf } from './tree-size.ts';

/** What a file is called in the swarm when its sender gave no name. */
const UNNAMED = 'unnamed';
const DIRECTORY_TYPE = 'application/x-directory';
const SYMLINK_TYPE = 'application/symlink';
/** Bytes between two lines of progress. */
const PROGRESS_BYTES = MiB;

/**
 * Options that would give another CID than the one they ask for; unset, they ask for nothing. Kubo's
 * command line names the mode and time of every file in its part, wanted or not: only these ask for them.
 */
const RULES: Rules = {
  'cid-version': /^1$/,
  'raw-leaves': ALWAYS,
  chunker: /^size-1048576$/,
  hash: /^sha2-256$/,
  'max-file-links': /^1024$/,
  'max-hamt-fanout': /^256$/,
  'max-directory-links': /^0$/,
  'empty-dirs': ALWAYS,
  trickle: NEVER,
  inline: NEVER,
  'preserve-mode': NEVER,
  'preserve-mtime': NEVER,
  mode: UNKNOWN,
  mtime: UNKNOWN,
  'mtime-nsecs': UNKNOWN,
};
const PROFILE =
  'files are built by the profile unixfs-v1-2025 (cid-version=1, raw-leaves, chunker=size-1048576, max-file-links=1024), without mode and mtime';
/** Options that ask for something else to be done with it. */
const MANNERS: Rules = {
  'only-hash': NEVER,
  nocopy: NEVER,
  pin: ALWAYS,
  'pin-name': UNKNOWN,
  'to-files': UNKNOWN,
};
const KEPT = 'what is added is stored, and pinned under its own name; pin/rm ends that';

export const add: RpcCommand = async (call) => {
  const { options, reply, signal } = call;
  holdTo(RULES, options, PROFILE);
  holdTo(MANNERS, options, KEPT);
  holdToSpelling(options);
  const output = openOutput(reply, { kind: 'values', type: 'application/json' }, { signal });
  const isSilent = options.flag('silent', false);
  const isWrapped = options.flag('wrap-with-directory', false);
  const onBytes = options.flag('progress', false) && !isSilent ? progressTo(output) : undefined;
  const parts = openParts(call, onBytes);
  if ((await parts.peek()) === undefined)
    throw misused('argument "path" is required: a file in the form');
  for (let next = await parts.peek(); next !== undefined; next = await parts.peek()) {
    const lines =
      isWrapped || !isPlainFile(next)
        ? await addDirectory(call, parts, { isWrapped })
        : [await addFile(call, next, parts)];
    if (!isSilent) for (const line of lines) await output.line(line);
  }
  output.end();
};

/** One line of the answer; sizes are texts. */
interface Line {
  readonly Name: string;
  readonly Hash: string;
  readonly Size: string;
}

async function addFile(
  { upstream, signal }: RpcCall,
  { path }: AddedPart,
  parts: Parts,
): Promise<Line> {
  const { body } = parts.take();
  const added = await upstream.json(
    'chunker',
    {
      method: 'POST',
      path: routePath('/files', {}, { name: path || UNNAMED }),
      headers: { 'content-type': 'application/octet-stream' },
      body,
      reply: UploadReply,
    },
    { signal },
  );
  const { cid, sizeBytes } = added;
  return { Name: path || cid, Hash: cid, Size: String(await treeSizeOf(sizeBytes)) };
}

async function addDirectory(
  { upstream, signal }: RpcCall,
  parts: Parts,
  { isWrapped }: { readonly isWrapped: boolean },
): Promise<Line[]> {
  const first = await parts.peek();
  const root = first?.names[0] || UNNAMED;
  const boundary = `shoal-${randomUUID()}`;
  const added = await upstream.json(
    'chunker',
    {
      method: 'POST',
      path: routePath(
        '/directories',
        {},
        {
          encoded: true,
          items: true,
          ...(isWrapped ? { name: root } : {}),
        },
      ),
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: formOf(parts, boundary, (part) => isWrapped || part.names[0] === root),
      reply: DirectoryReply,
    },
    { signal },
  );
  const base = isWrapped ? '' : root;
  const items = added.items ?? [];
  // Directories after what is in them, as Kubo has it; the root is the last line.
  const inOrder = [
    ...items.filter(({ kind }) => kind !== 'directory'),
    ...items.filter(({ kind }) => kind === 'directory').toReversed(),
  ];
  return [
    ...inOrder.map(({ path, cid, treeSizeBytes }) => ({
      Name: isWrapped ? path : `${base}/${path}`,
      Hash: cid,
      Size: String(treeSizeBytes),
    })),
    { Name: base, Hash: added.cid, Size: String(added.treeSizeBytes) },
  ];
}

/** The parts that belong to one directory as a form again, one after the other as they come. */
async function* formOf(
  parts: Parts,
  boundary: string,
  belongs: (part: AddedPart) => boolean,
): AsyncGenerator<Uint8Array, void> {
  for (
    let next = await parts.peek();
    next !== undefined && belongs(next);
    next = await parts.peek()
  ) {
    const { path, contentType, body } = parts.take();
    yield Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${encodeURIComponent(path)}"\r\nContent-Type: ${contentType || 'application/octet-stream'}\r\n\r\n`,
    );
    yield* body;
    yield Buffer.from('\r\n');
  }
  yield Buffer.from(`--${boundary}--\r\n`);
}

/** A part whose name was read. */
interface AddedPart extends FormPart {
  /** Decoded, without slashes around it; empty when the sender gave none. */
  readonly path: string;
  readonly names: readonly string[];
}

interface Parts {
  /** The part that comes next; what was taken before must have been read. */
  peek(): Promise<AddedPart | undefined>;
  /** The part that was looked at. */
  take(): AddedPart;
}

function openParts(call: RpcCall, onBytes: Progress | undefined): Parts {
  const parts = readParts(call);
  let seen: AddedPart | undefined;
  return {
    async peek() {
      seen ??= readPart((await parts.next()).value ?? undefined, onBytes);
      return seen;
    },
    take() {
      if (seen === undefined) throw new TypeError('a part is looked at before it is taken');
      const taken = seen;
      seen = undefined;
      return taken;
    },
  };
}

function readPart(
  part: FormPart | undefined,
  onBytes: Progress | undefined,
): AddedPart | undefined {
  if (part === undefined) return undefined;
  const names = decoded(part.fileName)
    .split('/')
    .filter((name) => name !== '');
  const path = names.join('/');
  const body = onBytes === undefined ? part.body : counted(part.body, (sum) => onBytes(path, sum));
  const read = { ...part, path, names, body };
  if (part.contentType === SYMLINK_TYPE && names.length < 2)
    throw misused('a symlink can only be added inside of a directory');
  return read;
}

/** As Go's clients write names: a space may be a plus. What is not encoded at all is taken as it is. */
function decoded(fileName: string): string {
  try {
    return decodeURIComponent(fileName.replaceAll('+', ' '));
  } catch {
    return fileName;
  }
}

const isPlainFile = ({ names, contentType }: AddedPart) =>
  names.length < 2 && contentType !== DIRECTORY_TYPE;

type Progress = (path: string, sizeBytes: number) => void;

const progressTo =
  (output: Output): Progress =>
  (path, sizeBytes) =>
    output.hint({ Name: path, Bytes: sizeBytes });

async function* counted(
  body: AsyncIterable<Uint8Array>,
  onBytes: (sum: number) => void,
): AsyncGenerator<Uint8Array, void> {
  let sum = 0;
  let told = 0;
  for await (const bytes of body) {
    yield bytes;
    sum += bytes.length;
    if (sum - told < PROGRESS_BYTES) continue;
    told = sum;
    onBytes(sum);
  }
  if (sum > told) onBytes(sum);
}
