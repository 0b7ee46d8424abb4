/** Asks a discovery service who it is; what it answers is signed over a nonce of ours, hence not a replay. */
import { randomBytes } from 'node:crypto';
import type { PeerClient, Target } from '@shoal/chassis';
import { discoveryRoutes, type MemberRecord } from '@shoal/protocol';
import type { AgedRecord } from '../network/messages.ts';
import { isAuthentic, read, type Signed } from '../network/signed.ts';

/** Call of a twin, or of a member on the way to it. Past it: counts as not seen. */
const CALL_TIMEOUT_MS = 2000;

export interface Met {
  /** The process there, as it says itself now. */
  readonly record: MemberRecord;
  /** The other members, as it knows them. */
  readonly others: readonly AgedRecord[];
}

/** @throws Error when no process answers there, or not with the key of this peer. */
export async function meet(
  target: Target,
  {
    client,
    introduction,
    signal,
  }: {
    readonly client: Pick<PeerClient, 'call'>;
    /** Our own record. */
    readonly introduction: Signed;
    readonly signal: AbortSignal;
  },
): Promise<Met> {
  const nonce = randomBytes(24).toString('base64url');
  const { own: answer, others } = await client.call(
    target,
    discoveryRoutes.meet,
    { body: { nonce, record: introduction } },
    { signal, timeoutMs: CALL_TIMEOUT_MS },
  );
  const record = read('member', answer).content;
  const isLive = record?.run?.nonce === nonce && isAuthentic('member', record, answer);
  if (!isLive || record.peerId !== target.peerId) throw new Error('another peer answers there');
  return { record, others };
}
