/** Uploads and downloads as a plain HTTP client does them, without holding a file in memory. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  discoveryRoutes,
  type FileEntry,
  type FileHealth,
  type PinChange,
  type ProblemBody,
  UploadReply,
} from '@shoal/protocol';
import { call, type CallOptions, listFiles as listAll, webSend } from '@shoal/sdk';
import { request } from 'undici';
import { seededStream } from './seeded-bytes.ts';

/** A file to upload: its bytes come from its seed, so that the same seed is the same file. */
export interface TestFile {
  readonly name: string;
  readonly seed: string;
  readonly sizeBytes: number;
}

/** The three forms an upload may take: a form's file part, a raw body with ?name=, and `curl -T`. */
export const UPLOAD_FORMS = ['multipart', 'raw', 'put'] as const;
export type UploadForm = (typeof UPLOAD_FORMS)[number];

export interface UploadAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  /** The file's entry when the upload was taken. */
  readonly reply: UploadReply;
}

const BOUNDARY = 'shoal-test-boundary';

/** Uploads to a chunker or gateway. @throws Error with the problem when it is refused. */
export async function upload(
  origin: string,
  file: TestFile,
  {
    form = 'raw',
    query = '',
    headers = {},
    body = seededStream(file.seed, file.sizeBytes),
  }: {
    readonly form?: UploadForm;
    /** For example `replicas=1&copies=1`. */
    readonly query?: string;
    readonly headers?: Record<string, string>;
    readonly body?: AsyncIterable<Uint8Array>;
  } = {},
): Promise<UploadAnswer> {
  const name = encodeURIComponent(file.name);
  const search = (more: string) => [query, more].filter((part) => part !== '').join('&');
  const url = {
    multipart: `${origin}/files?${search('')}`,
    raw: `${origin}/files?${search(`name=${name}`)}`,
    put: `${origin}/files/${name}?${search('')}`,
  }[form];
  const answer = await request(url, {
    method: form === 'put' ? 'PUT' : 'POST',
    headers: {
      ...(form === 'multipart'
        ? { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` }
        : { 'content-type': 'application/octet-stream', 'content-length': String(file.sizeBytes) }),
      ...headers,
    },
    body: Readable.from(form === 'multipart' ? inForm(file.name, body) : body, {
      objectMode: false,
    }),
    headersTimeout: 120_000,
    bodyTimeout: 120_000,
  });
  const json: unknown = await answer.body.json();
  if (answer.statusCode >= 400)
    throw new Error(`upload refused: ${answer.statusCode} ${JSON.stringify(json)}`);
  return {
    status: answer.statusCode,
    headers: answer.headers,
    reply: UploadReply.parse(json),
  };
}

async function* inForm(name: string, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // As browsers and curl do it: quotes and line breaks are escaped, all else is UTF-8.
  const escaped = name.replace(/"/g, '%22');
  yield Buffer.from(
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${escaped}"\r\nContent-Type: application/octet-stream\r\n\r\n`,
  );
  yield* body;
  yield Buffer.from(`\r\n--${BOUNDARY}--\r\n`);
}

export interface DownloadAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Present when the answer was a problem. */
  readonly problem?: ProblemBody;
}

/** Downloads from a transfer service or gateway. @throws Error when the connection breaks off. */
export async function download(
  origin: string,
  hash: string,
  {
    headers = {},
    onBytes,
    signal,
  }: {
    readonly headers?: Record<string, string>;
    /** Called with the bytes so far; what it waits for holds the download back. */
    readonly onBytes?: (receivedBytes: number) => Promise<void> | void;
    readonly signal?: AbortSignal;
  } = {},
): Promise<DownloadAnswer> {
  const answer = await request(`${origin}/files/${hash}`, {
    headers,
    headersTimeout: 60_000,
    bodyTimeout: 60_000,
    ...(signal === undefined ? {} : { signal }),
  });
  if (answer.statusCode >= 400) {
    const problem = (await answer.body.json()) as ProblemBody; // what the test then looks at
    return {
      status: answer.statusCode,
      headers: answer.headers,
      sizeBytes: 0,
      sha256: '',
      problem,
    };
  }
  const digest = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of answer.body as AsyncIterable<Buffer>) {
    digest.update(piece);
    sizeBytes += piece.length;
    await onBytes?.(sizeBytes);
  }
  return {
    status: answer.statusCode,
    headers: answer.headers,
    sizeBytes,
    sha256: digest.digest('hex'),
  };
}

/** How the SDK asks; a test that hangs is ended by its own deadline. */
const asking = (): CallOptions => ({ send: webSend(), signal: new AbortController().signal });

/** The state of a file, as a peer answers it. */
export const health = (origin: string, hash: string): Promise<FileHealth> =>
  call(origin, discoveryRoutes.fileHealth, { params: { hash } }, asking());

/** All files that a peer knows of. */
export async function listFiles(origin: string): Promise<FileEntry[]> {
  return (await listAll(origin, {}, asking())).files;
}

/** Changes a file's name, copies or end. @throws Problem when it is refused. */
export const change = (origin: string, hash: string, wishes: PinChange): Promise<FileEntry> =>
  call(origin, discoveryRoutes.changeFile, { params: { hash }, body: wishes }, asking());

/** Deletes a file from the whole swarm. @throws Problem when it is refused. */
export async function remove(origin: string, hash: string): Promise<void> {
  await call(origin, discoveryRoutes.removeFile, { params: { hash } }, asking());
}

/** One figure of a service's `/metrics`: the sum over the lines whose labels include `labels`. */
export async function metric(
  origin: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { body } = await request(`${origin}/metrics`);
  const lines = (await body.text()).split('\n');
  return lines
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) =>
      Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)),
    )
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
