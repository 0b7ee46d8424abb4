/**
 * The forms of Kubo's clients, cut here and nowhere else: those of `block/put` and `dag/import`
 * (kubo/import-parts.ts), and those of `add`: files and directories, taken in one after the other while the
 * form comes in, each pinned by itself.
 *
 * A part without a slash in its name is a file by itself. Parts that share their first name are one
 * directory, which is complete only with its last entry, so its lines come after it. With `wrap` the whole
 * form is one directory.
 */
import { type Call, mountRaw, type Mounting } from '@shoal/chassis';
import {
  type BYTES,
  chunkerRoutes,
  type DirectoryReply,
  type KuboAddEvent,
  type KuboImportEvent,
  UploadQuery,
} from '@shoal/protocol';
import type * as z from 'zod';
import { type IncomingEntry, uploadDirectory } from './directory/upload-directory.ts';
import type { ImportDeps } from './import/import-blocks.ts';
import { checkKept } from './import/import-routes.ts';
import type { IntakeDeps } from './intake/intake.ts';
import { answerForm } from './kubo/answer-form.ts';
import { importParts } from './kubo/import-parts.ts';
import { isPlainFile, type NamedPart, openParts, type Parts } from './kubo/parts.ts';
import type { Lines } from './request/answer-lines.ts';
import { kindOf } from './request/form-files.ts';
import { oneName } from './request/stated.ts';
import type { PinningStop, TakeRequest } from './request/take-request.ts';
import { upload } from './upload.ts';

/** The name of a file whose sender gave none. */
const UNNAMED = 'unnamed';

type AddQuery = (typeof chunkerRoutes)['addKuboForm']['query'];
type AddFormCall = Pick<Call<z.ZodObject, AddQuery, typeof BYTES>, 'request' | 'query'>;

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
  deps: ImportDeps,
  {
    takeUpload,
    takeImport,
    directoryFilesMax: partsMax,
  }: {
    readonly takeUpload: TakeRequest;
    readonly takeImport: TakeRequest;
    readonly directoryFilesMax: number;
  },
): void {
  mountRaw(mounting, chunkerRoutes.addKuboForm, (call) =>
    answerForm<KuboAddEvent>(call, takeUpload, (lines, stop) =>
      addParts(call, lines, { ...deps, entriesMax: partsMax }, stop),
    ),
  );
  mountRaw(mounting, chunkerRoutes.importKuboForm, (call) => {
    checkKept(call.request, call.query);
    return answerForm<KuboImportEvent>(call, takeImport, (lines, stop) =>
      importParts(call.request, { ...call.query, partsMax }, lines, deps, stop),
    );
  });
}

async function addParts(
  { request, query }: AddFormCall,
  lines: Lines<KuboAddEvent>,
  { entriesMax, ...deps }: IntakeDeps & { readonly entriesMax: number },
  { onPinning, onPinned, token, ...stop }: PinningStop,
): Promise<void> {
  const onBytes = query.progress
    ? (path: string, sizeBytes: number) => lines.hint({ received: { path, sizeBytes } })
    : undefined;
  await using parts = openParts(request, entriesMax, onBytes, stop);
  const added = { ...deps, onPinning, token };
  const { signal } = stop;
  const one = { isWrapped: query.wrap, entriesMax, deps: added, parts, lines, signal };
  for (let next = await parts.peek(); next !== undefined; next = await parts.peek()) {
    await (query.wrap || !isPlainFile(next) ? addDirectory(next, one) : addFile(next, one));
    onPinned();
  }
}

async function addFile(
  { path }: NamedPart,
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
  first: NamedPart,
  { isWrapped, entriesMax, deps, parts, lines, signal }: AddCall,
): Promise<void> {
  const root = first.names[0] || UNNAMED;
  const entries = entriesOf(parts, root, isWrapped);
  const options = { entriesMax, withItems: true };
  const { reply } = await uploadDirectory(entries, options, deps, { signal });
  for (const added of linesOf(reply, isWrapped ? '' : root)) await lines.add({ added }, { signal });
}

/** The entries of a directory, then itself: Kubo lists a directory after its entries. */
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

async function* only<T>(item: T): AsyncGenerator<T, void, undefined> {
  yield item;
}
