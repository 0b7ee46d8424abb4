/**
 * Drain: this peer will leave for good.
 *
 * Draining is a flag in our own member record, kept by discovery across restarts. With it no member
 * places anything here, so that settling does the rest: the others copy what is placed on them now,
 * and we drop ours as they confirm. The remainder is counted from the have-maps of this moment.
 * Manifests stay, as all members keep them; it is enough that another one has each. That one has proved
 * it: a have-map is only a claim, and this peer's copy may be the last.
 */
import { type Log, orAborted, type PeerClient } from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  type DrainReport,
  type Pin,
  ServiceUnavailable,
} from '@shoal/protocol';
import type { ListedBlocks } from '../fetch/listed-blocks.ts';
import type { CopyProofs } from '../copies/copy-proofs.ts';
import { askHoldings, type Holding, questionsOf } from './holdings.ts';
import { eachPinPage } from '../peers/pins.ts';
import { listEntries, type Manifests } from '../file/manifests.ts';
import { isDraining, type MemberView, remainingOthers } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import type { SettleLoop } from '../settle/settle-loop.ts';
import { fewestCopies, leftToHandOver, nodesHere } from './unsafe-blocks.ts';

/** A look at every file is shared by all callers within this time, or within this many times what it took. */
const LOOK_FRESH_MS = 1000;
const LOOK_FRESH_FACTOR = 5;
/** Longest look; with more files than fit in it, the call fails. */
const LOOK_TIMEOUT_MS = 10 * 60_000;
/** Our own new record comes back from discovery within milliseconds. */
const FLAG_TIMEOUT_MS = 3000;

/** A node that was proved elsewhere is not asked about again for this long. */
const PROVED_FOR_MS = 10 * 60_000;
/** Nodes of which that is remembered, about 150 bytes each; past that they are asked about again. */
const PROVED_MAX = 200_000;

export interface Drain {
  state(options: { signal: AbortSignal }): Promise<DrainReport>;
  start(options: { signal: AbortSignal }): Promise<DrainReport>;
  cancel(options: { signal: AbortSignal }): Promise<DrainReport>;
}

export interface DrainDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly listed: ListedBlocks;
  readonly manifests: Manifests;
  readonly loop: Pick<SettleLoop, 'isInDoubt'>;
  readonly proofs: CopyProofs;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** @param signal Fires when the service stops. */
export function createDrain(deps: DrainDeps, { signal: running }: { signal: AbortSignal }): Drain {
  const { client, view, metrics, log } = deps;
  let looking: Promise<DrainReport> | undefined;
  const provedNodes: ProvedNodes = new Map();
  let last: { report: DrainReport; freshUntilMs: number } | undefined;

  view.onChange(() => metrics.draining.set(isDraining(view) ? 1 : 0), { signal: running });

  /** Single-flight: one look at a time, which does not end with the caller that asked first. */
  const look = (): Promise<DrainReport> => {
    if (last !== undefined && performance.now() < last.freshUntilMs)
      return Promise.resolve(last.report);
    const signal = AbortSignal.any([running, AbortSignal.timeout(LOOK_TIMEOUT_MS)]);
    const beganAtMs = performance.now();
    looking ??= examine(deps, provedNodes, { signal })
      .then((report) => {
        metrics.drainBlocksLeft.set(report.blocksLeft);
        // Every member has to answer for every file: with many of them, ask in proportion.
        const tookMs = performance.now() - beganAtMs;
        const freshMs = Math.max(LOOK_FRESH_MS, LOOK_FRESH_FACTOR * tookMs);
        last = { report, freshUntilMs: performance.now() + freshMs };
        return report;
      })
      .finally(() => {
        looking = undefined;
      });
    return looking;
  };
  const set = async (wanted: boolean, signal: AbortSignal): Promise<void> => {
    const args = { body: { isDraining: wanted } };
    await client.call(client.own('discovery'), discoveryRoutes.setDraining, args, { signal });
    await untilSeen(wanted, view, { signal });
    last = undefined;
    log.info({ isDraining: wanted }, wanted ? 'draining begins' : 'draining is called off');
  };

  return {
    state: () => look(),
    async start({ signal }) {
      if (!isDraining(view)) await set(true, signal);
      return look();
    },
    async cancel({ signal }) {
      if (isDraining(view)) await set(false, signal);
      return look();
    },
  };
}

/** Waits until our own record in the member table says so. @throws ServiceUnavailable when it does not. */
async function untilSeen(
  wanted: boolean,
  view: MemberView,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const over = new AbortController();
  const { promise: seen, resolve } = Promise.withResolvers<void>();
  const check = () => {
    if (isDraining(view) === wanted) resolve();
  };
  view.onChange(check, { signal: over.signal });
  check();
  const late = new ServiceUnavailable({ service: 'discovery' });
  try {
    await orAborted(orAborted(seen, AbortSignal.timeout(FLAG_TIMEOUT_MS), late), signal);
  } finally {
    over.abort();
  }
}

/** Looks at every live pin. @throws ServiceUnavailable when discovery or our storage is away. */
async function examine(
  deps: DrainDeps,
  provedNodes: ProvedNodes,
  { signal }: { signal: AbortSignal },
): Promise<DrainReport> {
  const { client, view } = deps;
  const isAsked = isDraining(view);
  const tally: Tally = { filesTotal: 0, filesLeft: 0, filesBelow: 0, blocksLeft: 0 };
  let isCurrent = true;
  for await (const { pins, ...page } of eachPinPage(client, { signal })) {
    isCurrent = page.isCurrent;
    tally.filesTotal += pins.length;
    if (!isAsked) continue;
    for (const question of questionsOf(pins))
      await examineFiles(question, tally, provedNodes, deps, { signal });
  }
  if (!isAsked) return { isDraining: false, isDrained: false, ...tally };
  const { filesLeft } = tally;
  const heldUpBy = whatHoldsUp({ isCurrent, filesLeft, view });
  const isDrained = filesLeft === 0 && heldUpBy === undefined && isDraining(view);
  const report = { isDraining: isDraining(view), isDrained, ...tally };
  return heldUpBy === undefined ? report : { ...report, heldUpBy };
}

type Tally = Record<'filesTotal' | 'filesLeft' | 'filesBelow' | 'blocksLeft', number>;

/** Adds the files of one question to the tally. */
async function examineFiles(
  pins: readonly Pin[],
  tally: Tally,
  provedNodes: ProvedNodes,
  deps: DrainDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const doubtful = new Set(pins.filter((pin) => deps.loop.isInDoubt(pin)));
  const looks: (Left & { readonly holding: Holding })[] = [];
  for (const holding of await askHoldings(pins, deps, { signal })) {
    const left = await findLeft(holding, doubtful.has(holding.pin), deps, { signal });
    looks.push({ ...left, holding });
  }
  const said = looks.flatMap(({ saidElsewhere }) => saidElsewhere);
  await proveElsewhere(said, provedNodes, deps, { signal });
  for (const { blocks, saidElsewhere, holding } of looks) {
    const left = blocks + saidElsewhere.filter((cid) => !provedNodes.has(cid)).length;
    tally.blocksLeft += left;
    if (left > 0) tally.filesLeft += 1;
    if (fewestCopies(holding) < holding.pin.replicas) tally.filesBelow += 1;
  }
}

/** Manifest nodes that another peer proved, and when. */
type ProvedNodes = Map<Cid, number>;

interface Left {
  /** Blocks of a file that are still to be handed over; at least one while that is in doubt. */
  readonly blocks: number;
  /** Manifest nodes that others say they have. */
  readonly saidElsewhere: readonly Cid[];
}

async function findLeft(
  { pin, own, others }: Holding,
  wasInDoubt: boolean,
  deps: DrainDeps,
  { signal }: { signal: AbortSignal },
): Promise<Left> {
  const atLeast = wasInDoubt || deps.loop.isInDoubt(pin) ? 1 : 0;
  // A gap in our manifest: until it is repaired, all may be here.
  if (own === undefined) return { blocks: pin.blocks, saidElsewhere: [] };
  if (own.every((byte) => byte === 0)) return { blocks: atLeast, saidElsewhere: [] };
  try {
    const entries = await listEntries(pin, deps, { signal });
    const left = leftToHandOver(entries, { own, others });
    return {
      blocks: Math.max(atLeast, left.length),
      saidElsewhere: nodesHere(entries, own).filter((cid) => !left.includes(cid)),
    };
  } catch (err) {
    signal.throwIfAborted();
    deps.log.debug({ err, root: pin.root }, 'a file could not be looked at');
    return { blocks: pin.blocks, saidElsewhere: [] };
  }
}

/** Has the peers that stay prove those of these nodes that nobody proved lately. */
async function proveElsewhere(
  nodes: readonly Cid[],
  provedNodes: ProvedNodes,
  { view, proofs }: DrainDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const nowMs = performance.now();
  for (const [cid, atMs] of provedNodes) {
    if (nowMs - atMs <= PROVED_FOR_MS && provedNodes.size <= PROVED_MAX) break;
    provedNodes.delete(cid); // the oldest come first
  }
  let unproved = [...new Set(nodes)].filter((cid) => !provedNodes.has(cid));
  for (const member of remainingOthers(view)) {
    if (unproved.length === 0) return;
    const proved = await proofs.ask(new Map([[member, unproved]]), { signal, forGood: true });
    for (const cid of proved.keys()) provedNodes.set(cid, performance.now());
    unproved = unproved.filter((cid) => !proved.has(cid));
  }
}

function whatHoldsUp({
  isCurrent,
  filesLeft,
  view,
}: {
  readonly isCurrent: boolean;
  readonly filesLeft: number;
  readonly view: MemberView;
}): string | undefined {
  if (remainingOthers(view).length === 0) return 'no other peer is up';
  if (!isCurrent) return 'files of other peers may not be known here yet';
  if (filesLeft === 0) return undefined;
  const down = view.placement(0).filter(({ state }) => state !== 'alive').length;
  if (down === 0) return undefined;
  return down === 1
    ? 'a peer that is to take copies is down'
    : `${down} peers that are to take copies are down`;
}
