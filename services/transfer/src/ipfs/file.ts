/** `/ipfs/{cid}/{path}`: the bytes of a file, whichever way its DAG is laid out. */
import { type ReadCid, type UnixfsNode } from '@shoal/blocks';
import { isNotModified } from '@shoal/chassis';
import {
  checkedName,
  FormatUnsupported,
  type Pin,
  RangeNotSatisfiable,
  wantsSha256,
} from '@shoal/protocol';
import { linkHeader } from '../describe/alternates.ts';
import { headOf, isYes, rangeOf } from '../answer/file-answer.ts';
import {
  contentDisposition,
  contentHeaders,
  pinHeaders,
  typeByName,
} from '../answer/file-headers.ts';
import type { ByteRange, Flow, Piece, Pieces } from '../file/pieces.ts';
import { answerHead, type IpfsAsk, type IpfsOutcome } from './request/ask.ts';
import { pathHeaders } from './request/headers.ts';
import { type LooseRoot, openLooseFile } from '../file/loose-file.ts';
import type { MemberView } from '../peers/member-view.ts';
import { openPinnedFile, type PinnedFileDeps } from '../file/pinned-file.ts';
import { select } from '../answer/range.ts';
import type { Body, Sender } from '../answer/send-body.ts';
import { sniff } from './sniff.ts';

/** Bytes that tell a type for sure. */
const TELLING_BYTES = 512;
const SYMLINK_TYPE = 'inode/symlink';
const UNKNOWN_TYPE = 'application/octet-stream';

export interface IpfsFileDeps extends PinnedFileDeps {
  readonly view: MemberView;
  readonly sender: Sender;
}

/** The file to send. */
export interface FoundFile {
  readonly target: ReadCid;
  /** Its node; undefined for a raw block. */
  readonly node: UnixfsNode | undefined;
  readonly etag: string;
  /** The last segment of its path. */
  readonly name: string | undefined;
  readonly pin: Pin | undefined;
}

/** A file's bytes, not yet opened. */
interface Content {
  readonly sizeBytes: number;
  readonly type?: string;
  /** Its first bytes, when they are here already. */
  readonly first?: Uint8Array;
  readonly open: (range: ByteRange, flow: Flow) => Promise<Pieces>;
  /** Gives it back when it is not sent after all. */
  readonly release: () => void;
}

/** Answers a GET or HEAD with a file. @throws Problem while nothing was sent. */
export async function sendFile(
  ask: IpfsAsk,
  file: FoundFile,
  deps: IpfsFileDeps,
): Promise<IpfsOutcome> {
  const { call } = ask;
  const { query, request, reply } = call;
  const name = checkedName(query.filename) ?? file.name ?? file.pin?.name;
  const headersFor = (type: string) => headersOf(ask, file, { name, type }, deps.view);
  if (isNotModified(request, [file.etag])) {
    answerHead(call, 304, headersFor(typeByName(name ?? '') ?? UNKNOWN_TYPE));
    return 'not-modified';
  }
  return deps.sender.send(call, async (flow): Promise<Body | undefined> => {
    const content = await contentOf(ask, file, deps);
    let isOpen = false;
    try {
      const { sizeBytes } = content;
      const selection = select(request, file.etag, sizeBytes);
      if (selection.kind === 'unsatisfiable') {
        void reply.header('content-range', `bytes */${sizeBytes}`);
        throw new RangeNotSatisfiable({ sizeBytes });
      }
      const range = rangeOf(selection, sizeBytes);
      const isHead = request.method === 'HEAD' || sizeBytes === 0;
      const known = content.type ?? typeByName(name ?? '') ?? typeOf(content.first);
      const head = (type: string) => headOf(selection, sizeBytes, headersFor(type));
      if (isHead) {
        const { status, headers } = head(known ?? (await peek(content, flow)));
        answerHead(call, status, headers);
        return undefined;
      }
      const lengthBytes = range.end - range.start + 1;
      // A range from the start shows the file's type by itself: the block is not fetched twice.
      const isTelling = known === undefined && range.start === 0;
      const tellingEnd = isTelling ? Math.min(TELLING_BYTES, sizeBytes) - 1 : 0;
      const type = isTelling ? undefined : (known ?? (await peek(content, flow)));
      const end = Math.max(range.end, tellingEnd);
      const pieces = await content.open({ start: range.start, end }, flow);
      isOpen = true;
      if (type !== undefined) return { pieces, headOf: () => head(type), lengthBytes };
      const first = await pieces.next();
      const sniffed = first.done === true ? UNKNOWN_TYPE : sniff(first.value.bytes);
      return { pieces: upTo(lengthBytes, first, pieces), headOf: () => head(sniffed), lengthBytes };
    } finally {
      if (!isOpen) content.release();
    }
  });
}

const typeOf = (first: Uint8Array | undefined): string | undefined =>
  first === undefined ? undefined : sniff(first);

/** How the bytes are got. @throws FormatUnsupported for what has none; BlockAbsent and the like. */
async function contentOf(
  { reader, call: { signal } }: IpfsAsk,
  { target, node, pin }: FoundFile,
  deps: IpfsFileDeps,
): Promise<Content> {
  if (node === undefined) {
    // A raw block does not say its size before it is here, and then all of it is.
    if (target.kind === 'identity') return inHand(target.bytes);
    const { bytes, release } = await reader.fetch(target.cid);
    return inHand(bytes, release);
  }
  if (node.type === 'symlink') return { ...inHand(node.data), type: SYMLINK_TYPE };
  const sizeBytes = node.fileSizeBytes;
  if (sizeBytes === undefined) throw new FormatUnsupported({ format: 'a file' });
  const isListed = pin?.kind === 'file' && pin.sizeBytes === sizeBytes && !reader.isLocalOnly;
  const root: LooseRoot = target.kind === 'identity' ? target : { cid: target.cid };
  return {
    sizeBytes,
    open: (range, flow) =>
      isListed
        ? openPinnedFile(pin, range, deps, flow, { signal })
        : openLooseFile(root, range, reader, flow, { signal }),
    release: () => {},
  };
}

function inHand(bytes: Uint8Array, release: () => void = () => {}): Content {
  const open = async ({ start, end }: ByteRange): Promise<Pieces> => {
    const part = bytes.subarray(start, end + 1);
    return (async function* one() {
      yield { bytes: part, release };
    })();
  };
  return { sizeBytes: bytes.length, first: bytes, open, release };
}

/** The type, by the file's first bytes. That they can't be had is no reason to refuse others of it. */
async function peek(content: Content, flow: Flow): Promise<string> {
  if (content.sizeBytes === 0) return sniff(new Uint8Array());
  const end = Math.min(TELLING_BYTES, content.sizeBytes) - 1;
  let pieces: Pieces | undefined;
  try {
    pieces = await content.open({ start: 0, end }, flow);
    const first = await pieces.next();
    if (first.done === true) return UNKNOWN_TYPE;
    const type = sniff(first.value.bytes);
    first.value.release();
    return type;
  } catch {
    return UNKNOWN_TYPE;
  } finally {
    await pieces?.return();
  }
}

/** The first bytes of what was opened for more. */
async function* upTo(
  lengthBytes: number,
  first: IteratorResult<Piece, void>,
  rest: Pieces,
): Pieces {
  let leftBytes = lengthBytes;
  let turn = first;
  try {
    while (turn.done !== true) {
      const { bytes, release } = turn.value;
      yield { bytes: bytes.subarray(0, leftBytes), release };
      leftBytes -= bytes.length;
      if (leftBytes <= 0) return;
      turn = await rest.next();
    }
  } finally {
    await rest.return();
  }
}

function headersOf(
  { call: { query, request }, path, resolved: { roots } }: IpfsAsk,
  { etag, pin }: FoundFile,
  { name, type }: { readonly name: string | undefined; readonly type: string },
  view: MemberView,
): Record<string, string> {
  const kind = isYes(query.download) ? 'attachment' : 'inline';
  const unnamed = kind === 'attachment' ? kind : undefined;
  const disposition = name === undefined ? unnamed : contentDisposition(kind, name);
  const wantsDigest = wantsSha256(request.headers['want-repr-digest'], { unasked: true });
  return {
    ...contentHeaders({ etag, type, disposition }),
    ...pathHeaders(path, roots),
    ...(pin === undefined
      ? {}
      : pinHeaders(pin, { link: linkHeader(pin, view, request), wantsDigest })),
  };
}
