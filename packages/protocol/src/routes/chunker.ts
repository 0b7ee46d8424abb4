import * as z from 'zod';
import { UploadReply, UploadsReply } from '../file.ts';
import { REPLICAS_DEFAULT, REPLICAS_MAX } from '../pin.ts';
import { BYTES, route } from '../route.ts';

/** Copies that an upload waits for when nobody says otherwise. */
export const COPIES_DEFAULT = 2;

/** What an upload may ask for; both are answered truthfully, whatever was asked. */
export const UploadQuery = z.object({
  /** Copies of each block to keep. */
  replicas: z.coerce.number().int().min(1).max(REPLICAS_MAX).default(REPLICAS_DEFAULT),
  /** Confirmed copies to wait for; at most `replicas` and the number of members. */
  copies: z.coerce.number().int().min(0).max(REPLICAS_MAX).default(COPIES_DEFAULT),
  /** When the file ends by itself (RFC 3339); never without. */
  expiresAt: z.iso.datetime({ offset: true }).optional(),
});
export type UploadQuery = z.infer<typeof UploadQuery>;

export const chunkerRoutes = {
  addFile: route({
    service: 'chunker',
    audience: 'public',
    method: 'POST',
    path: '/files',
    summary:
      'Uploads: a multipart form with one or more `file` parts, or a raw body with ?name=. 201 when the copies asked for are confirmed, 202 when they are still spreading.',
    params: z.object({}),
    query: UploadQuery.extend({ name: z.string().optional() }),
    body: BYTES,
    reply: z.union([UploadReply, UploadsReply]),
  }),
  putFile: route({
    service: 'chunker',
    audience: 'public',
    method: 'PUT',
    path: '/files/:name',
    summary: 'Uploads a raw body under a name (curl -T).',
    params: z.object({ name: z.string() }),
    query: UploadQuery,
    body: BYTES,
    reply: UploadReply,
  }),
} as const;
