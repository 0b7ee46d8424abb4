/**
 * The right to one change of a pin, which a peer that may not change it itself passes on: the grants of the token that it was
 * asked with, and the signature of that token's key over all that the version says. So every member can check it without asking
 * anybody, and long after; what was done with a token stands when it is revoked, or its owner removed, later than that.
 *
 * A change needs the right `delete`, also where nothing is deleted: an end in a second is a deletion.
 */
import {
  Grant,
  type KeyId,
  type Pin,
  type Right,
  rightText,
  type SignedRecord,
  TOKEN_LENGTH_MAX,
  TOKEN_PREFIX,
  TokenContent,
} from '@shoal/protocol';
import type { RosterView } from '@shoal/swarm';
import { RecentMap } from '../shares/recent-map.ts';
import { type KeyPair, keyPairOf } from './keys.ts';
import { isSignedBy, signText } from './signed-text.ts';

/** Grants whose signatures were found good. Past it: the ones that were met least recently are checked again. */
const GRANTS_KNOWN_MAX = 1024;

/** A token as its holder has it. */
export interface TokenKey {
  readonly key: KeyPair;
  readonly grants: readonly SignedRecord[];
}

type View = Pick<RosterView, 'swarmId' | 'owners' | 'endedAtMs'>;

/** The token with a scope in a request's Authorization header, if it has one that can be read. */
export function tokenKeyIn(authorization = ''): TokenKey | undefined {
  const [, text = ''] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
  if (!text.startsWith(TOKEN_PREFIX) || text.length > TOKEN_LENGTH_MAX) return undefined;
  const json = Buffer.from(text.slice(TOKEN_PREFIX.length), 'base64url').toString();
  const content = TokenContent.safeParse(parsed(json)).data;
  return (
    content && { key: keyPairOf(Buffer.from(content.seed, 'base64url')), grants: content.grants }
  );
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
  const last = readGrant(right.grants.at(-1))?.key;
  return (
    last !== undefined &&
    isGiven(right.grants, last, pin, view) &&
    isSignedBy('pin-right', { payload: rightText(pin), signature: right.signature }, last)
  );
}

/** Whether these grants lead from one who is an owner, or was one then, to this key, with the right to change pins. */
function isGiven(
  signed: readonly SignedRecord[],
  key: KeyId,
  { root, clock }: Pick<Pin, 'root' | 'clock'>,
  { swarmId, owners, endedAtMs }: View,
): boolean {
  let last: Grant | undefined;
  let may: ReadonlySet<Right> = ALL;
  for (const each of signed) {
    const grant = readGrant(each);
    if (grant === undefined || grant.swarm !== swarmId) return false;
    const { by, only = root, expiresAtMs = Infinity } = grant;
    const isOwner = owners.has(by) || (endedAtMs.get(by) ?? -1) >= clock;
    const isFrom = last === undefined ? isOwner : by === last.key && may.has('admin');
    const endMs = Math.min(expiresAtMs, (endedAtMs.get(grant.key) ?? Infinity) + 1);
    if (!isFrom || only !== root || clock >= endMs) return false;
    may = (grant.may.includes('admin') ? ALL : new Set(grant.may)).intersection(may);
    last = grant;
  }
  return last?.key === key && may.has('delete');
}

const ALL: ReadonlySet<Right> = new Set(['read', 'write', 'delete', 'admin']);

const known = new RecentMap<string, Grant>({ max: GRANTS_KNOWN_MAX });

/** A grant that its giver signed. */
function readGrant(signed: SignedRecord | undefined): Grant | undefined {
  if (signed === undefined) return undefined;
  const name = `${signed.signature} ${signed.payload}`;
  const before = known.get(name);
  if (before !== undefined) return before;
  const grant = Grant.safeParse(parsed(signed.payload)).data;
  if (grant === undefined || !isSignedBy('grant', signed, grant.by)) return undefined;
  known.set(name, grant);
  return grant;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
