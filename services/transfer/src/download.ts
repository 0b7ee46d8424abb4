/** `GET|HEAD /files/:hash`: a pinned file, by its CID or its sha-256. */
import { type Call, checkHash, relativeReference } from '@shoal/chassis';
import {
  type FileHash,
  RangeNotSatisfiable,
  type transferRoutes,
  wantsSha256,
} from '@shoal/protocol';
import { linkHeader } from './describe/alternates.ts';
import { headOf, isYes, rangeOf } from './answer/file-answer.ts';
import {
  contentDisposition,
  contentHeaders,
  contentType,
  etagOf,
  pinHeaders,
} from './answer/file-headers.ts';
import type { PinLookups } from './peers/pins.ts';
import type { MemberView } from './peers/member-view.ts';
import { openPinnedFile, type PinnedFileDeps } from './file/pinned-file.ts';
import { select } from './answer/range.ts';
import type { Sender } from './answer/send-body.ts';

type GetFile = typeof transferRoutes.getFile;
type FileCall = Call<GetFile['params'], GetFile['query'], undefined>;

export interface DownloadDeps extends PinnedFileDeps {
  readonly pins: Pick<PinLookups, 'find'>;
  readonly view: MemberView;
  readonly sender: Sender;
}

/** The handler of `GET|HEAD /files/:hash`. */
export function createDownload(deps: DownloadDeps): (call: FileCall) => Promise<unknown> {
  return async (call) => {
    const { params, query, request, reply, signal } = call;
    await deps.sender.send(call, async (flow) => {
      const find = (hash: FileHash) => deps.pins.find(hash, { signal });
      await checkHash(request, params.hash, find);
      const pin = await find(params.hash);
      if (pin.kind !== 'file') {
        // Its address below /ipfs/: a directory's page, or a DAG's own blocks.
        const path = pin.kind === 'directory' ? `/ipfs/${pin.root}/` : `/ipfs/${pin.root}`;
        await reply.redirect(relativeReference(request.url, path), 302);
        return undefined;
      }
      const selection = select(request, etagOf(pin), pin.sizeBytes);
      const range = rangeOf(selection, pin.sizeBytes);
      if (selection.kind === 'unsatisfiable') {
        void reply.header('content-range', `bytes */${pin.sizeBytes}`);
        throw new RangeNotSatisfiable({ sizeBytes: pin.sizeBytes });
      }
      const name = query.filename ?? pin.name;
      const kind = isYes(query.download) ? 'attachment' : 'inline';
      const head = headOf(selection, pin.sizeBytes, {
        ...contentHeaders({
          etag: etagOf(pin),
          type: contentType(name),
          disposition: contentDisposition(kind, name),
        }),
        ...pinHeaders(pin, {
          link: linkHeader(pin, deps.view, request),
          wantsDigest: wantsSha256(request.headers['want-repr-digest'], { unasked: true }),
        }),
      });
      if (request.method === 'HEAD' || selection.kind === 'not-modified' || pin.sizeBytes === 0) {
        reply.hijack();
        reply.raw.writeHead(head.status, head.headers).end();
        return undefined;
      }
      const pieces = await openPinnedFile(pin, range, deps, flow, { signal });
      return { pieces, headOf: () => head, lengthBytes: range.end - range.start + 1 };
    });
  };
}
