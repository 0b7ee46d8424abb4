/**
 * A DAG that is to be kept from now on, whoever has its blocks: gathered here, then pinned. Gathering may
 * take long, so one that breaks off leaves what it has under its lease, and the next goes on from there.
 */
import { readCid } from '@shoal/blocks';
import {
  CidUnsupported,
  ManifestInvalid,
  type PinDraft,
  type PinRequest,
  RequestInvalid,
} from '@shoal/protocol';
import { createElsewhere } from './elsewhere.ts';
import { gatherDag } from './gather-dag.ts';
import type { Gateways } from './gateways.ts';
import { findKnownPin } from './known-pin.ts';
import { type IntakeDeps, leftToAge, openHold } from '../intake/intake.ts';
import { dropDag, keepDags, type KeptDags, type ReceivedDag } from '../intake/keep-dags.ts';
import { createBlockPuts } from '../intake/put-blocks.ts';

export interface AddPinDeps extends IntakeDeps {
  readonly gateways: Gateways;
  readonly entriesMax: number;
}

/**
 * Keeps a DAG and waits for its copies. `signal` fires when the caller leaves.
 * @throws HashInvalid, CidUnsupported, RequestInvalid, GatewayRefused; as `gatherDag`.
 */
export async function addPin(
  request: Omit<PinRequest, 'expiresAt'> & { readonly expiresAtMs: number | undefined },
  deps: AddPinDeps,
  { signal }: { signal: AbortSignal },
): Promise<KeptDags> {
  const target = readCid(request.cid);
  if (target.kind === 'identity')
    throw new RequestInvalid({
      reason: 'the CID holds its bytes itself, so there is nothing to keep',
    });
  const gateways = deps.gateways.open(request.gateways);
  const { cid: root } = target;
  const { name, replicas, copies, expiresAtMs } = request;

  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const hold = openHold(deps, { replicas });
  const progress = deps.progressEvents.open(name ?? root);
  const onFailure = (error: unknown) => failed.abort(error);
  const puts = createBlockPuts({ ...deps, onFailure }, hold.lease, {
    signal: either,
    stopping: deps.stopping,
  });
  let received: ReceivedDag;
  try {
    const known = await findKnownPin(root, deps, { signal: either });
    const elsewhere = createElsewhere({ ...deps, gateways });
    const { sha256, ...dag } =
      known ?? (await gatherDag(root, { ...deps, hold, puts, elsewhere }, { signal: either }));
    const draft: PinDraft = {
      ...dag,
      name: name ?? known?.name ?? root,
      replicas,
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    };
    received = { draft, copies, isHere: known === undefined, hold, progress };
    signal.throwIfAborted(); // the last moment at which leaving keeps nothing
  } catch (error) {
    // What contradicts itself is not mended by more blocks.
    const isHopeless = error instanceof ManifestInvalid || error instanceof CidUnsupported;
    // Those that came and still wait for their batch to fill are what the next request goes on from. A disk
    // that can't take them makes it fetch them again; the caller is told why there is no pin.
    if (!isHopeless) await puts.finish().catch(() => undefined);
    hold.endAfter(puts.settle());
    const dropped = {
      hold: isHopeless ? hold : leftToAge(hold),
      progress,
      draft: { sizeBytes: 0 },
    };
    dropDag(dropped, { error }, deps, { signal });
    throw error;
  }
  return keepDags([received], deps, { signal });
}
