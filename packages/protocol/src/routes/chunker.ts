import * as z from 'zod';
import { DateText, YesNo } from '../bounded.ts';
import { AnyCid } from '../cid.ts';
import { FileName } from '../file-name.ts';
import { DirectoryReply, ImportReply, UploadReply, UploadsReply } from '../file.ts';
import { REPLICAS_DEFAULT, REPLICAS_MAX } from '../pin.ts';
import { BYTES, route } from '../route.ts';
import { Codec } from './storage.ts';

/** Copies that an upload waits for when nobody says otherwise. */
export const COPIES_DEFAULT = 2;

/** The wishes of an upload; the answer states what was reached of them. */
export const UploadQuery = z.object({
  /** Copies of each block to keep. */
  replicas: z.coerce.number().int().min(1).max(REPLICAS_MAX).default(REPLICAS_DEFAULT),
  /** Confirmed copies to wait for; at most `replicas` and the number of members. */
  copies: z.coerce.number().int().min(0).max(REPLICAS_MAX).default(COPIES_DEFAULT),
  /** When the file expires (RFC 3339); by default never. */
  expiresAt: DateText.meta({ description: 'in the future' }).optional(),
});
export type UploadQuery = z.infer<typeof UploadQuery>;

/** Mode and time of last change (UnixFS 1.5), spelled as Kubo's clients do. They change the CID. */
export const AttributesQuery = z.object({
  /** Permission bits in octal, such as 0644. */
  mode: z
    .string()
    .regex(/^[0-7]{1,5}$/)
    .refine((mode) => Number.parseInt(mode, 8) <= 0o7777)
    .optional(),
  /** Seconds since 1970; before it, negative. */
  mtime: z
    .string()
    .regex(/^-?\d{1,15}$/)
    .optional(),
  'mtime-nsecs': z.coerce.number().int().min(0).max(999_999_999).optional(),
});
export type AttributesQuery = z.infer<typeof AttributesQuery>;

/** Gateways that one request may name. Past it: 400. */
export const GATEWAYS_MAX = 8;

/** A DAG to be kept from now on, and where to look for blocks that no member has. */
export const PinRequest = z.strictObject({
  /** In any spelling. */
  cid: AnyCid,
  /** Default: the CID. */
  name: FileName.optional(),
  ...UploadQuery.shape,
  /** Origins of trustless gateways, such as `https://ipfs.example`; those alone that the operator allows. */
  gateways: z
    .array(z.url({ protocol: /^https?$/ }).max(2048))
    .max(GATEWAYS_MAX)
    .default([]),
});
export type PinRequest = z.infer<typeof PinRequest>;

/** Progress of a form of Kubo's clients while it is added: a line of JSON each. */
export const KuboAddEvent = z.union([
  /** Bytes of a file that came in so far; only when progress was asked for. */
  z.strictObject({ received: z.object({ path: z.string(), sizeBytes: z.int().nonnegative() }) }),
  /** A file by itself, a directory, or what is in one. A file without a name has no path either. */
  z.strictObject({
    added: z.object({ path: z.string(), cid: AnyCid, treeSizeBytes: z.int().nonnegative() }),
  }),
  /** The last line, when the rest of the form was not added. */
  z.strictObject({ failed: z.object({ detail: z.string() }) }),
]);
export type KuboAddEvent = z.infer<typeof KuboAddEvent>;

/** The outcome of each part of a form of `block/put` or `dag/import`: a line of JSON each. */
export const KuboImportEvent = z.union([
  z.strictObject({
    imported: ImportReply.extend({
      /** As the sender spells them: in version 0 of a CID, say. */
      roots: z.array(z.string()),
    }),
  }),
  /** The last line, when the rest of the form was not imported. */
  z.strictObject({ failed: z.object({ detail: z.string() }) }),
]);
export type KuboImportEvent = z.infer<typeof KuboImportEvent>;

export const chunkerRoutes = {
  addFile: route({
    service: 'chunker',
    audience: 'public',
    method: 'POST',
    path: '/files',
    summary:
      'Uploads: a multipart form with one or more `file` parts, or a raw body with ?name= (and ?mode= and ?mtime=, when the file is to carry them). 201 when the copies asked for are confirmed, 202 when they are still spreading.',
    params: z.object({}),
    query: UploadQuery.extend({ name: FileName.optional(), ...AttributesQuery.shape }),
    body: BYTES,
    bodyTypes: ['multipart/form-data', '*/*'],
    reply: z.union([UploadReply, UploadsReply]),
  }),
  putFile: route({
    service: 'chunker',
    audience: 'public',
    method: 'PUT',
    path: '/files/:name',
    summary: 'Uploads a raw body under a name (curl -T).',
    params: z.object({ name: FileName }),
    query: UploadQuery,
    body: BYTES,
    reply: UploadReply,
  }),
  addDirectory: route({
    service: 'chunker',
    audience: 'public',
    method: 'POST',
    path: '/directories',
    summary:
      'Uploads a directory: a form whose `file` parts have relative paths as names; a field called `file?mode=0644&mtime=1700000000` states what UnixFS 1.5 keeps. With ?name= they become a new directory of that name, else they must share their first segment. 201 or 202 as for a file.',
    params: z.object({}),
    query: UploadQuery.extend({
      name: FileName.optional(),
      /** File names in the form are percent-encoded paths, as Kubo's clients write them. */
      encoded: YesNo.default(false),
      /** Answers each entry of the directory as well. */
      items: YesNo.default(false),
    }),
    body: BYTES,
    bodyTypes: ['multipart/form-data'],
    reply: DirectoryReply,
  }),
  importBlocks: route({
    service: 'chunker',
    audience: 'public',
    method: 'POST',
    path: '/ipfs',
    summary:
      'Takes a CAR (application/vnd.ipld.car) or one block (application/vnd.ipld.raw) as it is, and keeps the DAGs of its roots, unless ?pin=false.',
    params: z.object({}),
    query: UploadQuery.extend({
      /** Of the root, when there is one. Default: the CID. */
      name: FileName.optional(),
      pin: YesNo.default(true),
      /** Of a lone block: how to read it. */
      codec: Codec.default('raw'),
      /** Of a lone block: refuses bytes that do not hash to it. */
      cid: AnyCid.optional(),
    }),
    body: BYTES,
    bodyTypes: ['application/vnd.ipld.car', 'application/vnd.ipld.raw'],
    reply: ImportReply,
  }),
  addKuboForm: route({
    service: 'chunker',
    audience: 'local',
    method: 'POST',
    path: '/kubo/add',
    summary:
      "Adds a form of Kubo's clients, for the gateway's RPC: parts whose names share their first segment are a directory, the others files. Answers a KuboAddEvent a line, while the form comes in.",
    params: z.object({}),
    query: z.object({
      /** The whole form is one directory. */
      wrap: YesNo.default(false),
      progress: YesNo.default(false),
    }),
    body: BYTES,
    bodyTypes: ['multipart/form-data'],
    reply: BYTES,
    replyTypes: ['application/x-ndjson'],
  }),
  importKuboForm: route({
    service: 'chunker',
    audience: 'local',
    method: 'POST',
    path: '/kubo/import',
    summary:
      "Imports a form of Kubo's clients, for the gateway's RPC: each part is a CAR or a block. Answers a KuboImportEvent a line, while the form comes in.",
    params: z.object({}),
    query: z.object({
      as: z.enum(['car', 'block']),
      /** Of blocks: how to read them. */
      codec: Codec.default('raw'),
      pin: YesNo,
    }),
    body: BYTES,
    bodyTypes: ['multipart/form-data'],
    reply: BYTES,
    replyTypes: ['application/x-ndjson'],
  }),
  addPin: route({
    service: 'chunker',
    audience: 'public',
    method: 'POST',
    path: '/pins',
    summary:
      'Keeps a DAG whose blocks members hold, or trustless gateways that are named and allowed. 201 or 202 as for a file.',
    params: z.object({}),
    query: z.object({}),
    body: PinRequest,
    reply: UploadReply,
  }),
} as const;
