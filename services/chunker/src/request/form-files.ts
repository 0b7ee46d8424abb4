/** The files of a form, and the entries of a folder that comes as one. */
import {
  BodyIncomplete,
  DirectoryInvalid,
  MultipartMalformed,
  RequestInvalid,
  UploadQuery,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type { ItemKind } from '../directory/directory-tree.ts';
import { formFault, type FormFile, readForm, watchParser } from './form.ts';
import { fieldAttributes, oneName } from './stated.ts';
import type { Stop } from './take-request.ts';
import { type FileWishes, type IncomingFile, readStream } from './read-body.ts';
import type { DirectoryWishes, IncomingEntry } from '../directory/upload-directory.ts';

/** A form: each `file` part is a file. */
export async function* formFiles(
  request: FastifyRequest,
  {
    name: queryName,
    expectedSha256,
    ...query
  }: FileWishes & { readonly name?: string | undefined },
  { formFilesMax, ...stop }: Stop & { readonly formFilesMax: number },
): AsyncGenerator<IncomingFile> {
  let files = 0;
  for await (const { part, fields, body } of formParts(request, {
    filesMax: formFilesMax,
    ...stop,
  })) {
    files += 1;
    if (files > 1 && expectedSha256 !== undefined)
      throw new RequestInvalid({
        reason: 'Repr-Digest tells the sha-256 of one file, but the form has several',
      });
    yield {
      name: oneName([queryName, ...fields.names, part.filename]),
      expectedSha256,
      expiresAtMs: query.expiresAtMs,
      replicas: wish('replicas', fields.replicas) ?? query.replicas,
      copies: wish('copies', fields.copies) ?? query.copies,
      body,
    };
  }
}

/** Names of fields that hold files of a directory: ours, and those of Kubo's clients. */
const ENTRY_FIELD = /^(?:file|dir)(?:-\d+)?(?:\?.*)?$/;

/** A form: each part is a file, a folder or a symlink, by its media type; its file name is a path. */
export async function* formEntries(
  request: FastifyRequest,
  {
    isEncoded,
    ...query
  }: DirectoryWishes & {
    /** Whether paths are percent-encoded. */
    readonly isEncoded: boolean;
  },
  { entriesMax, ...stop }: Stop & { readonly entriesMax: number },
): AsyncGenerator<IncomingEntry> {
  const options = { filesMax: entriesMax, isFileField: (name: string) => ENTRY_FIELD.test(name) };
  for await (const { part, fields, body } of formParts(request, { ...options, ...stop })) {
    const names = [query.name, ...fields.names].filter((name) => name !== undefined);
    yield {
      path: pathOf(part, isEncoded),
      attributes: fieldAttributes(part.fieldname),
      kind: kindOf(part.mimetype),
      wishes: {
        name: names.length === 0 ? undefined : oneName(names),
        replicas: wish('replicas', fields.replicas) ?? query.replicas,
        copies: wish('copies', fields.copies) ?? query.copies,
        expiresAtMs: query.expiresAtMs,
      },
      body,
    };
  }
}

/** As Kubo's clients mark what is no file. */
export function kindOf(mediaType: string): ItemKind {
  if (mediaType === 'application/x-directory') return 'directory';
  return /^application\/(?:x-)?symlink$/.test(mediaType) ? 'symlink' : 'file';
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    const reason = 'it is not percent-encoded UTF-8, as ?encoded=true says';
    throw new DirectoryInvalid({ path: path.slice(0, 255), reason }, { cause });
  }
}

/** A file part of a form, and its bytes. */
export interface FormPart extends FormFile {
  readonly body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
}

/** The file parts of a form, one at a time; each must be read to its end before the next comes. */
export async function* formParts(
  request: FastifyRequest,
  {
    filesMax,
    isFileField,
    isEveryPartAFile,
    signal,
    abort,
  }: Stop & {
    readonly filesMax: number;
    readonly isFileField?: ((name: string) => boolean) | undefined;
    readonly isEveryPartAFile?: boolean | undefined;
  },
): AsyncGenerator<FormPart> {
  let progress = 0;
  let isAwaited = true;
  using _parser = watchParser(
    request,
    { progress: () => progress, isAwaited: () => isAwaited },
    abort,
  );
  for await (const file of readForm(request, {
    filesMax,
    isFileField,
    isEveryPartAFile,
    signal,
    abort,
  })) {
    yield {
      ...file,
      async *body(options) {
        try {
          for await (const piece of readStream(file.part.file, options)) {
            progress += 1;
            isAwaited = false;
            yield piece;
            isAwaited = true;
          }
        } catch (error) {
          throw partFault(error, request);
        } finally {
          isAwaited = false; // storing what came is our business
        }
      },
    };
    progress += 1;
    isAwaited = true;
  }
}

/** A wish that a form states in a field. @throws RequestInvalid */
export function wish(name: 'replicas' | 'copies', text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const parsed = UploadQuery.shape[name].safeParse(text);
  if (parsed.success) return parsed.data;
  throw new RequestInvalid({
    reason: `the form field "${name}": ${parsed.error.issues[0]?.message ?? 'is not valid'}`,
  });
}

/** A part that ends early although the whole body came is the form's fault, not the line's. */
function partFault(error: unknown, { raw }: FastifyRequest): unknown {
  if (!(error instanceof BodyIncomplete) || !raw.complete) return formFault(error);
  return new MultipartMalformed({ reason: 'a file in it is cut off' }, { cause: error });
}

/** A part says its path as its file name; the parser's types hide that it may have none. @throws DirectoryInvalid */
function pathOf(
  { filename }: { readonly filename: string | undefined },
  isEncoded: boolean,
): string {
  if (filename === undefined)
    throw new DirectoryInvalid({ path: '', reason: 'a part of the form has no file name' });
  return isEncoded ? decodePath(filename) : filename;
}
