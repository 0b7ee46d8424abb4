/** The chunker's two routes: what a request says, turned into files to take in. */
import { type Call, mount, type Mounting } from '@shoal/chassis';
import type { BYTES } from '@shoal/protocol';
import {
  BodyIncomplete,
  chunkerRoutes,
  MediaTypeUnsupported,
  MultipartMalformed,
  Overloaded,
  Problem,
  RequestInvalid,
  type Sha256,
  StorageFull,
  UploadQuery,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type * as z from 'zod';
import { parseReprDigest } from './digest.ts';
import { formFault, readForm, watchParser } from './form.ts';
import { oneName } from './names.ts';
import { PinDoubtful } from './put-pin.ts';
import { receive, watchRate } from './receive.ts';
import { neededBytesOf } from './room.ts';
import { type IncomingFile, upload, type UploadDeps, type UploadResult } from './upload.ts';

export interface ChunkerRoutesOptions {
  readonly uploadsMax: number;
  readonly formFilesMax: number;
  readonly bytesPerSecondMin: number;
  readonly rateWindowMs: number;
}

type UploadCall = Call<z.ZodObject, typeof UploadQuery, typeof BYTES>;

export function mountChunker(
  mounting: Mounting,
  deps: UploadDeps,
  options: ChunkerRoutesOptions,
): void {
  let openUploads = 0;

  /** Runs one request's upload, within the limits that all requests share. */
  const take = async (
    { request, reply, signal }: Pick<UploadCall, 'request' | 'reply' | 'signal'>,
    files: (options: {
      signal: AbortSignal;
      abort: (problem: Problem) => void;
    }) => AsyncIterable<IncomingFile>,
  ): Promise<UploadResult> => {
    refuseContentEncoding(request);
    if (openUploads >= options.uploadsMax)
      throw new Overloaded({ what: 'uploads', limit: options.uploadsMax });
    const neededBytes = neededBytesOf(request);
    const stop = new AbortController();
    const abort = (problem: Problem) => stop.abort(problem);
    const either = AbortSignal.any([signal, stop.signal, deps.stopping]);
    const timer = deps.metrics.uploadDuration.startTimer();
    openUploads += 1;
    deps.metrics.openUploads.set(openUploads);
    using _room = deps.pool.admit();
    using _rate = watchRate(
      request.raw,
      { bytesPerSecondMin: options.bytesPerSecondMin, windowMs: options.rateWindowMs },
      abort,
    );
    try {
      await deps.room.check(neededBytes, { signal: either });
      const result = await upload(files({ signal: either, abort }), deps, { signal: either });
      void reply.code(result.isReached ? 201 : 202);
      return result;
    } catch (error) {
      const reason = error instanceof PinDoubtful ? error.cause : error;
      if (reason instanceof StorageFull)
        throw await deps.room.nameOthers(reason, neededBytes, { signal: deps.stopping });
      if (error instanceof PinDoubtful) throw reason;
      if (signal.aborted && !(error instanceof Problem))
        throw new BodyIncomplete({ receivedBytes: request.raw.socket.bytesRead }, { cause: error });
      throw error;
    } finally {
      openUploads -= 1;
      deps.metrics.openUploads.set(openUploads);
      timer();
    }
  };
  const takeRaw = async (call: UploadCall, name: string) => {
    const { request, reply, query } = call;
    const expectedSha256 = reprDigest(request);
    const wishes = { ...query, name, expectedSha256, expiresAtMs: expiryOf(query) };
    const { files } = await take(call, () => rawFile(request, wishes));
    const [file] = files;
    if (file === undefined) throw new Error('a raw body is one file');
    void reply.header('location', file.url);
    return file;
  };

  mount(mounting, chunkerRoutes.putFile, (call) => takeRaw(call, oneName([call.params.name])));
  mount(mounting, chunkerRoutes.addFile, async (call) => {
    const { request, reply, query } = call;
    if (!request.isMultipart()) return takeRaw(call, oneName([query.name]));
    const expectedSha256 = reprDigest(request);
    const wishes = { ...query, expectedSha256, expiresAtMs: expiryOf(query) };
    const { files } = await take(call, ({ signal, abort }) =>
      formFiles(request, wishes, { ...options, signal, abort }),
    );
    const [file] = files;
    if (file === undefined || files.length > 1) return { files: [...files] };
    void reply.header('location', file.url);
    return file;
  });
}

type FileWishes = Pick<IncomingFile, 'replicas' | 'copies' | 'expiresAtMs' | 'expectedSha256'>;

/** A request whose whole body is the file. */
async function* rawFile(
  { raw, headers }: FastifyRequest,
  wishes: FileWishes & { readonly name: string },
): AsyncGenerator<IncomingFile> {
  const length = headers['content-length'];
  const expectedBytes = length === undefined ? undefined : Number(length);
  yield { ...wishes, body: ({ signal }) => receive(raw, { signal, expectedBytes }) };
}

/** A form: each `file` part is a file. */
async function* formFiles(
  request: FastifyRequest,
  {
    name: queryName,
    expectedSha256,
    ...query
  }: FileWishes & { readonly name?: string | undefined },
  {
    formFilesMax,
    signal,
    abort,
  }: {
    readonly formFilesMax: number;
    readonly signal: AbortSignal;
    readonly abort: (problem: Problem) => void;
  },
): AsyncGenerator<IncomingFile> {
  let progress = 0;
  let isAwaited = true;
  using _parser = watchParser(
    request,
    { progress: () => progress, isAwaited: () => isAwaited },
    abort,
  );
  let files = 0;
  for await (const { part, fields } of readForm(request, { filesMax: formFilesMax, signal })) {
    files += 1;
    if (files > 1 && expectedSha256 !== undefined)
      throw new RequestInvalid({
        reason: 'Repr-Digest tells the sha-256 of one file, but the form has several',
      });
    const name = oneName([queryName, ...fields.names, part.filename]);
    yield {
      name,
      expectedSha256,
      expiresAtMs: query.expiresAtMs,
      replicas: wish('replicas', fields.replicas) ?? query.replicas,
      copies: wish('copies', fields.copies) ?? query.copies,
      async *body(options) {
        try {
          for await (const piece of receive(part.file, options)) {
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

/** A part that ends early although the whole body came is the form's fault, not the line's. */
function partFault(error: unknown, { raw }: FastifyRequest): unknown {
  if (!(error instanceof BodyIncomplete) || !raw.complete) return formFault(error);
  return new MultipartMalformed({ reason: 'a file in it is cut off' }, { cause: error });
}

function wish(name: 'replicas' | 'copies', text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const parsed = UploadQuery.shape[name].safeParse(text);
  if (parsed.success) return parsed.data;
  throw new RequestInvalid({
    reason: `the form field "${name}": ${parsed.error.issues[0]?.message ?? 'is not valid'}`,
  });
}

/** @throws RequestInvalid for a time that is over: the file would be gone before it is there. */
function expiryOf({ expiresAt }: UploadQuery): number | undefined {
  if (expiresAt === undefined) return undefined;
  const expiresAtMs = Date.parse(expiresAt);
  if (expiresAtMs > Date.now()) return expiresAtMs;
  throw new RequestInvalid({ reason: `?expiresAt=${expiresAt} is in the past` });
}

function reprDigest({ headers }: FastifyRequest): Sha256 | undefined {
  const header = headers['repr-digest'];
  return parseReprDigest(Array.isArray(header) ? header.join(', ') : header);
}

/** A coded body would be stored as it is and served as if it were the file. */
function refuseContentEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new MediaTypeUnsupported({ expected: 'bodies without Content-Encoding' });
}
