/**
 * `GET|HEAD /ipfs/*`: the IPFS gateway (specs.ipfs.tech/http-gateways): blocks and CARs for clients
 * that check them, files, directories and TARs for all others.
 *
 * Every block that any member has is answered here: peers are listed as providers of whole files, and
 * clients drop a provider that lacks one block of it. A block that nobody has is 404, never 5xx, which clients
 * take for a sick host.
 */
import { readTarget, resolvePath } from '@shoal/blocks';
import {
  checkRoot,
  type Log,
  mountRaw,
  type Mounting,
  type PeerClient,
  proxyPath,
} from '@shoal/chassis';
import {
  BlockAbsent,
  Cid,
  GaveWay,
  Problem,
  RequestInvalid,
  transferRoutes,
} from '@shoal/protocol';
import { createCarExport } from './archive/car-export.ts';
import type { Answered, IpfsAsk, IpfsCall, IpfsKind } from './request/ask.ts';
import { sendDirectory } from './directory.ts';
import { type IpfsFileDeps, sendFile } from './file.ts';
import { CORS_HEADERS } from './request/headers.ts';
import { readIpfsPath } from './request/path.ts';
import type { Metrics } from '../metrics.ts';
import { pinIfKnown, whyGone } from '../peers/pins.ts';
import { type Form, negotiate, readsJson } from './request/negotiate.ts';
import { linksOfNode } from '../fetch/read-budget.ts';
import { createRawBlock } from './raw-block.ts';
import { sendTar } from './archive/tar-export.ts';

const PREFIX = '/ipfs/';

export interface IpfsDeps extends IpfsFileDeps {
  readonly client: PeerClient;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** How much is sent at once, and to how slow a reader. */
export type IpfsOptions = Parameters<typeof createRawBlock>[0] &
  Omit<Parameters<typeof createCarExport>[0], 'sender'>;

export function mountIpfs(mounting: Mounting, deps: IpfsDeps, options: IpfsOptions): void {
  const { app } = mounting;
  app.addHook('onRequest', async ({ url }, reply) => {
    if (!url.startsWith(PREFIX)) return;
    // On the response itself: most answers below are written without the framework.
    for (const [name, value] of Object.entries(CORS_HEADERS)) reply.raw.setHeader(name, value);
    reply.raw.setHeader('vary', 'accept');
  });
  app.options(`${PREFIX}*`, async (_, reply) =>
    reply.code(204).header('access-control-max-age', '86400').send(),
  );
  mountRaw(mounting, transferRoutes.getIpfs, createIpfs(deps, options));
}

function createIpfs(deps: IpfsDeps, options: IpfsOptions): (call: IpfsCall) => Promise<unknown> {
  const { metrics, sender } = deps;
  const sendBlock = createRawBlock(options);
  const sendCar = createCarExport({ ...options, sender });

  const answer = async (call: IpfsCall, form: Form): Promise<Answered> => {
    const ask = await understand(call, form, deps);
    if (form.kind === 'raw') return { kind: 'raw', outcome: await sendBlock(ask, form) };
    if (form.kind === 'car') return { kind: 'car', outcome: await sendCar(ask, form) };
    if (form.kind === 'tar') return { kind: 'tar', outcome: await sendTar(ask, form, deps) };
    return answerUnixfs(ask, deps);
  };
  return async (call) => {
    let kind: IpfsKind = 'file';
    try {
      const form = negotiate(call.query, call.request.headers.accept);
      kind = form.kind;
      const answered = await answer(call, form);
      metrics.ipfsRequests.inc({ ...answered });
      return undefined;
    } catch (cause) {
      const error = kind === 'raw' ? cause : await orGone(cause, call, deps);
      metrics.ipfsRequests.inc({
        kind,
        outcome: outcomeOf(error, call.signal),
      });
      return refuse(call, error);
    }
  };
}

/** Reads the path and follows it. @throws RequestInvalid, PathNotFound, BlockAbsent, BlockUnavailable */
async function understand(
  call: IpfsCall,
  { kind }: Form,
  { client, any, log }: IpfsDeps,
): Promise<IpfsAsk> {
  const { request, signal } = call;
  const path = readIpfsPath(request.url, proxyPath(request.headers));
  // One that is registered for a whole CID would answer for every page below it.
  if (request.headers['service-worker'] === 'script')
    throw new RequestInvalid({ reason: 'nothing below /ipfs/ is served as a service worker' });
  const { root, segments } = path;
  checkRoot(request, root.kind === 'identity' ? undefined : root.cid);
  // Blocks are asked for one by one and by the thousand: for those no pin is looked up.
  const pin =
    kind === 'raw' || root.kind === 'identity'
      ? undefined
      : await pinIfKnown(root.cid, { client, log }, { signal });
  const isLocalOnly = /(?:^|,)\s*only-if-cached\b/i.test(request.headers['cache-control'] ?? '');
  const { socket } = call.reply.raw;
  const sentBefore = socket?.bytesWritten ?? 0;
  const sentBytes = () => (socket?.bytesWritten ?? 0) - sentBefore;
  const { client: by } = request;
  const isPinned = pin !== undefined;
  const reader = any.open({ signal, client: by, isLocalOnly, isPinned, sentBytes });
  const resolved = await resolvePath(root, segments, reader.getNode);
  return { call, path, resolved, reader, pin: segments.length === 0 ? pin : undefined };
}

/** As the file or directory that it is. */
async function answerUnixfs(ask: IpfsAsk, deps: IpfsDeps): Promise<Answered> {
  const { call, path, reader, resolved, pin } = ask;
  const { target } = resolved;
  const node = await readTarget(target, reader.getNode);
  using links = reader.holdLinks(); // the node is in memory until its last byte is sent
  links.set(linksOfNode(node?.links.length ?? 0));
  if (node?.type === 'directory' || node?.type === 'shard')
    return await sendDirectory(ask, node, deps);
  if (path.hasFinalSlash) {
    const query = path.search === '' ? '' : `?${path.search}`;
    await call.reply.redirect(`${path.prefix}${path.asked.replace(/\/+$/, '')}${query}`, 301);
    return { kind: 'file', outcome: 'complete' };
  }
  const found = { target, node, etag: `"${target.asGiven}"`, name: path.segments.at(-1), pin };
  return { kind: 'file', outcome: await sendFile(ask, found, deps) };
}

/** A deleted file is 410 rather than 404; blocks by themselves stay 404, for the reason in `understand`. */
async function orGone(
  error: unknown,
  { signal }: IpfsCall,
  { client }: IpfsDeps,
): Promise<unknown> {
  if (!(error instanceof BlockAbsent)) return error;
  return (await whyGone(Cid.parse(error.fields.cid), client, { signal })) ?? error;
}

/** Plain words; a client that names JSON gets the problem itself, from the server's own handler. */
function refuse({ request, reply }: IpfsCall, error: unknown): unknown {
  if (reply.raw.headersSent || !(error instanceof Problem)) throw error;
  void reply.header('cache-control', 'no-store');
  if (readsJson(request.headers.accept)) throw error;
  if (error.status === 503) void reply.header('retry-after', '1');
  const text = `${error.title}: ${error.message}\n`;
  return reply.code(error.status).type('text/plain; charset=utf-8').send(text);
}

function outcomeOf(
  error: unknown,
  { aborted, reason }: AbortSignal,
): 'reader-left' | 'gave-way' | 'absent' | 'refused' | 'unavailable' | 'failed' {
  if (aborted) return reason instanceof GaveWay ? 'gave-way' : 'reader-left';
  const status = error instanceof Problem ? error.status : 500;
  if (status === 404 || status === 410 || status === 412) return 'absent';
  if (status < 500) return 'refused';
  return status === 503 ? 'unavailable' : 'failed';
}
