/**
 * `/ipfs/{cid}/{path}?format=tar`: a file or directory to be unpacked, as a stream. It has one root, named
 * as the last part of the path is: by the CID when there is no other.
 *
 * A header states its file's size, and only its root node or, of a raw leaf, the leaf itself knows that.
 * So headers are made as blocks come, in the window in which files are read. Some entries are read before
 * the first byte goes out: what is wrong with a small directory is a clean refusal. A fault further
 * on breaks the connection.
 */
import type { DagEntry } from '@shoal/blocks';
import { isNotModified } from '@shoal/chassis';
import { checkedName, type Cid, entryNameFault } from '@shoal/protocol';
import type { BlockReader } from '../../fetch/any-blocks.ts';
import { contentDisposition, IMMUTABLE } from '../../answer/file-headers.ts';
import { fetchAhead, type Flow, pieceOf, type Pieces } from '../../file/pieces.ts';
import { answerHead, type IpfsAsk, type IpfsOutcome } from '../request/ask.ts';
import { pathHeaders, locationOf } from '../request/headers.ts';
import {
  fetchSought,
  type LooseRoot,
  seek,
  seekAhead,
  type Slice,
  slicesIn,
} from '../../file/loose-file.ts';
import { TAR_TYPE } from '../request/negotiate.ts';
import { framed, type Sender } from '../../answer/send-body.ts';
import { TAR_END, tarHeader, tarPadding } from './tar-frames.ts';
import { tarEntries, type TarEntry } from './tar-entries.ts';

/** Entries that are read before the first byte; a guess, tens of milliseconds. */
const ENTRIES_AHEAD = 256;

/** Bytes of the TAR: its own, part of a file, or a whole raw block. */
interface TarSlice extends Slice {
  /** Of the file that it is part of. */
  readonly root: LooseRoot;
  /** The file that the block is all of: its header is made when the block is here. */
  readonly raw?: { readonly entry: TarEntry; readonly before: Uint8Array };
}

/** Answers a GET or HEAD with a TAR. @throws Problem while nothing was sent. */
export async function sendTar(
  ask: IpfsAsk,
  { isByAccept }: { readonly isByAccept: boolean },
  { sender }: { readonly sender: Sender },
): Promise<IpfsOutcome> {
  const { call, reader } = ask;
  const tag = `"${ask.resolved.target.asGiven}.x-tar"`;
  const headers = headersOf(ask, tag, isByAccept);
  if (isNotModified(call.request, [tag])) {
    answerHead(call, 304, headers);
    return 'not-modified';
  }
  const entries = tarEntries(ask.resolved.target, rootNameOf(ask), reader);
  if (call.request.method === 'HEAD') {
    await assertThere(entries, reader);
    answerHead(call, 200, headers);
    return 'complete';
  }
  return sender.send(call, async (flow) => ({
    pieces: piecesOf(readAhead(entries), reader, flow, call),
    headOf: () => ({ status: 200, headers }),
    lengthBytes: undefined,
  }));
}

/** A root that nobody has is a clean 404, and one that can't be packed a clean 406. */
async function assertThere(
  entries: AsyncIterable<TarEntry>,
  reader: Pick<BlockReader, 'fetch'>,
): Promise<void> {
  for await (const { target, sizeBytes } of entries) {
    if (sizeBytes === undefined && target.kind === 'block')
      (await reader.fetch(target.cid)).release();
    return;
  }
}

/** The last part of the path, or the CID when a TAR can't have that as its root. */
function rootNameOf({ path: { segments }, resolved: { target } }: IpfsAsk): string {
  const last = segments.at(-1);
  return last === undefined || entryNameFault(last) !== undefined ? target.asGiven : last;
}

async function* piecesOf(
  entries: AsyncIterable<TarEntry>,
  reader: BlockReader,
  flow: Flow,
  { signal }: { signal: AbortSignal },
): Pieces {
  const blocks = fetchAhead(
    seekAhead(slicesOf(entries, reader), (entry) => seek(entry, reader)),
    (slice, options) => fetchSought(slice, slice.root, reader, options),
    flow,
    { signal },
  );
  for await (const { slice, block } of blocks) {
    const { raw } = slice;
    if (raw === undefined) {
      yield pieceOf(slice, block);
      continue;
    }
    const sizeBytes = block.bytes.length;
    const header = Buffer.concat([raw.before, tarHeader({ ...raw.entry, sizeBytes })]);
    yield* framed(header, block, tarPadding(sizeBytes));
  }
}

async function* slicesOf(
  entries: AsyncIterable<TarEntry>,
  reader: BlockReader,
): AsyncGenerator<TarSlice, void, undefined> {
  let padding: Uint8Array = new Uint8Array(); // goes with the header that follows
  for await (const entry of entries) {
    const { target, sizeBytes } = entry;
    const root: LooseRoot = target.kind === 'identity' ? target : { cid: target.cid };
    const before = padding;
    padding = tarPadding(sizeBytes ?? 0);
    if (sizeBytes === undefined) {
      if (target.kind === 'identity') throw new Error('an identity CID says its size');
      const leaf = { cid: target.cid, kind: 'leaf', sizeBytes: 0, offset: 0 } as const;
      yield { ...sliceOf(leaf), root, raw: { entry, before } };
      continue;
    }
    const header = tarHeader({ ...entry, sizeBytes });
    yield { ...inline(Buffer.concat([before, header])), root };
    if (target.kind === 'identity' && target.codec === 'raw')
      yield { ...inline(target.bytes), root };
    else if (entry.kind === 'file' && sizeBytes > 0)
      for await (const slice of slicesIn(root, { start: 0, end: sizeBytes - 1 }, reader))
        yield { ...slice, root };
  }
  yield { ...inline(Buffer.concat([padding, TAR_END])), root: { bytes: TAR_END } };
}

const sliceOf = (entry: DagEntry): Slice => ({ entry, from: 0, to: entry.sizeBytes });

/** Bytes that are here already; their name is never used. */
const inline = (bytes: Uint8Array): Slice =>
  sliceOf({ cid: '' as Cid, kind: 'leaf', sizeBytes: bytes.length, offset: 0, inline: bytes });

/** Reads the first entries before it gives any. */
async function* readAhead(
  entries: AsyncGenerator<TarEntry, void, undefined>,
): AsyncGenerator<TarEntry, void, undefined> {
  const first: TarEntry[] = [];
  let isOver = false;
  try {
    while (!isOver && first.length < ENTRIES_AHEAD) {
      const next = await entries.next();
      if (next.done === true) isOver = true;
      else first.push(next.value);
    }
    yield* first;
    if (!isOver) yield* entries;
  } finally {
    await entries.return();
  }
}

function headersOf(
  { call: { query }, path, resolved: { target, roots } }: IpfsAsk,
  tag: string,
  isByAccept: boolean,
): Record<string, string> {
  return {
    'accept-ranges': 'none',
    'cache-control': IMMUTABLE,
    'content-disposition': contentDisposition(
      'attachment',
      checkedName(query.filename) ?? `${target.asGiven}.tar`,
    ),
    ...(isByAccept ? { 'content-location': locationOf(path, { format: 'tar' }) } : {}),
    'content-type': TAR_TYPE,
    // A weak one, as the public gateways have it: another version may pack the same otherwise.
    etag: `W/${tag}`,
    'x-content-type-options': 'nosniff',
    ...pathHeaders(path, roots),
  };
}
