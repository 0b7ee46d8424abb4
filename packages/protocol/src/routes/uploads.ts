/**
 * Resumable uploads: tus 1.0 (https://tus.io/protocols/resumable-upload), with its extensions creation,
 * creation-with-upload, creation-defer-length, termination and expiration; and how one is doing, as JSON.
 */
import * as z from 'zod';
import { FileName } from '../file-name.ts';
import { UploadProgress, UploadReply } from '../file.ts';
import { BYTES, type Route, route } from '../route.ts';
import { UploadQuery } from './chunker.ts';

/** Where resumable uploads are created (tus 1.0); each then has an address below it. */
export const RESUMABLE_PATH = '/uploads';
/** The only version of tus there is. */
export const TUS_VERSION = '1.0.0';
/** "All PATCH requests MUST use Content-Type: application/offset+octet-stream". */
export const TUS_BODY_TYPE = 'application/offset+octet-stream';

const none = z.object({});
const oneUpload = z.object({ id: z.string() });
const Count = z.string().regex(/^(?:0|[1-9]\d{0,15})$/);

const version = { 'tus-resumable': z.literal(TUS_VERSION) };
const creation = {
  /** Or `Upload-Defer-Length: 1`. */
  'upload-length': Count.optional(),
  'upload-defer-length': z.literal('1').optional(),
  'upload-metadata': z
    .string()
    .regex(/^[!-+\--~]+(?: [\w+/=]*)?(?:,[!-+\--~]+(?: [\w+/=]*)?)*$/)
    .meta({
      description:
        'pairs with commas between, each a key, a blank and a value in Base64; `filename` names the file',
    })
    .optional(),
};

const shared = {
  service: 'chunker',
  audience: 'public',
  // Of who uploads; also giving up an upload of one's own, and asking how far it is.
  right: 'write',
  reply: BYTES,
  replyTypes: [],
  problemTypes: ['text/plain'],
} as const satisfies Partial<Route>;

export const uploadRoutes = {
  create: route({
    ...shared,
    method: 'POST',
    path: RESUMABLE_PATH,
    summary:
      'Creates a resumable upload (tus 1.0), also with its first bytes. 201, and its address in Location.',
    params: none,
    query: z.object({
      ...UploadQuery.shape,
      name: FileName.optional(),
      /** Of the whole file: it is refused when its bytes have another. */
      sha256: z
        .string()
        .regex(/^[\da-fA-F]{64}$/)
        .optional(),
    }),
    headers: z.object({ ...version, ...creation }),
    body: BYTES,
    bodyTypes: [TUS_BODY_TYPE],
    replyHeaders: ['Location', 'Tus-Resumable'],
  }),
  describeAll: route({
    ...shared,
    right: 'none',
    method: 'OPTIONS',
    path: RESUMABLE_PATH,
    summary: 'Which version and which extensions of tus there are, and how long a file may be.',
    params: none,
    query: none,
    body: undefined,
    replyHeaders: ['Tus-Version', 'Tus-Extension', 'Tus-Max-Size'],
  }),
  state: route({
    service: 'chunker',
    audience: 'public',
    method: 'GET',
    path: `${RESUMABLE_PATH}/:id`,
    right: 'write',
    summary: 'How far a resumable upload is, and its file once that is kept.',
    params: oneUpload,
    query: none,
    body: undefined,
    reply: z.union([UploadReply, UploadProgress]),
  }),
  offset: route({
    ...shared,
    method: 'HEAD',
    path: `${RESUMABLE_PATH}/:id`,
    summary: 'The byte at which an upload is resumed (tus 1.0).',
    params: oneUpload,
    query: none,
    headers: z.object(version),
    body: undefined,
    replyHeaders: ['Upload-Offset', 'Tus-Resumable'],
  }),
  append: route({
    ...shared,
    method: 'PATCH',
    path: `${RESUMABLE_PATH}/:id`,
    summary:
      'Adds bytes to an upload at its offset (tus 1.0). Its answer names the file (X-Cid, X-Sha256) once that is kept.',
    params: oneUpload,
    query: none,
    headers: z.object({
      ...version,
      'upload-offset': Count,
      /** Of an upload whose length was deferred. */
      'upload-length': Count.optional(),
    }),
    body: BYTES,
    bodyTypes: [TUS_BODY_TYPE],
    replyHeaders: ['Upload-Offset', 'Tus-Resumable'],
  }),
  end: route({
    ...shared,
    method: 'DELETE',
    path: `${RESUMABLE_PATH}/:id`,
    summary: 'Gives an upload up (tus 1.0).',
    params: oneUpload,
    query: none,
    headers: z.object(version),
    body: undefined,
    replyHeaders: ['Tus-Resumable'],
  }),
  override: route({
    ...shared,
    method: 'POST',
    path: `${RESUMABLE_PATH}/:id`,
    summary: 'PATCH and DELETE, for those who can send neither (tus 1.0).',
    params: oneUpload,
    query: none,
    headers: z.object({
      ...version,
      'x-http-method-override': z.enum(['PATCH', 'DELETE']),
      'upload-offset': Count.optional(),
    }),
    body: BYTES,
    bodyTypes: [TUS_BODY_TYPE],
    replyHeaders: ['Tus-Resumable'],
  }),
  describe: route({
    ...shared,
    right: 'none',
    method: 'OPTIONS',
    path: `${RESUMABLE_PATH}/:id`,
    summary: 'The same as of /uploads.',
    params: oneUpload,
    query: none,
    body: undefined,
    replyHeaders: ['Tus-Version', 'Tus-Extension', 'Tus-Max-Size'],
  }),
} as const;
