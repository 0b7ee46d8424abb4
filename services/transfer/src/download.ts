/**
 * A file to a reader: find its pin, read its manifest, fetch its blocks from many peers, send them in
 * order. HTTP has no "oops": once the first byte is out, a failure can only be shown by breaking the
 * connection, so the end is never a clean one unless every byte was sent and verified.
 */
import type { ServerResponse } from 'node:http';
import { type DagEntry, reassemble, slicesOf } from '@shoal/blocks';
import type { Call, Log, PeerClient } from '@shoal/chassis';
import {
  BlockUnavailable,
  Overloaded,
  type Pin,
  RangeNotSatisfiable,
  type transferRoutes,
  fileNameFault,
  FileNameInvalid,
} from '@shoal/protocol';
import type { BlockSource } from './block-source.ts';
import type { TransferConfig } from './config.ts';
import { findPin } from './find-pin.ts';
import { etagOf, fileHeaders } from './file-headers.ts';
import type { Manifests } from './manifests.ts';
import type { Metrics } from './metrics.ts';
import { type Selection, select } from './range.ts';
import { createWindow } from './window.ts';

type GetFile = typeof transferRoutes.getFile;
type FileCall = Call<GetFile['params'], GetFile['query'], undefined>;

export interface DownloadDeps {
  readonly client: PeerClient;
  readonly source: BlockSource;
  readonly manifests: Manifests;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly config: TransferConfig;
}

/** The handler of `GET|HEAD /files/:hash`. */
export function createDownload(deps: DownloadDeps): (call: FileCall) => Promise<unknown> {
  const { client, metrics, config } = deps;
  let open = 0;

  return async (call) => {
    const { params, query, request, reply, signal } = call;
    if (open >= config.TRANSFER_DOWNLOADS_MAX)
      throw new Overloaded({ what: 'downloads', limit: config.TRANSFER_DOWNLOADS_MAX });
    open += 1;
    metrics.downloadsOpen.set(open);
    const startedAtMs = performance.now();
    try {
      const pin = await findPin(params.hash, client, { signal });
      const selection = select(request.headers, etagOf(pin), pin.sizeBytes);
      if (selection.kind === 'unsatisfiable') {
        void reply.header('content-range', `bytes */${pin.sizeBytes}`);
        throw new RangeNotSatisfiable({ sizeBytes: pin.sizeBytes });
      }
      const name = nameOf(pin, query.filename);
      const head = headOf(pin, selection, { isDownload: isYes(query.download), name });
      if (request.method === 'HEAD' || selection.kind === 'not-modified' || head.length === 0) {
        reply.hijack();
        reply.raw.writeHead(head.status, head.headers).end();
        return undefined;
      }
      // Found before the first byte goes out: a file without its manifest is still a clean 503.
      const dag = deps.source.open(pin.root, { signal });
      const entries = await deps.manifests.list(pin, dag, { signal });
      assertSizes(pin, entries);
      const window = createWindow(config);
      const blocks = reassemble(
        slicesOf(entries, head),
        {
          windowBlocks: () => window.size(open),
          fetchBlock: ({ entry, index }, options) =>
            window.timed(() =>
              dag.fetch({ cid: entry.cid, index, sizeBytes: entry.sizeBytes }, options),
            ),
          discard: ({ release }) => release(),
        },
        { signal },
      );
      const first = await blocks.next();
      metrics.firstByte.observe((performance.now() - startedAtMs) / 1000);
      reply.hijack();
      await send(deps, call, head, first, blocks);
      return undefined;
    } catch (error) {
      if (!signal.aborted) metrics.downloads.inc({ outcome: outcomeOf(error) });
      else metrics.downloads.inc({ outcome: 'reader-left' });
      throw error;
    } finally {
      open -= 1;
      metrics.downloadsOpen.set(open);
    }
  };
}

interface Head {
  readonly status: number;
  readonly headers: Record<string, string | number>;
  readonly start: number;
  readonly end: number;
  readonly length: number;
}

function headOf(
  pin: Pin,
  selection: Selection,
  options: { isDownload: boolean; name: string },
): Head {
  const headers = fileHeaders(pin, options);
  if (selection.kind === 'not-modified')
    return { status: 304, headers, start: 0, end: -1, length: 0 };
  const isRange = selection.kind === 'range';
  const { start, end } = isRange ? selection : { start: 0, end: pin.sizeBytes - 1 };
  const length = end - start + 1;
  return {
    status: isRange ? 206 : 200,
    headers: {
      ...headers,
      'content-length': length,
      ...(isRange ? { 'content-range': `bytes ${start}-${end}/${pin.sizeBytes}` } : {}),
    },
    start,
    end,
    length,
  };
}

type Blocks = ReturnType<typeof reassemble<{ bytes: Buffer; release: () => void }>>;

/** Writes head and body. The reply is hijacked: from here on nobody else answers. */
async function send(
  { metrics, log, config }: DownloadDeps,
  { request, reply: { raw: response }, params, signal }: FileCall,
  head: Head,
  first: Awaited<ReturnType<Blocks['next']>>,
  rest: Blocks,
): Promise<void> {
  let sentBytes = 0;
  response.setTimeout(config.TRANSFER_READER_STALL_MS, () => response.destroy());
  try {
    response.writeHead(head.status, head.headers);
    for (let turn = first; !turn.done; turn = await rest.next()) {
      const { slice, block } = turn.value;
      const bytes = block.bytes.subarray(slice.from, slice.to);
      sentBytes += bytes.length;
      await write(response, bytes, block.release);
    }
    if (sentBytes !== head.length) throw new Error(`${sentBytes} of ${head.length} bytes sent`);
    response.end();
    metrics.downloads.inc({ outcome: 'complete' });
  } catch (err) {
    response.destroy(); // a short body is the only honest end now
    const outcome = signal.aborted ? 'reader-left' : outcomeOf(err);
    metrics.downloads.inc({ outcome });
    const fields = { err, hash: params.hash, sentBytes, requestId: request.id };
    if (outcome === 'reader-left') log.debug(fields, 'reader left');
    else log.warn(fields, 'download broken off');
  } finally {
    metrics.bytesServed.inc(sentBytes);
    await rest.return();
  }
}

/** Writes bytes of a pooled buffer, and gives the buffer back once the kernel has them. */
async function write(response: ServerResponse, bytes: Buffer, release: () => void): Promise<void> {
  if (response.destroyed) {
    release();
    throw new Error('the reader left');
  }
  if (response.write(bytes, release)) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
}

/** `?filename=` renames a download; a name that could not be uploaded can't be asked for either. */
function nameOf(pin: Pin, asked: string | undefined): string {
  if (asked === undefined) return pin.name;
  const reason = fileNameFault(asked);
  if (reason !== undefined) throw new FileNameInvalid({ reason });
  return asked;
}

/** `?download`, `?download=1`, `?download=true`. */
const isYes = (value: string | undefined): boolean =>
  value !== undefined && !['0', 'false', 'no'].includes(value.toLowerCase());

/** The pin is signed by a member, the DAG is named by its hash: when they differ, the DAG is right. */
function assertSizes({ root, sizeBytes }: Pin, entries: readonly DagEntry[]): void {
  const actual = entries.reduce(
    (sum, entry) => sum + (entry.kind === 'leaf' ? entry.sizeBytes : 0),
    0,
  );
  if (actual !== sizeBytes)
    throw new Error(`pin of ${root} says ${sizeBytes} bytes, its blocks have ${actual}`);
}

function outcomeOf(error: unknown): 'unavailable' | 'failed' {
  return error instanceof BlockUnavailable ? 'unavailable' : 'failed';
}
