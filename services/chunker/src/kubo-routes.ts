/**
 * The forms of `add` as Kubo's clients write them: files and directories, taken in one after the other
 * while the form comes in, each pinned by itself.
 *
 * A part without a slash in its name is a file by itself. Parts that share their first name are one
 * directory, which is complete only with its last entry, so its lines come after it. With `wrap` the whole
 * form is one directory.
 */
import assert from 'node:assert/strict';
import { mountRaw, type Mounting } from '@shoal/chassis';
import {
  chunkerRoutes,
  type DirectoryReply,
  type KuboAddEvent,
  MediaTypeUnsupported,
  MiB,
  Problem,
  RequestInvalid,
  UploadQuery,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { type IncomingEntry, uploadDirectory } from './directory/upload-directory.ts';
import type { IntakeDeps } from './intake/intake.ts';
import type { RequestLimits, Stop } from './request/admit.ts';
import { type FormPart, formParts, kindOf } from './request/read-body.ts';
import { oneName } from './request/names.ts';
import { createTakeRequest } from './request/take-request.ts';
import { upload } from './upload.ts';
import { type Lines, openLines } from './request/answer-lines.ts';

/** What a file is called in the swarm when its sender gave no name. */
const UNNAMED = 'unnamed';
/** Bytes between two lines of progress. */
const PROGRESS_BYTES = MiB;
const FAULT = 'the peer met a fault of its own; its log has the details';

export interface KuboFormOptions extends RequestLimits {
  readonly directoryFilesMax: number;
}

interface AddCall {
  readonly isWrapped: boolean;
  readonly entriesMax: number;
  readonly deps: IntakeDeps;
  readonly parts: Parts;
  readonly lines: Lines<KuboAddEvent>;
  readonly signal: AbortSignal;
}

export function mountKuboForms(
  mounting: Mounting,
  deps: IntakeDeps,
  options: KuboFormOptions,
): void {
  const take = createTakeRequest(deps, options);
  const { directoryFilesMax: entriesMax } = options;
  mountRaw(mounting, chunkerRoutes.addKuboForm, async (call) => {
    const { request, reply, query } = call;
    if (!request.isMultipart()) throw new MediaTypeUnsupported({ expected: 'multipart/form-data' });
    using lines = openLines<KuboAddEvent>(reply);
    try {
      await take(call, async ({ onPinning, onPinned, ...stop }) => {
        const onBytes = query.progress
          ? (path: string, sizeBytes: number) => lines.hint({ received: { path, sizeBytes } })
          : undefined;
        await using parts = openParts(request, entriesMax, onBytes, stop);
        const added = { ...deps, onPinning };
        const { signal } = stop;
        const one = { isWrapped: query.wrap, entriesMax, deps: added, parts, lines, signal };
        for (let next = await parts.peek(); next !== undefined; next = await parts.peek()) {
          await (query.wrap || !isPlainFile(next) ? addDirectory(next, one) : addFile(next, one));
          onPinned();
        }
        return { isReached: true };
      });
      lines.end();
    } catch (error) {
      if (!lines.isBegun) throw error;
      // It is too late for a status.
      request.log.warn({ err: error }, 'a form was added in part');
      lines.end({ failed: { detail: error instanceof Problem ? error.message : FAULT } });
    }
    return reply;
  });
}

async function addFile(
  { path }: AddedPart,
  { deps, parts, lines, signal }: AddCall,
): Promise<void> {
  const { body } = parts.take();
  const { replicas, copies } = UploadQuery.parse({});
  const name = oneName([path || UNNAMED]);
  const rest = { expiresAtMs: undefined, expectedSha256: undefined };
  const file = { name, replicas, copies, body, ...rest };
  const { files, treeSizesBytes } = await upload(only(file), deps, { signal });
  for (const [at, { cid }] of files.entries())
    await lines.add({ added: { path, cid, treeSizeBytes: treeSizesBytes[at] ?? 0 } }, { signal });
}

async function addDirectory(
  first: AddedPart,
  { isWrapped, entriesMax, deps, parts, lines, signal }: AddCall,
): Promise<void> {
  const root = first.names[0] || UNNAMED;
  const entries = entriesOf(parts, root, isWrapped);
  const options = { entriesMax, withItems: true };
  const { reply } = await uploadDirectory(entries, options, deps, { signal });
  for (const added of linesOf(reply, isWrapped ? '' : root)) await lines.add({ added }, { signal });
}

/** What is in a directory, then itself, as Kubo has it: a directory comes after what is in it. */
function* linesOf({ items = [], cid, treeSizeBytes }: DirectoryReply, base: string) {
  const inOrder = [
    ...items.filter(({ kind }) => kind !== 'directory'),
    ...items.filter(({ kind }) => kind === 'directory').toReversed(),
  ];
  for (const item of inOrder)
    yield {
      path: base === '' ? item.path : `${base}/${item.path}`,
      cid: item.cid,
      treeSizeBytes: item.treeSizeBytes,
    };
  yield { path: base, cid, treeSizeBytes };
}

/** The parts that belong to one directory, as they come. */
async function* entriesOf(
  parts: Parts,
  root: string,
  isWrapped: boolean,
): AsyncGenerator<IncomingEntry, void, undefined> {
  const { replicas, copies } = UploadQuery.parse({});
  const name = isWrapped ? oneName([root]) : undefined;
  const wishes = { name, replicas, copies, expiresAtMs: undefined };
  for (
    let next = await parts.peek();
    next !== undefined && (isWrapped || next.names[0] === root);
    next = await parts.peek()
  ) {
    const { path, contentType, body } = parts.take();
    yield { path, kind: kindOf(contentType), wishes, body };
  }
}

/** A part whose name was read. Modes and times in its field are what the client says of every file, unasked. */
interface AddedPart {
  /** Decoded, without slashes around it; empty when the sender gave none. */
  readonly path: string;
  readonly names: readonly string[];
  readonly contentType: string;
  readonly body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
}

interface Parts extends AsyncDisposable {
  /** The part that comes next; what was taken before must have been read. */
  peek(): Promise<AddedPart | undefined>;
  /** The part that was looked at. */
  take(): AddedPart;
}

type OnBytes = (path: string, sizeBytes: number) => void;

function openParts(
  request: FastifyRequest,
  filesMax: number,
  onBytes: OnBytes | undefined,
  stop: Stop,
): Parts {
  const isFileField = () => true;
  const parts = formParts(request, { filesMax, isFileField, isEveryPartAFile: true, ...stop });
  let seen: AddedPart | undefined;
  return {
    async peek() {
      if (seen !== undefined) return seen;
      const next = await parts.next();
      seen = next.done === true ? undefined : readPart(next.value, onBytes);
      return seen;
    },
    take() {
      assert(seen !== undefined, 'a part is looked at before it is taken');
      const taken = seen;
      seen = undefined;
      return taken;
    },
    async [Symbol.asyncDispose]() {
      await parts.return(undefined);
    },
  };
}

/** @throws RequestInvalid */
function readPart({ part, body }: FormPart, onBytes: OnBytes | undefined): AddedPart {
  const { filename = '', mimetype: contentType } = part as { filename?: string; mimetype: string };
  const names = decoded(filename)
    .split('/')
    .filter((name) => name !== '');
  const path = names.join('/');
  if (kindOf(contentType) === 'symlink' && names.length < 2)
    throw new RequestInvalid({ reason: 'a symlink can only be added inside of a directory' });
  return {
    path,
    names,
    contentType,
    body:
      onBytes === undefined
        ? body
        : (options) => counted(body(options), (sumBytes) => onBytes(path, sumBytes)),
  };
}

/** As Go's clients write names: a space may be a plus. What is not encoded at all is taken as it is. */
function decoded(fileName: string): string {
  try {
    return decodeURIComponent(fileName.replaceAll('+', ' '));
  } catch {
    return fileName;
  }
}

const isPlainFile = ({ names, contentType }: AddedPart): boolean =>
  names.length < 2 && kindOf(contentType) !== 'directory';

async function* counted(
  body: AsyncIterable<Uint8Array>,
  onBytes: (sumBytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sumBytes = 0;
  let saidBytes = 0;
  for await (const bytes of body) {
    yield bytes;
    sumBytes += bytes.length;
    if (sumBytes - saidBytes < PROGRESS_BYTES) continue;
    saidBytes = sumBytes;
    onBytes(sumBytes);
  }
  if (sumBytes > saidBytes) onBytes(sumBytes);
}

async function* only<T>(item: T): AsyncGenerator<T, void, undefined> {
  yield item;
}
