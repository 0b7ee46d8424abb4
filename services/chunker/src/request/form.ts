/**
 * Reading forms: `multipart/form-data` with one or more `file` parts, as browsers and
 * `curl -F` send it. Parts are given one at a time, while they come in; nothing is spooled.
 *
 * The parser is trusted with nothing but cutting. A form that ends without its last boundary, or that
 * the parser silently hangs on (known of it: fastify-busboy #1411), is refused by a watch of our own;
 * one with a part that the parser would leave out, by a check that reads along (form-check.ts). So every
 * part is a file, a field that we know, or the reason of a refusal.
 */
import { once } from 'node:events';
import type { Multipart, MultipartFile } from '@fastify/multipart';
import { orAborted } from '@shoal/chassis';
import {
  FileMissing,
  FileNameInvalid,
  MultipartMalformed,
  Problem,
  RequestInvalid,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { createFormCheck, type FormCheck } from './form-check.ts';

/** Form fields beside the files: ours are three, each once. */
const FIELDS_MAX = 64;
const FIELD_SIZE_MAX_BYTES = 4096;
const FIELD_NAME_MAX_BYTES = 100;
/** Room for a file name that is too long by far, so that it is refused by name. */
const PART_HEADER_MAX_BYTES = 32 * 1024;
const PART_HEADERS_MAX = 32;
/** The body is here in full and the parser gives nothing: it hangs. */
const PARSER_IDLE_MAX_MS = 2000;
const FILE_FIELD = 'file';
/** Fields that say something of the files. */
const WISH_FIELDS: readonly string[] = ['name', 'replicas', 'copies'];

/** The fields of a form beside its files. */
export interface FormFields {
  readonly names: readonly string[];
  readonly replicas?: string;
  readonly copies?: string;
}

export interface FormFile {
  readonly part: MultipartFile;
  /** Fields that came before this part. */
  readonly fields: FormFields;
}

/**
 * The file parts of a form, in its order. Each must be read to its end before the next is asked for.
 * @throws MultipartMalformed, FileMissing, RequestInvalid; the reason of `signal`.
 */
export async function* readForm(
  request: FastifyRequest,
  {
    filesMax,
    isFileField = (name) => name === FILE_FIELD,
    isEveryPartAFile = false,
    signal,
    abort,
  }: {
    readonly filesMax: number;
    /** Which fields may hold files; by default "file" alone. */
    readonly isFileField?: ((name: string) => boolean) | undefined;
    /** Whether also what looks like a field is a file, as in forms of Kubo's clients. */
    readonly isEveryPartAFile?: boolean | undefined;
    readonly signal: AbortSignal;
    /** Called when the form can't be read, also while a file of it is. */
    readonly abort: (problem: Problem) => void;
  },
): AsyncGenerator<FormFile, void, undefined> {
  using check = readAlong(request, abort);
  const parts = request.parts({
    preservePath: true, // "../x" must be seen to be refused
    ...(isEveryPartAFile ? { isPartAFile: () => true } : {}),
    limits: {
      files: filesMax,
      fields: FIELDS_MAX,
      parts: filesMax + FIELDS_MAX,
      fileSize: Infinity,
      fieldSize: FIELD_SIZE_MAX_BYTES,
      fieldNameSize: FIELD_NAME_MAX_BYTES,
      headerPairs: PART_HEADERS_MAX,
      headerSize: PART_HEADER_MAX_BYTES,
    },
  });
  const fields = new Map<string, string>();
  let files = 0;
  let given = 0;
  for (;;) {
    const part = await nextPart(parts, signal);
    if (part === undefined) break;
    given += 1;
    if (part.type === 'field') {
      if (isFileField(part.fieldname)) throw new RequestInvalid({ reason: noFileName(part) });
      readField(part, fields, files);
      continue;
    }
    if (!isFileField(part.fieldname))
      throw new RequestInvalid({
        reason: `the form has a file in the field ${quote(part.fieldname)}; files go into the field "${FILE_FIELD}"`,
      });
    files += 1;
    yield { part, fields: formFields(fields) };
  }
  await check.end({ signal });
  if (check.parts !== given)
    throw new MultipartMalformed({
      reason: `${check.parts - given} of its ${check.parts} parts can't be separated`,
    });
  if (files === 0) throw new FileMissing({});
}

/** The parser's own errors, as what went wrong with the form. Ours pass through. */
export function formFault(error: unknown): unknown {
  if (error instanceof Problem || !(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  // The parser throws plain errors and fastify ones; a bug of ours throws one of these.
  if (error instanceof TypeError || error.name === 'AssertionError') return error;
  if (code !== undefined && !code.startsWith('FST_')) return error;
  return new MultipartMalformed({ reason: error.message.toLowerCase() }, { cause: error });
}

/**
 * Calls `onHang` when the whole body is here and the parser still gives nothing for a while.
 * `progress` counts what it gave; while `isAwaited` is false the delay is ours.
 */
export function watchParser(
  request: FastifyRequest,
  { progress, isAwaited }: { readonly progress: () => number; readonly isAwaited: () => boolean },
  onHang: (problem: InstanceType<typeof MultipartMalformed>) => void,
): Disposable {
  let lastProgress = progress();
  let lastMovedMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const isOver = request.raw.complete && request.raw.readableLength === 0;
    if (!isOver || !isAwaited() || progress() !== lastProgress) {
      lastProgress = progress();
      lastMovedMs = nowMs;
    }
    if (nowMs - lastMovedMs < PARSER_IDLE_MAX_MS) return;
    clearInterval(timer);
    onHang(new MultipartMalformed({ reason: 'the form ends without its last boundary' }));
  }, PARSER_IDLE_MAX_MS / 4);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Checks a form while the parser reads it; both must begin in the same turn. */
function readAlong(
  { raw, headers }: FastifyRequest,
  abort: (problem: Problem) => void,
): Pick<FormCheck, 'parts'> & {
  /** Resolves when the whole body was looked at. */
  end(options: { signal: AbortSignal }): Promise<void>;
} & Disposable {
  const check = createFormCheck(headers['content-type'], {
    headersMax: PART_HEADERS_MAX,
    headersMaxBytes: PART_HEADER_MAX_BYTES,
  });
  const onData = (bytes: Uint8Array): void => {
    const reason = check.push(bytes);
    if (reason === undefined) return;
    abort(check.isNameFault ? new FileNameInvalid({ reason }) : new MultipartMalformed({ reason }));
  };
  raw.on('data', onData);
  return {
    get parts() {
      return check.parts;
    },
    async end({ signal }) {
      raw.resume(); // the parser is done with it
      if (!raw.readableEnded) await once(raw, 'end', { signal }).catch(() => {});
      signal.throwIfAborted();
    },
    [Symbol.dispose]: () => void raw.off('data', onData),
  };
}

async function nextPart(
  parts: AsyncIterator<Multipart>,
  signal: AbortSignal,
): Promise<Multipart | undefined> {
  signal.throwIfAborted();
  try {
    const next = await orAborted(parts.next(), signal);
    return next.done === true ? undefined : next.value;
  } catch (error) {
    throw formFault(error);
  }
}

function readField(
  part: Exclude<Multipart, MultipartFile>,
  fields: Map<string, string>,
  files: number,
): void {
  const { fieldname, value, valueTruncated } = part;
  if (!WISH_FIELDS.includes(fieldname))
    throw new RequestInvalid({
      reason: `the form field ${quote(fieldname)} is not known; there are "${FILE_FIELD}", ${WISH_FIELDS.map(quote).join(', ')}`,
    });
  if (files > 0)
    throw new RequestInvalid({
      reason: `the form field "${fieldname}" must precede the first file`,
    });
  if (fieldname === 'name' && fields.has('name'))
    throw new FileNameInvalid({ reason: 'two names were given' });
  if (fields.has(fieldname))
    throw new RequestInvalid({ reason: `the form field "${fieldname}" was given more than once` });
  if (valueTruncated || typeof value !== 'string')
    throw new RequestInvalid({ reason: `the form field "${fieldname}" is not a short text` });
  // The parser puts this for bytes that are no UTF-8.
  if (value.includes('\ufffd'))
    throw new RequestInvalid({ reason: `the form field "${fieldname}" is not valid UTF-8` });
  fields.set(fieldname, value);
}

const noFileName = ({ fieldname }: Multipart): string =>
  `the form field ${quote(fieldname)} has no file name, so it is a text and no file; give it one, as curl -F file=@report.pdf does`;

function formFields(fields: ReadonlyMap<string, string>): FormFields {
  const name = fields.get('name');
  const replicas = fields.get('replicas');
  const copies = fields.get('copies');
  return {
    names: name === undefined ? [] : [name],
    ...(replicas === undefined ? {} : { replicas }),
    ...(copies === undefined ? {} : { copies }),
  };
}

const quote = (text: unknown) => JSON.stringify(String(text).slice(0, FIELD_NAME_MAX_BYTES));
