/** Signing and checking one record of the roster. */
import {
  joinText,
  type PeerId,
  RecordId,
  refusalOf,
  RosterRecord,
  SignedRecord,
} from '@shoal/protocol';
import type { CheckedRecord } from '@shoal/swarm';
import { hashOfText, isSignedBy, signText } from './signed-text.ts';
import type { KeyPair } from './keys.ts';

/** A record without what every one has. */
export type RecordDraft = RosterRecord extends infer R
  ? R extends RosterRecord
    ? Omit<R, 'v' | 'by'>
    : never
  : never;

/** The content of a record of a swarm that there is. */
export type RosterChange = RecordDraft extends infer R
  ? R extends { swarm: RecordId }
    ? Omit<R, 'swarm' | 'atMs'>
    : never
  : never;

/** Signs as `by`, which the record then names. */
export function signRecord(draft: RecordDraft, by: KeyPair): SignedRecord {
  const payload = JSON.stringify(RosterRecord.parse({ v: 1, ...draft, by: by.id }));
  return signText('roster', payload, by.privateKey);
}

/** The same of a change, made now. */
export const signChange = (change: RosterChange, swarm: RecordId, by: KeyPair): SignedRecord =>
  signRecord({ ...change, swarm, atMs: Date.now() } as RecordDraft, by); // what it was made from

export const recordIdOf = ({ payload }: Pick<SignedRecord, 'payload'>): RecordId =>
  RecordId.parse(hashOfText(payload));

/** The proof in a join: that who joins under this id has the invitation. */
export const proveJoin = (swarm: RecordId, peerId: PeerId, invite: KeyPair): string =>
  signText('join', joinText(swarm, peerId), invite.privateKey).signature;

export type ReadRecord =
  | { readonly checked: CheckedRecord; readonly reason?: undefined }
  | { readonly checked: undefined; readonly reason: string };

/** Reads a record of which nothing is known yet: its bounds, its signature, and the proof in a join. */
export function readRecord(value: unknown): ReadRecord {
  const signed = SignedRecord.safeParse(value);
  if (!signed.success) return refused(refusalOf(signed.error));
  let content: unknown;
  try {
    content = JSON.parse(signed.data.payload);
  } catch {
    return refused('it is not JSON');
  }
  const parsed = RosterRecord.safeParse(content);
  if (!parsed.success) return refused(refusalOf(parsed.error));
  const record = parsed.data;
  if (!isSignedBy('roster', signed.data, record.by))
    return refused(`signature: is not that of ${record.by}`);
  if (record.kind === 'join' && !isProven(record))
    return refused('proof: is not that of the invitation');
  return { checked: { id: recordIdOf(signed.data), record } };
}

const refused = (reason: string): ReadRecord => ({ checked: undefined, reason });

const isProven = ({ swarm, peerId, invite, proof }: RosterRecord & { kind: 'join' }): boolean =>
  isSignedBy('join', { payload: joinText(swarm, peerId), signature: proof }, invite);
