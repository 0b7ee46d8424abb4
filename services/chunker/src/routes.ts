/** The chunker's routes: from what a request says to what is taken in. */
import assert from 'node:assert/strict';
import type { Attributes } from '@shoal/blocks';
import { type Call, mount, type Mounting, relativeReference } from '@shoal/chassis';
import type { BYTES } from '@shoal/protocol';
import {
  chunkerRoutes,
  MediaTypeUnsupported,
  type UploadQuery,
  type UploadReply,
  formatSha256,
  wantsSha256,
} from '@shoal/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type * as z from 'zod';
import type { IntakeDeps } from './intake/intake.ts';
import { oneName, readAttributes, statedSha256 } from './request/stated.ts';
import { formEntries, formFiles } from './request/form-files.ts';
import { expiryOf, rawFile } from './request/read-body.ts';
import { createTakeRequest } from './request/take-request.ts';
import type { RequestLimits } from './request/take-request.ts';
import { upload } from './upload.ts';
import { uploadDirectory } from './directory/upload-directory.ts';

export interface ChunkerRoutesOptions extends RequestLimits {
  readonly formFilesMax: number;
  readonly directoryFilesMax: number;
}

type UploadCall = Call<z.ZodObject, typeof UploadQuery, typeof BYTES>;

export function mountChunker(
  mounting: Mounting,
  deps: IntakeDeps,
  options: ChunkerRoutesOptions,
): void {
  const take = createTakeRequest(deps, options);

  const takeRaw = async (call: UploadCall, name: string, attributes?: Attributes) => {
    const { request, reply, query } = call;
    const expectedSha256 = statedSha256(request.headers, { isWholeBody: true });
    const wishes = { ...query, name, expectedSha256, attributes, expiresAtMs: expiryOf(query) };
    const { files } = await take(call, ({ signal, onPinning, token }) =>
      upload(rawFile(request, wishes), { ...deps, onPinning, token }, { signal }),
    );
    const [file] = files;
    assert(file !== undefined, 'a raw body is one file');
    return described(file, request, reply);
  };

  mount(mounting, chunkerRoutes.putFile, (call) => takeRaw(call, call.params.name));
  mount(mounting, chunkerRoutes.addFile, async (call) => {
    const { request, reply, query } = call;
    if (!request.isMultipart()) return takeRaw(call, oneName([query.name]), readAttributes(query));
    const expectedSha256 = statedSha256(request.headers, { isWholeBody: false });
    const wishes = { ...query, expectedSha256, expiresAtMs: expiryOf(query) };
    const { formFilesMax } = options;
    const { files } = await take(call, ({ onPinning, token, ...stop }) =>
      upload(
        formFiles(request, wishes, { formFilesMax, ...stop }),
        { ...deps, onPinning, token },
        stop,
      ),
    );
    const [file] = files;
    if (file === undefined || files.length > 1) return { files: [...files] };
    return described(file, request, reply);
  });
  mount(mounting, chunkerRoutes.addDirectory, async (call) => {
    const { request, reply, query } = call;
    if (!request.isMultipart()) throw new MediaTypeUnsupported({ expected: 'multipart/form-data' });
    const { directoryFilesMax: entriesMax } = options;
    const { encoded: isEncoded, items: withItems, name, replicas, copies } = query;
    const wishes = { isEncoded, name, replicas, copies, expiresAtMs: expiryOf(query) };
    const { reply: directory } = await take(call, ({ onPinning, token, ...stop }) =>
      uploadDirectory(
        formEntries(request, wishes, { entriesMax, ...stop }),
        { entriesMax, withItems },
        { ...deps, onPinning, token },
        stop,
      ),
    );
    return described(directory, request, reply);
  });
}

/** The answer for one file, with the headers that say where it is and, if asked, what it hashes to. */
function described<File extends UploadReply>(
  file: File,
  { headers, url }: FastifyRequest,
  reply: FastifyReply,
): File {
  void reply.header('location', relativeReference(url, file.url));
  if (file.sha256 !== undefined && wantsSha256(headers['want-repr-digest'], { unasked: false }))
    void reply.header('repr-digest', formatSha256(file.sha256));
  return file;
}
