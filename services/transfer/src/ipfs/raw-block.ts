/**
 * `/ipfs/{cid}?format=raw`: one block, verified. The path of Kubo, Helia and all clients that check for
 * themselves, with their rules: no redirect, few headers, and 404 soon for what nobody has.
 */
import { isNotModified, Shares, watchReader } from '@shoal/chassis';
import { checkedName, RangeNotSatisfiable } from '@shoal/protocol';
import { headOf, rangeOf } from '../answer/file-answer.ts';
import { contentDisposition, IMMUTABLE } from '../answer/file-headers.ts';
import { answerHead, type IpfsAsk, type IpfsOutcome } from './request/ask.ts';
import { pathHeaders, locationOf } from './request/headers.ts';
import { RAW_TYPE } from './request/negotiate.ts';
import { select } from '../answer/range.ts';
import type { Piece } from '../file/pieces.ts';

/** Characters for path, roots and address: with the rest the head stays below Kubo's 2 KiB. */
const PATH_HEADERS_MAX_LENGTH = 480;

export function createRawBlock({
  rawBlocksMax,
  readerStallMs,
}: {
  /** Blocks sent at once, shared by clients. */
  readonly rawBlocksMax: number;
  /** A reader that takes nothing for this long is disconnected. */
  readonly readerStallMs: number;
}): (ask: IpfsAsk, form: { isByAccept: boolean }) => Promise<IpfsOutcome> {
  const shares = new Shares({ what: 'blocks being sent', placesMax: rawBlocksMax });

  return async (ask, { isByAccept }) => {
    const { call, reader, resolved } = ask;
    const { request, reply } = call;
    const { target } = resolved;
    const etag = `"${target.asGiven}.raw"`;
    const headers = headersOf(ask, etag, isByAccept);
    if (isNotModified(request, [etag])) {
      answerHead(call, 304, headers);
      return 'not-modified';
    }
    const held = new DisposableStack(); // until the socket has done with the block
    try {
      const { isSlow } = held.use(watchReader(reply.raw));
      const place = held.use(await shares.take(request.client, { signal: call.signal, isSlow }));
      place.signal.addEventListener('abort', () => {
        call.abort(place.signal.reason as Error);
        if (reply.raw.headersSent) reply.raw.destroy();
      });
      const block: Piece =
        target.kind === 'identity'
          ? { bytes: target.bytes, release: () => {} }
          : await reader.fetch(target.cid);
      held.defer(block.release);
      const sizeBytes = block.bytes.length;
      const selection = select(request, etag, sizeBytes);
      if (selection.kind === 'unsatisfiable') {
        void reply.header('content-range', `bytes */${sizeBytes}`);
        throw new RangeNotSatisfiable({ sizeBytes });
      }
      const head = headOf(selection, sizeBytes, headers);
      const range = rangeOf(selection, sizeBytes);
      const { raw: response } = reply;
      reply.hijack();
      response.setTimeout(readerStallMs, () => response.destroy());
      // Not before `close`: until then the socket may still read the buffer.
      if (response.destroyed) held.dispose();
      else response.once('close', () => held.dispose());
      response.writeHead(head.status, head.headers);
      if (request.method === 'HEAD') response.end();
      else response.end(block.bytes.subarray(range.start, range.end + 1));
      return 'complete';
    } catch (error) {
      held.dispose();
      throw error;
    }
  };
}

function headersOf(
  { call: { query }, path, resolved: { target, roots } }: IpfsAsk,
  etag: string,
  isByAccept: boolean,
): Record<string, string> {
  const location = isByAccept ? locationOf(path, { format: 'raw' }) : '';
  const named = pathHeaders(path, roots, PATH_HEADERS_MAX_LENGTH - location.length);
  return {
    'accept-ranges': 'bytes',
    'cache-control': IMMUTABLE,
    'content-disposition': contentDisposition(
      'attachment',
      checkedName(query.filename) ?? `${target.asGiven}.bin`,
    ),
    ...(location.length > 0 && location.length < PATH_HEADERS_MAX_LENGTH
      ? { 'content-location': location }
      : {}),
    'content-type': RAW_TYPE,
    etag,
    'x-content-type-options': 'nosniff',
    ...named,
  };
}
