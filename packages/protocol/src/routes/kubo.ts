/**
 * The part of Kubo's RPC that a gateway answers (docs.ipfs.tech/reference/kubo/rpc): its commands, and the options
 * that are looked at. An option that is not here is passed over, as Kubo passes over those of later versions.
 */
import * as z from 'zod';
import { BYTES, type Route, route } from '../route.ts';

/** Every command is below it. */
export const RPC_PREFIX = '/api/v0/';

/** A refusal in Kubo's form. */
export const RpcFailure = z.object({
  Message: z.string(),
  /** 1 when the command was called wrongly. */
  Code: z.int(),
  Type: z.literal('error'),
});
export type RpcFailure = z.infer<typeof RpcFailure>;

// As Go reads a flag; without a value it is a yes.
const Flag = z.string().regex(/^(?:|[01]|[TtFf]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$/);
const Yes = z.string().regex(/^(?:|1|[Tt]|[Tt][Rr][Uu][Ee])$/);
const No = z.string().regex(/^(?:0|[Ff]|[Ff][Aa][Ll][Ss][Ee])$/);
const Count = z.string().regex(/^\d{1,15}$/);
const Paths = z.array(z.string()).meta({ description: 'each a CID, or a path below one' });
const spelling = {
  'cid-base': z.literal('base32').optional(),
  'upgrade-cidv0-in-output': Flag.optional(),
};
const offline = { offline: Flag.optional() };

const JSON_TYPE = 'application/json';
const BYTES_TYPE = 'application/octet-stream';
const FORM_TYPE = 'multipart/form-data';

const command = <Q extends z.ZodObject>({
  name,
  ...rest
}: {
  readonly name: string;
  readonly summary: string;
  readonly query: Q;
  /** Whether its files or blocks come as a form; the arguments of others may. */
  readonly takesForm?: boolean;
  readonly replyTypes?: readonly string[];
}) => {
  const { takesForm = false, replyTypes = [JSON_TYPE], ...about } = rest;
  return route({
    ...about,
    service: 'gateway',
    audience: 'public',
    method: 'POST',
    path: `${RPC_PREFIX}${name}`,
    params: z.object({}),
    body: takesForm ? BYTES : undefined,
    bodyTypes: [FORM_TYPE],
    reply: BYTES,
    replyTypes,
    refusal: RpcFailure,
    token: 'always',
  } satisfies Route);
};

export const kuboRoutes = {
  add: command({
    name: 'add',
    summary:
      'Adds files and directories: parts of a form, whose names are percent-encoded paths. A line of JSON each.',
    query: z.object({
      ...spelling,
      'wrap-with-directory': Flag.optional(),
      progress: Flag.optional(),
      silent: Flag.optional(),
      pin: Yes.optional(),
      'cid-version': z.literal('1').optional(),
      'raw-leaves': Yes.optional(),
      chunker: z.literal('size-1048576').optional(),
      hash: z.literal('sha2-256').optional(),
      'max-file-links': z.literal('1024').optional(),
      'max-hamt-fanout': z.literal('256').optional(),
      'max-directory-links': z.literal('0').optional(),
      'empty-dirs': Yes.optional(),
      trickle: No.optional(),
      inline: No.optional(),
      'preserve-mode': No.optional(),
      'preserve-mtime': No.optional(),
      'only-hash': No.optional(),
      nocopy: No.optional(),
    }),
    takesForm: true,
  }),
  cat: command({
    name: 'cat',
    summary: 'The bytes of files, one behind the other; of a single one also a part.',
    query: z.object({
      arg: Paths.optional(),
      offset: Count.optional(),
      length: Count.optional(),
      ...offline,
    }),
    replyTypes: [BYTES_TYPE],
  }),
  get: command({
    name: 'get',
    summary: 'A file or directory as a TAR, or gzipped.',
    query: z.object({
      arg: Paths.optional(),
      archive: Flag.optional(),
      compress: Flag.optional(),
      /** 1 to 9; looked at for what is compressed. */
      'compression-level': z.string().optional(),
      ...offline,
    }),
    replyTypes: ['application/x-tar', 'application/gzip'],
  }),
  ls: command({
    name: 'ls',
    summary: 'What directories hold: name, CID, kind and size of each entry.',
    query: z.object({
      arg: Paths.optional(),
      stream: Flag.optional(),
      'resolve-type': Flag.optional(),
      size: Flag.optional(),
      ...offline,
      ...spelling,
    }),
  }),
  'block/get': command({
    name: 'block/get',
    summary: 'The bytes of a block.',
    query: z.object({ arg: Paths.optional(), ...offline }),
    replyTypes: [BYTES_TYPE],
  }),
  'block/put': command({
    name: 'block/put',
    summary: 'Stores blocks, each a part of the form. A line of JSON each.',
    query: z.object({
      pin: Flag.optional(),
      'cid-codec': z.enum(['', 'raw', 'dag-pb']).optional(),
      format: z.enum(['', 'raw', 'dag-pb', 'protobuf', 'v0']).optional(),
      mhtype: z.literal('sha2-256').optional(),
      mhlen: z.enum(['-1', '32']).optional(),
      'allow-big-block': No.optional(),
    }),
    takesForm: true,
  }),
  'block/stat': command({
    name: 'block/stat',
    summary: 'Name and size of a block.',
    query: z.object({ arg: Paths.optional(), ...offline, ...spelling }),
  }),
  'dag/export': command({
    name: 'dag/export',
    summary: 'The whole DAG of a root as a CAR.',
    query: z.object({ arg: Paths.optional(), ...offline }),
    replyTypes: ['application/vnd.ipld.car'],
  }),
  'dag/import': command({
    name: 'dag/import',
    summary: 'Stores the blocks of CARs, each a part of the form, and keeps their roots.',
    query: z.object({
      'pin-roots': Flag.optional(),
      silent: Flag.optional(),
      stats: Flag.optional(),
      'allow-big-block': No.optional(),
      ...spelling,
    }),
    takesForm: true,
  }),
  'pin/add': command({
    name: 'pin/add',
    summary: 'Keeps whole DAGs from now on.',
    query: z.object({
      arg: Paths.optional(),
      recursive: Yes.optional(),
      name: z.string().optional(),
      ...spelling,
    }),
  }),
  'pin/ls': command({
    name: 'pin/ls',
    summary: 'What the swarm keeps, or those of it that are named.',
    query: z.object({
      arg: Paths.optional(),
      type: z.enum(['all', 'recursive', 'direct', 'indirect']).optional(),
      stream: Flag.optional(),
      names: Flag.optional(),
      name: z.string().optional(),
      ...spelling,
    }),
  }),
  'pin/rm': command({
    name: 'pin/rm',
    summary: 'Ends pins, for the whole swarm: a deletion that can be taken back.',
    query: z.object({ arg: Paths.optional(), recursive: Yes.optional(), ...spelling }),
  }),
  id: command({
    name: 'id',
    summary: 'This peer, or the one that is named.',
    query: z.object({
      arg: z.array(z.string()).meta({ description: 'a peer id' }).optional(),
      'peerid-base': z.literal('b58mh').optional(),
    }),
  }),
  version: command({
    name: 'version',
    summary: 'Shoal’s own version, in the shape of Kubo’s.',
    query: z.object({}),
  }),
} as const;
