/**
 * The right to one change of a pin, which a peer that may not change it itself passes on: the grants of the token that it was
 * asked with, and the signature of that token's key over all that the version says. So every member can check it without asking
 * anybody, and long after; what was done with a token stands when it is revoked, or its owner removed, later than that.
 *
 * A change needs the right `delete`, also where nothing is deleted: an end in a second is a deletion.
 */
import { type KeyId, type Pin, rightText, type SignedRecord } from '@shoal/protocol';
import type { RosterView } from '@shoal/swarm';
import { checkGrants } from './check-token.ts';
import type { KeyPair } from './keys.ts';
import { isSignedBy, signText } from './signed-text.ts';
import { readGrants, readToken } from './token.ts';

/** A token as its holder has it. */
export interface TokenKey {
  readonly key: KeyPair;
  readonly grants: readonly SignedRecord[];
}

type View = Pick<RosterView, 'swarmId' | 'owners' | 'endedAtMs'>;

/** The token with a scope in a request's Authorization header, if it has one that can be read. */
export function tokenKeyIn(authorization = ''): TokenKey | undefined {
  const [, text = ''] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
  const { token } = readToken(text);
  return token && { key: token.key, grants: token.grants.map(({ signed }) => signed) };
}

/** Whether a token gives the right to change the pins of others for this root, at this logical clock. */
export const mayChangeWith = (
  { key, grants }: TokenKey,
  at: Pick<Pin, 'root' | 'clock'>,
  view: View,
): boolean => isGiven(grants, key.id, at, view);

/** The same version, with the right that a token gives to it. */
export function withRight(pin: Pin, { key, grants }: TokenKey): Pin {
  const { signature } = signText('pin-right', rightText(pin), key.privateKey);
  return { ...pin, right: { grants: [...grants], signature } };
}

/** Whether a version brings a right that counts. */
export function hasRight(pin: Pin, view: View): boolean {
  const { right, clock, epoch } = pin;
  // Of an upload that was made after the token had ended, no clock says otherwise.
  if (right === undefined || clock < epoch) return false;
  const last = lastKey(right.grants);
  return (
    last !== undefined &&
    isGiven(right.grants, last, pin, view) &&
    isSignedBy('pin-right', { payload: rightText(pin), signature: right.signature }, last)
  );
}

/** The key that grants are for. */
function lastKey(signed: readonly SignedRecord[]): KeyId | undefined {
  const grants = readGrants(signed);
  return typeof grants === 'string' ? undefined : grants.at(-1)?.grant.key;
}

/** Whether these grants lead from one who is an owner, or was one then, to this key, with the right to change pins. */
function isGiven(
  signed: readonly SignedRecord[],
  key: KeyId,
  { root, clock }: Pick<Pin, 'root' | 'clock'>,
  { swarmId, owners, endedAtMs }: View,
): boolean {
  const grants = readGrants(signed);
  if (typeof grants === 'string') return false;
  const { rights } = checkGrants(key, grants, {
    swarmId,
    isOwner: (by) => owners.has(by) || (endedAtMs.get(by) ?? -1) >= clock,
    isRevoked: (id) => (endedAtMs.get(id) ?? Infinity) < clock,
    nowMs: clock,
  });
  return rights?.may.has('delete') === true && (rights.only ?? root) === root;
}
