/**
 * The audit of a service: what a person wants to know after a machine was stolen or a token got out. Its events are few: what
 * strangers cause (refused handshakes and tokens) is bounded by the hour, so that they can't push out what was done before,
 * and uses of a token are one event by the hour. Logs say other things to other people, and may go anywhere; this stays with the
 * peer, readable by its user alone.
 */
import {
  AUDIT_KINDS,
  AUDIT_TEXT_MAX_CHARS,
  type AuditEvent,
  type AuditKind,
  type Service,
} from '@shoal/protocol';
import { Counter, type Registry } from 'prom-client';
import type { PeerConfig } from '../process/config.ts';
import type { Log } from '../process/log.ts';
import { AuditFiles } from './audit-files.ts';

/** Kinds that anybody can cause who reaches a port. */
const BY_STRANGERS: ReadonlySet<AuditKind> = new Set(['handshake-refused', 'token-refused']);
/** Events of one such kind within `HOUR_MS`. Past it: counted with the next one that is written. */
const BY_STRANGERS_MAX = 60;
const HOUR_MS = 3_600_000;

/** An event, as the place says it at which it happens. */
export interface AuditNote {
  readonly kind: AuditKind;
  readonly address?: string | undefined;
  readonly token?: string | undefined;
  readonly subject?: string | undefined;
  readonly by?: string | undefined;
  readonly cid?: string | undefined;
  readonly name?: string | undefined;
  readonly detail?: string | undefined;
  readonly count?: number | undefined;
}

export interface AuditPage {
  /** The oldest first. */
  readonly events: AuditEvent[];
  /** The number of the last event that was looked at. */
  readonly next: number;
}

export interface Audit extends Disposable {
  /** Never fails, and never waits for more than a write to a file. */
  note(note: AuditNote): void;
  /** Events after one, or the newest. */
  page(which: {
    readonly after?: number | undefined;
    readonly limit: number;
    readonly kind?: string | undefined;
  }): AuditPage;
}

export interface AuditOptions {
  readonly registry: Registry;
  readonly log: Pick<Log, 'warn'>;
  readonly nowMs?: () => number;
  readonly fileMaxBytes?: number;
}

/** The figure of an audit. */
export const createAuditCounter = (registry: Registry) =>
  new Counter({
    name: 'shoal_audit_events_total',
    help: 'Security events, by kind: those that `shoal log` lists; where it has several as one, each of them.',
    labelNames: ['kind'] as const, // AuditKind
    registers: [registry],
  });

export function openAudit(
  { PEER_DATA_DIR: folder }: Pick<PeerConfig, 'PEER_DATA_DIR'>,
  service: Service,
  { registry, nowMs = Date.now, ...options }: AuditOptions,
): Audit {
  const counter = createAuditCounter(registry);
  for (const kind of AUDIT_KINDS) counter.inc({ kind }, 0);
  const files = new AuditFiles(folder, service, options);
  let lastSeq = files.newestFirst().next().value?.seq ?? 0;
  const strangers = new Map([...BY_STRANGERS].map((kind) => [kind, new Budget(nowMs)]));

  return {
    note({ kind, count = 1, ...rest }) {
      counter.inc({ kind }, count);
      const told = strangers.has(kind) ? strangers.get(kind)?.take(count) : count;
      if (told === undefined) return;
      lastSeq += 1;
      const texts = Object.entries(rest).flatMap(([name, text]) =>
        text === undefined ? [] : [[name, text.slice(0, AUDIT_TEXT_MAX_CHARS).toWellFormed()]],
      );
      files.append({
        seq: lastSeq,
        atMs: nowMs(),
        kind,
        ...Object.fromEntries(texts),
        ...(told > 1 && { count: told }),
      });
    },
    page({ after, limit, kind }) {
      if (after === lastSeq) return { events: [], next: lastSeq };
      // A number that is none of ours is of files that are gone: all that there is is new then.
      const from = after !== undefined && after > lastSeq ? 0 : after;
      const events: AuditEvent[] = [];
      for (const event of files.newestFirst()) {
        if (event.seq <= (from ?? -1)) break;
        if (kind === undefined || event.kind === kind) events.push(event);
        if (from === undefined && events.length === limit) break;
      }
      events.reverse();
      if (events.length <= limit) return { events, next: lastSeq };
      const page = events.slice(0, limit);
      return { events: page, next: page.at(-1)?.seq ?? lastSeq };
    },
    [Symbol.dispose]: () => files.close(),
  };
}

/** How many events there may be within the hour; those beyond are counted, and told with the next one. */
class Budget {
  readonly #nowMs: () => number;
  #sinceMs = -Infinity;
  #taken = 0;
  #untold = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The number to write; undefined when it is written later. */
  take(count: number): number | undefined {
    const nowMs = this.#nowMs();
    if (Math.abs(nowMs - this.#sinceMs) >= HOUR_MS) {
      this.#sinceMs = nowMs;
      this.#taken = 0;
    }
    if (this.#taken >= BY_STRANGERS_MAX) {
      this.#untold += count;
      return undefined;
    }
    this.#taken += 1;
    const told = count + this.#untold;
    this.#untold = 0;
    return told;
  }
}
