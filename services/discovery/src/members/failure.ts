/**
 * The failure detector. A connection that closes is followed by one call back: refused means that the process
 * is gone, anything else only raises a suspicion. Connected members of which nothing was heard lately are
 * pinged, those first that were silent longest; one that does not answer is a suspect until it does or its
 * time to live is over. Of two members one pings: the other hears it by that.
 *
 * A peer that stood still itself (starved, stopped, suspended) sees everybody else silent. So our own
 * pauses are measured, the silence during them is forgiven, and nobody is accused shortly after one.
 */
import type { Log, Loops } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { Membership } from './membership.ts';
import type { Wire } from '../network/wire.ts';

/** How often time passes in the table. */
const TICK_MS = 250;
/** A tick that comes this late means that we stood still. */
const PAUSE_MIN_MS = 250;
/** Nobody is accused this long after a pause. */
const CALM_AFTER_PAUSE_MS = 3000;
/** Pings sent in a second at most. */
const PINGS_PER_SECOND = 3;
/** In the time between two pings of a member. */
const TURNS = 2;
/** Of that time: silence for which a member is pinged. Less than all of it, or answer and turn would race. */
const SILENT_SHARE = 0.9;
/** Wait before calling back, plus up to twice this at random: a restart may be under way. */
const CALL_BACK_DELAY_MS = 50;
const CALL_BACK_TIMEOUT_MS = 2000;
const KNOCK_TIMEOUT_MS = 1000;

export function startFailureDetector(deps: {
  readonly membership: Membership;
  readonly wire: Wire;
  readonly pingMs: number;
  readonly loops: Loops;
  readonly log: Log;
}): Disposable {
  const { membership, wire, pingMs, loops, log } = deps;
  const { table, clock } = membership;
  const stop = new AbortController();
  const pinging = new Set<PeerId>();
  let lastTickMs = clock();
  let pausedAtMs = -Infinity;
  /** Of connected peers, by what they sent themselves: the table's date counts what others relayed, too. */
  const heardAtMs = new Map<PeerId, number>();

  const isCalm = () => clock() - pausedAtMs > CALM_AFTER_PAUSE_MS;
  const suspect = (peerId: PeerId): void => {
    if (isCalm() && table.suspect(peerId)) membership.noteChanges([peerId]);
  };
  const hear = (peerId: PeerId): void => {
    if (!wire.isConnected(peerId)) return;
    heardAtMs.set(peerId, clock());
    if (table.hear(peerId, clock())) membership.noteChanges([peerId]);
  };
  const tick = (): void => {
    const nowMs = clock();
    const pausedMs = nowMs - lastTickMs - TICK_MS;
    lastTickMs = nowMs;
    if (pausedMs > PAUSE_MIN_MS) {
      table.forgive(pausedMs);
      pausedAtMs = nowMs;
    }
    const changed = table.tick(nowMs);
    for (const peerId of changed)
      if (table.get(peerId)?.state === 'down') void wire.engine().hangUp(peerId);
    if (changed.length > 0) membership.noteChanges(changed);
  };
  const ping = async (peerId: PeerId): Promise<void> => {
    pinging.add(peerId);
    try {
      await wire.request(peerId, { kind: 'ping' }, { timeoutMs: pingMs, signal: stop.signal });
      hear(peerId);
    } catch (err) {
      if (stop.signal.aborted) return;
      log.debug({ err, member: peerId }, 'ping failed');
      // A connection that is gone is the business of the call back.
      if (wire.isConnected(peerId)) suspect(peerId);
    } finally {
      pinging.delete(peerId);
    }
  };
  const pingSome = (): void => {
    const silentSinceMs = clock() - pingMs * SILENT_SHARE;
    const heardAt = (peerId: PeerId) => heardAtMs.get(peerId) ?? -Infinity;
    const silent = wire
      .engine()
      .connected()
      .filter(
        (peerId) =>
          heardAt(peerId) <= silentSinceMs &&
          table.get(peerId)?.downAtMs === undefined &&
          !pinging.has(peerId),
      )
      .toSorted((one, other) => heardAt(one) - heardAt(other));
    const count = Math.ceil((PINGS_PER_SECOND * pingMs) / TURNS / 1000);
    for (const peerId of silent.slice(0, count)) void ping(peerId);
  };
  const callBack = async (peerId: PeerId): Promise<void> => {
    const member = table.get(peerId);
    if (stop.signal.aborted || member === undefined || member.downAtMs !== undefined) return;
    if (wire.isConnected(peerId)) return;
    const { libp2p: addresses, incarnation } = member.record;
    try {
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(CALL_BACK_TIMEOUT_MS)]);
      await wire.engine().dial(addresses, { peerId, signal });
      return;
    } catch (err) {
      if (stop.signal.aborted || wire.isConnected(peerId)) return;
      log.debug({ err, member: peerId }, 'call back failed');
    }
    const knock = await wire.engine().knock(addresses, { timeoutMs: KNOCK_TIMEOUT_MS });
    if (stop.signal.aborted || wire.isConnected(peerId)) return;
    if (knock !== 'refused') return suspect(peerId);
    if (table.declareDown(peerId, incarnation, clock())) membership.noteChanges([peerId]);
  };
  wire.on('heard', hear);
  wire.on('disconnected', (peerId) => {
    heardAtMs.delete(peerId);
    const delayMs = CALL_BACK_DELAY_MS * (1 + 2 * Math.random());
    setTimeout(() => {
      callBack(peerId).catch((err: unknown) => log.warn({ err }, 'call back broke'));
    }, delayMs).unref();
  });

  const stack = new DisposableStack();
  stack.defer(() => stop.abort(new Error('stopping')));
  stack.use(loops.start({ name: 'failure-detector', everyMs: () => TICK_MS, run: tick }));
  stack.use(loops.start({ name: 'pings', everyMs: () => pingMs / TURNS, run: pingSome }));
  return stack;
}
