/**
 * A DAG to keep from now on, wherever its blocks are: gathered here, then pinned. Gathering may take long,
 * so one that breaks off leaves what it has under its lease, and the next request resumes from there.
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
import { type IntakeDeps, openIntake } from '../intake/intake.ts';
import { type ConfirmedDags, pinAndConfirm, type ReceivedDag } from '../intake/pin-and-confirm.ts';

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
): Promise<ConfirmedDags> {
  const target = readCid(request.cid);
  if (target.kind === 'identity')
    throw new RequestInvalid({
      reason: 'the CID holds its bytes itself, so there is nothing to keep',
    });
  const gateways = deps.gateways.open(request.gateways);
  const { cid: root } = target;
  const { name, replicas, copies, expiresAtMs } = request;

  const intake = openIntake(
    deps,
    { name: name ?? root, replicas, copiesAtOnce: false },
    { signal },
  );
  const received = await intake.fill(async (): Promise<ReceivedDag> => {
    const { hold, progress } = intake;
    const known = await findKnownPin(root, deps, intake);
    const elsewhere = createElsewhere({ ...deps, gateways });
    const { sha256, ...dag } =
      known ?? (await gatherDag(root, { ...deps, ...intake, elsewhere }, intake));
    const draft: PinDraft = {
      ...dag,
      name: name ?? known?.name ?? root,
      replicas,
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    };
    return { draft, copies, isHere: known === undefined, hold, progress };
  }, mayBeMended);
  return pinAndConfirm([received], deps, { signal });
}

/** More blocks can't repair a DAG that contradicts itself. */
const mayBeMended = (error: unknown): boolean =>
  !(error instanceof ManifestInvalid || error instanceof CidUnsupported);
