/** The first records of a swarm that gets an owner. */
import { randomBytes } from 'node:crypto';
import {
  type KeyPair,
  type RecordDraft,
  recordIdOf,
  signChange,
  signRecord,
} from '@shoal/chassis/roster';
import type { PeerId, RecordId, SignedRecord } from '@shoal/protocol';
import { createRecoveryKey } from './owner-key.ts';

export interface BegunRoster {
  readonly genesis: SignedRecord;
  /** The recovery key, to be shown once and kept nowhere. */
  readonly recovery: string;
  addOf(peerId: PeerId, name?: string): SignedRecord;
}

export function beginRoster(owner: KeyPair): BegunRoster {
  const { text: recovery, key } = createRecoveryKey();
  const nonce = randomBytes(16).toString('base64url');
  const first: RecordDraft = { kind: 'genesis', recovery: key.id, atMs: Date.now(), nonce };
  const genesis = signRecord(first, owner);
  const swarm = recordIdOf(genesis);
  return { genesis, recovery, addOf: (peerId, name) => addMember(peerId, name, { swarm, owner }) };
}

/** A peer that its owner runs: it may change all files, and invite. */
export const addMember = (
  peerId: PeerId,
  name: string | undefined,
  { swarm, owner }: { readonly swarm: RecordId; readonly owner: KeyPair },
): SignedRecord => {
  const named = name === undefined ? {} : { name };
  const change = { kind: 'add', peerId, ...named, mayChange: 'any', mayInvite: true } as const;
  return signChange(change, swarm, owner);
};

export const describeRecovery = (recovery: string, keyFile: string): string => `
recovery key, shown this once:  ${recovery}
Write it down and keep it away from these machines: it alone can take the swarm back when your own key is lost or
stolen. Your own key is ${keyFile}.
`;
