/**
 * The audit of this peer: the events of its five services as one list, in the order of their time. Each service counts its own
 * events, so an answer says how far it goes in each; clocks that are set back change the order of events, and lose none.
 *
 * It tells who does what, and so needs the right of administrators, though it is read.
 */
import { type Audit, mount, type Mounting, type PeerClient } from '@shoal/chassis';
import {
  auditRoutes,
  type PeerAuditEvent,
  peerAudit,
  type Service,
  SERVICES,
} from '@shoal/protocol';

/** A service that is starting or hangs must not hold the list up. Past it: it is named as silent. */
const AUDIT_TIMEOUT_MS = 5000;

export interface AuditDeps {
  /** Of the gateway itself. */
  readonly audit: Audit;
  readonly client: PeerClient;
}

interface Part {
  readonly service: Service;
  readonly events: readonly PeerAuditEvent[];
  /** How far the answer goes if all of it is passed on; undefined for a service that did not answer. */
  readonly next: number | undefined;
}

/** Mounts `GET /audit`. */
export function mountPeerAudit(mounting: Mounting, { audit, client }: AuditDeps): void {
  const ask = async (
    service: Service,
    query: {
      readonly limit: number;
      readonly kind?: string | undefined;
      after?: number | undefined;
    },
    signal: AbortSignal,
  ): Promise<Part> => {
    try {
      const { events, next } =
        service === 'gateway'
          ? audit.page(query)
          : await client.call(
              client.own(service),
              auditRoutes[service],
              { query },
              { signal, timeoutMs: AUDIT_TIMEOUT_MS },
            );
      return { service, next, events: events.map((event) => ({ ...event, service })) };
    } catch {
      signal.throwIfAborted();
      return { service, next: undefined, events: [] };
    }
  };

  mount(mounting, peerAudit, async ({ query, signal }) => {
    const { after, ...rest } = query;
    const seen = readCursor(after);
    const parts = await Promise.all(
      // One that was silent before has all its events to tell.
      SERVICES.map((service) =>
        ask(
          service,
          { ...rest, after: after === undefined ? undefined : (seen[service] ?? 0) },
          signal,
        ),
      ),
    );
    const isTail = after === undefined;
    const { events, next } = join(parts, { limit: query.limit, isTail, seen });
    const silent = parts.filter((part) => part.next === undefined).map(({ service }) => service);
    return { events, next: writeCursor(next), silent };
  });
}

type Seen = Partial<Record<Service, number>>;

/**
 * The oldest of all events that the parts have, or with `isTail` the newest, and how far that goes in each part: up to the
 * first event that is left for the next answer.
 */
function join(
  parts: readonly Part[],
  {
    limit,
    isTail,
    seen,
  }: { readonly limit: number; readonly isTail: boolean; readonly seen: Seen },
): { events: PeerAuditEvent[]; next: Seen } {
  const queues = parts.map(({ events }) => [...events]);
  const events: PeerAuditEvent[] = [];
  for (;;) {
    const [first] = queues
      .filter(([head]) => head !== undefined)
      .toSorted(([a], [b]) => (a?.atMs ?? 0) - (b?.atMs ?? 0));
    const event = first?.[0];
    if (event === undefined || (!isTail && events.length === limit)) break;
    first?.shift();
    events.push(event);
  }
  const next: Seen = { ...seen };
  for (const [index, { service, next: whole }] of parts.entries()) {
    const [left] = queues[index] ?? [];
    if (whole !== undefined) next[service] = left === undefined ? whole : left.seq - 1;
  }
  return { events: events.slice(-limit), next };
}

/** @param text As `writeCursor` wrote it. */
const readCursor = (text = ''): Seen =>
  Object.fromEntries(
    text
      .split(',')
      .filter((part) => part !== '')
      .map((part) => part.split(':'))
      .map(([service, seq]) => [service, Number(seq)]),
  );

const writeCursor = (seen: Seen): string =>
  Object.entries(seen)
    .map(([service, seq]) => `${service}:${seq}`)
    .join(',');
