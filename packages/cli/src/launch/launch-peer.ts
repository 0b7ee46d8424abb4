/**
 * One peer on this machine: its data folder, held for as long as this process wants it, and its processes,
 * which come and go. A peer of a swarm that was killed as a whole stays down, since that was done on purpose, to
 * see what happens, until it is revived: alone, while the others run.
 */
import { readSwarmKey } from '@shoal/chassis/config';
import { createProver, type ProvenRequest, readLocalSecret } from '@shoal/chassis/proof';
import type { PeerId, Service } from '@shoal/protocol';
import { CommandFailure } from '../failure.ts';
import { describePeer, type PeerPlan } from './peer-plan.ts';
import {
  type LaunchDeps,
  type PeerProcesses,
  type ProcessName,
  SlowStart,
  startProcesses,
  STOP_TIMEOUT_MS,
} from './peer-processes.ts';
import { checkPorts } from './ports.ts';
import { findRedisServer } from './redis-server.ts';
import { serveRevival } from './revival.ts';
import { closeRunFolder, lockFolder, openRunFolder } from './run-folder.ts';
import { join } from 'node:path';

export type { LaunchDeps, ProcessName } from './peer-processes.ts';

/**
 * A service takes one to three seconds to start; more on a machine with work to do.
 * Past it: a lone peer is stopped, with the end of the log; a swarm goes on without waiting for it.
 */
export const READY_TIMEOUT_MS = 60_000;

export interface LaunchedPeer extends AsyncDisposable {
  readonly peerId: PeerId;
  readonly label: string;
  /** Where each service answers on this machine. */
  readonly origins: Readonly<Record<Service, string>>;
  /** `host:port` that other peers can give as a seed. */
  readonly libp2p: string;
  /** Why it takes no part before a person acts; undefined when it does. */
  readonly heldUpBy?: string | undefined;
  /** Headers by which its services know that the launcher asks, where reads need a token. */
  readonly prove: (request: ProvenRequest) => Record<string, string>;
  /** The processes that run now. */
  readonly pids: () => Readonly<Record<ProcessName, number | undefined>>;
}

/** A peer that may not be ready, and may be down. */
export interface OpenedPeer extends LaunchedPeer {
  /** The line that brings it back, of its plan. */
  readonly revivedBy: string | undefined;
  /** Starts its processes, once; a peer that was revived before that runs already. @throws CommandFailure without Redis. */
  start(options: { signal: AbortSignal }): Promise<void>;
  /**
   * Resolves when all services can serve, or wait for a person alone: then with what one must know, which was said.
   * @throws SlowStart when for `patienceMs` no other service became ready; CommandFailure when one of them never will.
   */
  untilReady(options: { patienceMs?: number; signal: AbortSignal }): Promise<string | undefined>;
  /** Ends its processes, in order; it can be revived. */
  putDown(): Promise<void>;
  /** Starts it again when it is down. @throws CommandFailure when it is not, or does not become ready. */
  revive(options: { signal: AbortSignal }): Promise<void>;
}

/**
 * Starts a peer and waits until all its services can serve, or wait for a person alone.
 * @throws CommandFailure when a port, the data folder or a program is not to be had, or when a
 *   service does not become ready.
 */
export async function launchPeer(
  plan: PeerPlan,
  deps: LaunchDeps,
  options: { signal: AbortSignal },
): Promise<LaunchedPeer> {
  await using starting = new AsyncDisposableStack();
  const peer = starting.use(await openPeer(plan, deps));
  await peer.start(options);
  const heldUpBy = await peer.untilReady(options);
  const running = starting.move();
  return { ...peer, heldUpBy, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/**
 * Takes what a peer needs on this machine, and starts nothing yet.
 * @throws CommandFailure when a port, the data folder or a program is not to be had.
 */
export async function openPeer(plan: PeerPlan, deps: LaunchDeps): Promise<OpenedPeer> {
  const { label, dataDir, host, ports } = plan;
  const program = findRedisServer(deps.env);
  const runDir = openRunFolder(dataDir);
  await using starting = new AsyncDisposableStack();
  starting.defer(() => closeRunFolder(runDir, dataDir));
  const { wasLeftBehind } = starting.use(await lockFolder(runDir, dataDir));
  const patienceMs = wasLeftBehind ? STOP_TIMEOUT_MS : 0;
  await checkPorts(ports, { host, whose: label, patienceMs });
  const socket = join(runDir, 'redis.sock');
  const described = describePeer(plan, { env: deps.env, socket });
  const prover = createProver(
    readSwarmKey(plan.keyFile),
    described.peerId,
    readLocalSecret(dataDir),
  );
  const startAll = ({ signal }: { signal: AbortSignal }) =>
    startProcesses(plan, { described, redis: { program, socket }, deps }, { signal });

  const closing = new AbortController();
  let processes: PeerProcesses | undefined;
  let isReviving = false;
  const putDown = async (): Promise<void> => {
    const last = processes;
    processes = undefined;
    await last?.[Symbol.asyncDispose]();
  };
  starting.defer(putDown);
  const start: OpenedPeer['start'] = async ({ signal }) => {
    if (processes === undefined && !isReviving) processes = await startAll({ signal });
  };
  const untilReady: OpenedPeer['untilReady'] = async ({
    patienceMs: ms = READY_TIMEOUT_MS,
    signal,
  }) => {
    if (processes === undefined) throw new CommandFailure(`${label} is down`);
    return processes.untilReady({
      patienceMs: ms,
      signal: AbortSignal.any([signal, closing.signal]),
    });
  };
  const revive: OpenedPeer['revive'] = async ({ signal }) => {
    if (isReviving || processes?.isDown() === false)
      throw new CommandFailure(`${label} is not down`);
    isReviving = true;
    try {
      await putDown(); // what is left of it: its log files
      await checkPorts(ports, { host, whose: label, patienceMs: STOP_TIMEOUT_MS });
      const either = AbortSignal.any([signal, closing.signal]);
      processes = await startAll({ signal: either });
      await untilReady({ signal: either });
      deps.say(`${label} is back`);
    } catch (error) {
      if (!(error instanceof SlowStart)) await putDown();
      throw error;
    } finally {
      isReviving = false;
    }
  };
  if (plan.revivedBy !== undefined)
    starting.use(await serveRevival(runDir, () => revive({ signal: closing.signal })));
  starting.defer(() => closing.abort(new Error('the peer is being stopped')));
  const running = starting.move();
  return {
    peerId: described.peerId,
    label,
    origins: described.origins,
    libp2p: described.libp2p,
    prove: (request) => prover.prove(described.peerId, request),
    revivedBy: plan.revivedBy,
    pids: () => processes?.pids() ?? NONE,
    start,
    untilReady,
    putDown,
    revive,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const NONE = {
  gateway: undefined,
  chunker: undefined,
  storage: undefined,
  transfer: undefined,
  discovery: undefined,
  redis: undefined,
};
