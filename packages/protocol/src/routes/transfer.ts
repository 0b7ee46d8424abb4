import * as z from 'zod';
import { CIDS_PER_BATCH_MAX } from '../bytes.ts';
import { Cid, FileHash } from '../cid.ts';
import { Lease } from '../jobs.ts';
import { BYTES, route } from '../route.ts';
import { Bits } from './storage.ts';

const none = z.object({});

export const transferRoutes = {
  getFile: route({
    service: 'transfer',
    audience: 'public',
    method: 'GET',
    path: '/files/:hash',
    summary: 'A file by its CID or sha-256 (also HEAD, Range, If-Range, If-None-Match).',
    params: z.object({ hash: FileHash }),
    query: z.object({ download: z.string().optional(), filename: z.string().optional() }),
    body: undefined,
    reply: BYTES,
  }),
  offerReplicas: route({
    service: 'transfer',
    audience: 'peer',
    method: 'POST',
    path: '/replicas',
    summary:
      'Offers blocks that the caller holds. This peer pulls from the caller those that it lacks, makes them durable, and answers a bit for each that it now holds.',
    params: none,
    query: none,
    body: z.object({ lease: Lease, cids: z.array(Cid).min(1).max(CIDS_PER_BATCH_MAX) }),
    reply: Bits,
  }),
  releaseReplicas: route({
    service: 'transfer',
    audience: 'peer',
    method: 'DELETE',
    path: '/replicas/:lease',
    summary: 'The upload that offered blocks under this lease was given up.',
    params: z.object({ lease: Lease }),
    query: none,
    body: undefined,
    reply: z.object({ deletedBlocks: z.int().nonnegative() }),
  }),
} as const;
