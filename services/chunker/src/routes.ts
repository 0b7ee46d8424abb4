/** The chunker's two routes: what a request says, turned into files to take in. */
import { type Call, mount, type Mounting } from '@shoal/chassis';
import type { BYTES } from '@shoal/protocol';
import {
  BodyIncomplete,
  chunkerRoutes,
  MediaTypeUnsupported,
  Overloaded,
  Problem,
  RequestInvalid,
  type Sha256,
  UploadQuery,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type * as z from 'zod';
import { parseReprDigest } from './digest.ts';
import { formFault, readForm, watchParser } from './form.ts';
import { oneName } from './names.ts';
import { PinDoubtful } from './put-pin.ts';
import { receive, watchRate } from './receive.ts';
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
      const result = await upload(files({ signal: either, abort }), deps, { signal: either });
      void reply.code(result.isReached ? 201 : 202);
      return result;
    } catch (error) {
      if (error instanceof PinDoubtful) throw error.cause;
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
    const { files } = await take(call, () => rawFile(request, { ...query, name, expectedSha256 }));
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
    const { files } = await take(call, ({ signal, abort }) =>
      formFiles(request, { ...query, expectedSha256 }, { ...options, signal, abort }),
    );
    const [file] = files;
    if (file === undefined || files.length > 1) return { files: [...files] };
    void reply.header('location', file.url);
    return file;
  });
}

type FileWishes = Pick<IncomingFile, 'replicas' | 'copies' | 'expectedSha256'>;

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
          throw formFault(error);
        } finally {
          isAwaited = false; // storing what came is our business
        }
      },
    };
    progress += 1;
    isAwaited = true;
  }
}

function wish(name: 'replicas' | 'copies', text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const parsed = UploadQuery.shape[name].safeParse(text);
  if (parsed.success) return parsed.data;
  throw new RequestInvalid({
    reason: `the form field "${name}": ${parsed.error.issues[0]?.message ?? 'is not valid'}`,
  });
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
