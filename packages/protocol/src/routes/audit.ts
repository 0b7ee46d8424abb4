/**
 * The audit of a peer: who came and went, who was refused, what was deleted or changed and with which token. Each service
 * keeps its own on disk (chassis/audit); `GET /audit` of the gateway joins them.
 */
import * as z from 'zod';
import { TimeMs } from '../bounded.ts';
import { type Service, SERVICES } from '../member.ts';
import { route } from '../route.ts';

/** Events in one answer. Past it: 400; the next ones are asked for by `after`. */
export const AUDIT_PAGE_MAX = 1000;
/** A text in an event, such as a file's name. Past it: it is cut. */
export const AUDIT_TEXT_MAX_CHARS = 300;

/** The kinds that are written; readers take others too, which later versions may add. */
export const AUDIT_KINDS = [
  'swarm-closed',
  'member-added',
  'member-removed',
  'member-renamed',
  'owner-added',
  'owner-removed',
  'invite-made',
  'invite-closed',
  'token-revoked',
  'handshake-refused',
  'file-changed',
  'file-deleted',
  'file-undeleted',
  'token-used',
  'token-refused',
] as const;
export type AuditKind = (typeof AUDIT_KINDS)[number];

const Text = z.string().max(AUDIT_TEXT_MAX_CHARS);

/** One event; what is absent has no part in it. */
export const AuditEvent = z.object({
  /** Counts the events of this service: it has each number once. */
  seq: z.int().positive(),
  atMs: TimeMs,
  kind: z.string().max(32),
  /** Address of the client, or of the other peer; of IPv6 the network. */
  address: Text.optional(),
  /** Id of the token that was used; `WRITE_TOKEN` for the peer's own. */
  token: Text.optional(),
  /** The peer, or the key, that it is about. */
  subject: Text.optional(),
  /** The key of the owner that did it. */
  by: Text.optional(),
  cid: Text.optional(),
  /** A name that people gave: of a file, a peer, an owner. */
  name: Text.optional(),
  /** In words: why it was refused, what was changed. */
  detail: Text.optional(),
  /** How many of this kind it stands for: those since the last of the same origin. Absent: 1. */
  count: z.int().positive().optional(),
});
export type AuditEvent = z.infer<typeof AuditEvent>;

/** An event in an answer of the gateway. */
export const PeerAuditEvent = AuditEvent.extend({ service: z.enum(SERVICES) });
export type PeerAuditEvent = z.infer<typeof PeerAuditEvent>;

const shared = { method: 'GET', params: z.object({}), body: undefined } as const;
const filters = {
  limit: z.coerce.number().int().min(1).max(AUDIT_PAGE_MAX).default(100),
  kind: z
    .string()
    .regex(/^[a-z-]{1,32}$/)
    .optional(),
};
const Seq = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const auditOf = (service: Service) =>
  route({
    ...shared,
    service,
    audience: 'local',
    path: '/audit',
    summary: 'Security events of this service, the oldest first: those after one, or the newest.',
    query: z.object({ ...filters, after: Seq.optional() }),
    reply: z.object({ events: z.array(AuditEvent).max(AUDIT_PAGE_MAX), next: Seq }),
  });

/** The audit of each service but the gateway, which has its own at hand. */
export const auditRoutes = {
  chunker: auditOf('chunker'),
  storage: auditOf('storage'),
  transfer: auditOf('transfer'),
  discovery: auditOf('discovery'),
} as const satisfies Readonly<Record<Exclude<Service, 'gateway'>, unknown>>;

/** How far an answer of the gateway goes: the number of the last event of each service, `chunker:12,discovery:7`. */
const PLACE = `(?:${SERVICES.join('|')}):\\d{1,15}`;
const Cursor = z
  .string()
  .max(160)
  .regex(new RegExp(`^${PLACE}(?:,${PLACE}){0,${SERVICES.length - 1}}$`));

/** All services' events as one list. */
export const peerAudit = route({
  ...shared,
  service: 'gateway',
  audience: 'public',
  path: '/audit',
  right: 'admin',
  summary:
    'Security events of this peer, the oldest first: those after where another answer ended (`next`), or the newest.',
  query: z.object({ ...filters, after: Cursor.optional() }),
  reply: z.object({
    events: z.array(PeerAuditEvent).max(AUDIT_PAGE_MAX),
    next: Cursor,
    /** Services that did not answer; theirs follow once they do. */
    silent: z.array(z.enum(SERVICES)),
  }),
});
