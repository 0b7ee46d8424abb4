/**
 * The one way in: everything that takes bytes in (a body, a form, a directory, a CAR, a pin, a request of a
 * resumable upload) opens an intake, which gives it the lease, the puts, the jobs for copies, the progress
 * that watchers see, and one signal for every way of failing.
 *
 *   open → fill → pinned and confirmed (pin-and-confirm.ts), or dropped
 *
 * An intake that fails while it is being filled is dropped here, so no way in can forget a lease.
 */
import type { Log, PeerClient, TokenRights } from '@shoal/chassis';
import { type Cid, Problem } from '@shoal/protocol';
import type { Metrics, Outcome } from '../metrics.ts';
import type { ChunkBuffers } from './chunk-buffers.ts';
import type { ConfirmDeps } from './confirm.ts';
import type { Leases } from './end-leases.ts';
import { type Hold, openHold } from './hold.ts';
import type { Progress, ProgressEvents } from './progress.ts';
import { BlockPuts, type SpreadWishes } from './put-blocks.ts';
import type { PinBatches } from './put-pin.ts';
import type { Replicator } from './replicate-jobs.ts';
import type { Room } from './room.ts';
import type { SmallFiles } from './small-files.ts';

/** The token with a scope that something is put with. */
export type UploadToken = Pick<TokenRights, 'id' | 'name'> & {
  /** Of all files that it puts; no bound when absent. */
  readonly maxBytes?: number | undefined;
};

export interface Quota {
  /**
   * The bytes that a token may still put; without a quota no bound.
   * @param root Of a file that is whole: when that is kept already, it needs nothing.
   * @throws QuotaExceeded when that many more are over its quota; ServiceUnavailable
   */
  check(
    token: UploadToken | undefined,
    neededBytes: number,
    options: { signal: AbortSignal; root?: Cid },
  ): Promise<number>;
}

/** The parts of the peer that intakes use. */
export interface IntakeDeps extends ConfirmDeps {
  readonly client: PeerClient;
  readonly buffers: ChunkBuffers;
  readonly leases: Leases;
  readonly room: Room;
  readonly quota: Quota;
  /** The token that the request came with; its id goes into the pin. */
  readonly token?: UploadToken | undefined;
  readonly replicator: Replicator;
  readonly progressEvents: ProgressEvents;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly putsMax: number;
  readonly pins: PinBatches;
  readonly smallFiles: SmallFiles;
  readonly pinTimeoutMs: number;
  /** Fires when the service stops and can wait no longer. */
  readonly stopping: AbortSignal;
  /** Called when what came in is whole and about to be pinned. */
  readonly onPinning?: () => void;
}

/** The purpose of one intake. */
export interface IntakeWishes {
  /** Its name, for watchers. */
  readonly name: string;
  readonly replicas: number;
  /** Whether leaves are copied as soon as they are durable; else once their DAG was judged. */
  readonly copiesAtOnce: boolean;
  /** Copies that small blocks get on their way in; if undefined, they are stored here, and copied by jobs. */
  readonly spread?: SpreadWishes;
}

/** Shared by the requests of one intake, of which a resumable upload has several. */
export interface Held {
  readonly hold: Hold;
  readonly progress: Progress;
}

export interface Intake extends Held {
  readonly puts: BlockPuts;
  /** Fires when the sender leaves or a put fails: all that fills it must listen to it. */
  readonly signal: AbortSignal;
  /** Counts bytes that came in. */
  readonly received: (bytes: number) => void;
  /**
   * Runs what fills it, up to a last check that the sender is still there: leaving later keeps what came.
   * If it throws, the intake is dropped.
   * @param staysAfter Whether after this failure the blocks are left to age, so that another request can
   *   resume from them.
   */
  fill<Result>(
    work: () => Promise<Result>,
    staysAfter?: (error: unknown) => boolean,
  ): Promise<Result>;
  /** Counts it as failed, and releases what was stored, in the background. */
  drop(error: unknown): void;
}

type OpenDeps = Pick<
  IntakeDeps,
  | 'client'
  | 'buffers'
  | 'leases'
  | 'log'
  | 'metrics'
  | 'progressEvents'
  | 'putsMax'
  | 'replicator'
  | 'stopping'
>;

/** Opens an intake; `signal` fires when its sender leaves. */
export function openIntake(
  deps: OpenDeps,
  { name, replicas, ...how }: IntakeWishes,
  { signal }: { signal: AbortSignal },
): Intake {
  const held = { hold: openHold(deps, { replicas }), progress: deps.progressEvents.open(name) };
  return intakeOf(held, how, deps, { signal });
}

/** The intake of one more request under a hold that outlives it; `drop` is up to the hold's owner. */
export function resumeIntake(
  held: Held,
  deps: OpenDeps,
  { signal }: { signal: AbortSignal },
): Omit<Intake, 'fill' | 'drop'> {
  return intakeOf(held, { copiesAtOnce: true }, deps, { signal });
}

function intakeOf(
  { hold, progress }: Held,
  { copiesAtOnce, spread }: Pick<IntakeWishes, 'copiesAtOnce' | 'spread'>,
  deps: OpenDeps,
  { signal: sender }: { signal: AbortSignal },
): Intake {
  const failed = new AbortController();
  const signal = AbortSignal.any([sender, failed.signal]);
  const puts = new BlockPuts(
    {
      ...deps,
      onLeaf: (cid) => copiesAtOnce && hold.replication.add(cid),
      onFailure: (error) => failed.abort(error),
      spread,
      onSpread: () => hold.replication.spread(),
    },
    hold.lease,
    { signal, stopping: deps.stopping },
  );
  let receivedBytes = 0;
  const drop = (error: unknown) => {
    countDropped({ progress, sizeBytes: receivedBytes }, error, deps, { signal: sender });
    hold.giveUp({ mayBePinned: false, after: puts.drain() });
  };
  return {
    hold,
    progress,
    puts,
    signal,
    received(bytes) {
      receivedBytes += bytes;
      progress.received(bytes);
    },
    async fill(work, staysAfter = () => false) {
      try {
        const result = await work();
        sender.throwIfAborted();
        return result;
      } catch (error) {
        if (staysAfter(error)) {
          // Blocks that still wait for their batch to fill count too. A disk that can't take them makes the
          // next request fetch them again; the caller hears of the first failure.
          await puts.finish().catch(() => undefined);
          hold.leaveToAge();
        }
        drop(error);
        throw error;
      }
    },
    drop,
  };
}

/** Counts a DAG that came in and will not be pinned, and says so to its watchers. */
export function countDropped(
  { progress, sizeBytes }: { readonly progress: Progress; readonly sizeBytes: number },
  error: unknown,
  { metrics }: { readonly metrics: Metrics },
  { signal }: { signal: AbortSignal },
): void {
  const outcome = outcomeOf(error, signal);
  metrics.files.inc({ outcome });
  metrics.bytes.inc({ outcome }, sizeBytes);
  progress.now('failed');
}

function outcomeOf(error: unknown, signal: AbortSignal): Outcome {
  if (signal.aborted && !(signal.reason instanceof Problem)) return 'left';
  return error instanceof Problem && error.status < 500 ? 'refused' : 'failed';
}
