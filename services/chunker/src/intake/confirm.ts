/**
 * Waiting for copies. The truth is what discovery's health says, which asks every member; the
 * reports of our own jobs only say when it is worth asking. So nothing is lost with Redis, and the
 * answer to an upload never claims a copy that nobody confirmed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes, type FileCause, type FileState } from '@shoal/protocol';
import type { Members } from './members.ts';
import type { Metrics } from '../metrics.ts';
import type { Replication } from './replicate-jobs.ts';

/** First pause between two questions; each next one is half as long again. */
const POLL_MIN_MS = 100;
const POLL_MAX_MS = 1000;
const HEALTH_TIMEOUT_MS = 5000;

export interface ConfirmDeps {
  readonly client: PeerClient;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly members: Members;
  readonly copiesTimeoutMs: number;
}

export interface Confirmed {
  /** Fewest copies over the file's blocks, as last confirmed; one that this peer took in always counts. */
  readonly copies: number;
  readonly state: FileState;
  /** Why they are fewer than the file asks for. */
  readonly causes: readonly FileCause[];
  /** Whether the copies asked for, as far as the swarm has members for them, are there. */
  readonly isReached: boolean;
}

/** Waits until a pinned file has the copies asked for, or the deadline passes. */
export async function confirm(
  {
    root,
    replicas,
    copies,
    isHere,
    spread,
    replication,
  }: {
    readonly root: Cid;
    readonly replicas: number;
    readonly copies: number;
    /** Whether all of its blocks were made durable here; false for a pin of what others keep. */
    readonly isHere: boolean;
    /** Copies that were confirmed while it came in: no health need be asked when those are enough. */
    readonly spread?: number | undefined;
    readonly replication: Replication;
  },
  { client, log, metrics, members, copiesTimeoutMs }: ConfirmDeps,
  { signal }: { signal: AbortSignal },
): Promise<Confirmed> {
  const startMs = performance.now();
  const wanted = async () => Math.min(copies, replicas, await members.placeableCount({ signal }));
  const finish = (confirmed: Confirmed) => {
    const outcome = confirmed.isReached ? 'reached' : 'late';
    metrics.copiesWait.observe({ outcome }, (performance.now() - startMs) / 1000);
    return confirmed;
  };
  // Blocks that storage acknowledged are durable here: one copy, without asking a member.
  const placeable = await members.placeableCount({ signal });
  let known: Pick<Confirmed, 'copies' | 'state' | 'causes'> =
    isHere || spread !== undefined
      ? firstCopies(spread ?? 1, replicas, placeable)
      : { copies: 0, state: 'missing', causes: [] };
  const copiesMin = isHere ? 0 : 1;
  const wantedFirst = await wanted();
  if (isHere && wantedFirst <= 1) return finish({ ...known, isReached: true });
  if (spread !== undefined && spread >= wantedFirst) return finish({ ...known, isReached: true });

  const deadlineMs = startMs + copiesTimeoutMs;
  const reported = replication.whenCopies(wantedFirst);
  for (
    let pauseMs = POLL_MIN_MS, isReported = false;
    ;
    pauseMs = Math.min(pauseMs * 1.5, POLL_MAX_MS)
  ) {
    const leftMs = deadlineMs - performance.now();
    const pause = new AbortController();
    const tick = sleep(Math.max(0, Math.min(pauseMs, leftMs)), undefined, {
      signal: pause.signal,
    }).catch((error: unknown) => {
      if (!pause.signal.aborted) throw error; // cut short by us
    });
    // A report ends one pause; after that only manifests are missing, and polling goes on as usual.
    const isNew: boolean = await Promise.race([
      tick.then(() => false),
      ...(isReported ? [] : [reported.then(() => true)]),
    ]);
    pause.abort();
    isReported ||= isNew;
    signal.throwIfAborted();
    try {
      const health = await client.call(
        client.own('discovery'),
        discoveryRoutes.fileHealth,
        { params: { hash: root } },
        { signal, timeoutMs: HEALTH_TIMEOUT_MS },
      );
      // Only answers to this very question count: older ones are not of this upload.
      const { confirmed: confirmedCopies, state, causes } = health;
      // Without one copy somebody was too busy to say what is durable here.
      if (confirmedCopies > 0 || !(isHere || spread !== undefined))
        known = { copies: confirmedCopies, state, causes };
      if (confirmedCopies >= Math.max(copiesMin, await wanted()))
        return finish({ ...known, isReached: true });
    } catch (err) {
      signal.throwIfAborted();
      log.debug({ err, cid: root }, 'no answer on health, asking again');
    }
    if (performance.now() >= deadlineMs) return finish({ ...known, isReached: false });
  }
}

/** The state of a file that was made durable at this many peers, before any other was asked. */
export function firstCopies(
  copies: number,
  replicas: number,
  placeable: number,
): Pick<Confirmed, 'copies' | 'state' | 'causes'> {
  if (copies >= replicas) return { copies, state: 'safe', causes: [] };
  const fewPeers: FileCause[] =
    replicas > placeable ? [{ kind: 'few-peers', count: placeable }] : [];
  if (placeable <= copies) return { copies, state: 'limited', causes: fewPeers };
  return { copies, state: 'spreading', causes: [{ kind: 'new' }, ...fewPeers] };
}
