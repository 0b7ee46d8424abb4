/** `/ipfs/{cid}/{path}/`: a directory, as its `index.html`, or as a page that lists it. */
import {
  findEntry,
  listEntries,
  type NamedLink,
  type NodeLink,
  readTarget,
  targetOf,
  type UnixfsNode,
} from '@shoal/blocks';
import { isNotModified } from '@shoal/chassis';
import {
  PAGE_END,
  PAGE_POLICY,
  PAGE_VERSION,
  type PageEntry,
  pageHead,
  type PagePath,
  pageRow,
} from './directory-page.ts';
import { answerHead, type Answered, type IpfsAsk } from './request/ask.ts';
import { type IpfsFileDeps, sendFile } from './file.ts';
import { pathHeaders } from './request/headers.ts';
import type { Pieces } from '../file/pieces.ts';

const INDEX = 'index.html';
/** Rows that are made at once, and sent as one piece. */
const ROWS_AT_ONCE = 64;
/** Entries of one page whose own nodes are read to tell directories from files. */
const LOOKED_INTO_MAX = 1024;

/** Answers a GET or HEAD with a directory. */
export async function sendDirectory(
  ask: IpfsAsk,
  node: UnixfsNode,
  deps: IpfsFileDeps,
): Promise<Answered> {
  const { call, path, reader, resolved } = ask;
  if (!path.hasFinalSlash) {
    // Without it, relative links of a page would lead beside the directory.
    const query = path.search === '' ? '' : `?${path.search}`;
    await call.reply.redirect(`${path.prefix}${path.asked}/${query}`, 301);
    return { kind: 'directory', outcome: 'complete' };
  }
  const { asGiven } = resolved.target;
  const index = await findEntry(node, INDEX, reader.getNode);
  const file = index === undefined ? undefined : await fileOf(index, ask);
  if (file !== undefined) {
    // The directory's ETag, since the address is the directory's.
    const found = { ...file, etag: `"${asGiven}"`, name: INDEX, pin: undefined };
    return { kind: 'file', outcome: await sendFile(ask, found, deps) };
  }
  // Behind a proxy's path the page has other links.
  const place = Buffer.from(path.prefix).toString('base64url');
  const etag = `"DirIndex-${PAGE_VERSION}_CID-${asGiven}${place === '' ? '' : `_${place}`}"`;
  const headers = {
    // Not immutable: the page may look different tomorrow, though it lists the same.
    'cache-control': 'public, max-age=604800, stale-while-revalidate=2678400',
    'content-security-policy': PAGE_POLICY,
    'content-type': 'text/html; charset=utf-8',
    etag,
    vary: 'X-Forwarded-Prefix',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    ...pathHeaders(path, resolved.roots),
  };
  if (isNotModified(call.request, [etag, `"${asGiven}"`])) {
    answerHead(call, 304, headers);
    return { kind: 'directory', outcome: 'not-modified' };
  }
  if (call.request.method === 'HEAD') {
    answerHead(call, 200, headers);
    return { kind: 'directory', outcome: 'complete' };
  }
  const outcome = await deps.sender.send(call, async () => ({
    pieces: pageOf(node, ask),
    headOf: () => ({ status: 200, headers }),
    lengthBytes: undefined,
  }));
  return { kind: 'directory', outcome };
}

/** The file that a link names; undefined when it names anything else. */
async function fileOf(link: NodeLink, { reader }: IpfsAsk) {
  const target = targetOf(link);
  const node = await readTarget(target, reader.getNode);
  const isFile = node === undefined || node.type === 'file';
  return isFile ? { target, node } : undefined;
}

/** The page, as the directory is read: a sharded one may have more entries than memory should hold. */
async function* pageOf(node: UnixfsNode, { path, reader }: IpfsAsk): Pieces {
  const page: PagePath = {
    prefix: path.prefix,
    root: path.root.asGiven,
    segments: path.segments,
  };
  const piece = (text: string) => ({ bytes: Buffer.from(text), release: () => {} });
  let rows: NamedLink[] = [];
  let lookInto = LOOKED_INTO_MAX;
  const render = async (): Promise<string> => {
    const entries = await Promise.all(
      rows.map((row, index) => entryOf(row, index < lookInto ? reader.getNodeHere : undefined)),
    );
    lookInto -= rows.length;
    rows = [];
    return entries.map((entry) => pageRow(page, entry)).join('');
  };
  yield piece(pageHead(page));
  for await (const entry of listEntries(node, reader.getNode)) {
    rows.push(entry);
    if (rows.length === ROWS_AT_ONCE) yield piece(await render());
  }
  yield piece(`${await render()}${PAGE_END}`);
}

/** An entry's own node says whether it is a directory; one whose node is not here is shown as a file. */
async function entryOf(
  { name, link }: NamedLink,
  getNode: IpfsAsk['reader']['getNode'] | undefined,
): Promise<PageEntry> {
  const cid = link.cid.toString();
  const entry = { name, cid, treeSizeBytes: link.treeSizeBytes };
  if (getNode === undefined) return { ...entry, isDirectory: false };
  try {
    const type = (await readTarget(targetOf(link), getNode))?.type;
    return { ...entry, isDirectory: type === 'directory' || type === 'shard' };
  } catch {
    return { ...entry, isDirectory: false }; // absent, another codec, or no node: the page shows it all the same
  }
}
