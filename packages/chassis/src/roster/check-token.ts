/**
 * The rights that grants give, by the roster and a clock alone: no peer is asked. Each grant can only narrow the one
 * before, so a token that is made from another has no more than that. The clock may be of now, for a request, or of
 * then, for what was done with a token (`pin-right.ts`).
 */
import type { Cid, KeyId, RecordId, Right, SignedRecord } from '@shoal/protocol';
import { isRevoked, type RosterView } from '@shoal/swarm';
import { RecentMap } from '../shares/recent-map.ts';
import { isSignedBy } from './signed-text.ts';
import { readToken, type ReadToken } from './token.ts';

/** The rights of a request that came with a token. */
export interface TokenRights {
  readonly id: KeyId;
  readonly name: string;
  readonly may: ReadonlySet<Right>;
  /** The one file or folder that it is for; all when absent. */
  readonly only?: Cid;
  /** Bytes of files put with it that may be kept at once; no bound when absent. */
  readonly maxBytes?: number;
  readonly expiresAtMs?: number;
}

export type CheckedToken =
  | { readonly rights: TokenRights; readonly reason?: undefined }
  | { readonly rights?: undefined; readonly reason: string };

/** The keys that may give rights at a moment. */
export interface Giving {
  readonly swarmId: RecordId | undefined;
  readonly isOwner: (key: KeyId) => boolean;
  readonly isRevoked: (key: KeyId) => boolean;
  readonly nowMs: number;
}

/** Grants whose signatures were found good. Past it: the ones that were met least recently are checked again, 0.1 ms each. */
const GRANTS_KNOWN_MAX = 1024;

const ALL: ReadonlySet<Right> = new Set(['read', 'write', 'delete', 'admin']);

/** The rights of a token now, or a sentence that says why it has none. */
export function checkToken(
  text: string,
  view: Pick<RosterView, 'swarmId' | 'owners' | 'revoked'>,
  nowMs: number,
): CheckedToken {
  const { token, reason } = readToken(text);
  if (token === undefined) return { reason };
  return checkGrants(token.key.id, token.grants, {
    swarmId: view.swarmId,
    isOwner: (key) => view.owners.has(key),
    isRevoked: (key) => isRevoked(view, [key]),
    nowMs,
  });
}

/** The rights that these grants give to a key. */
export function checkGrants(key: KeyId, grants: ReadToken['grants'], giving: Giving): CheckedToken {
  if (giving.swarmId === undefined)
    return { reason: 'this swarm has no owner, so nobody gives tokens here (see shoal own)' };
  let rights: TokenRights | undefined;
  for (const { signed, grant } of grants) {
    const { by, key: id, name } = grant;
    if (grant.swarm !== giving.swarmId) return { reason: 'it is of another swarm' };
    if (rights === undefined ? !giving.isOwner(by) : by !== rights.id)
      return { reason: `${by}, which signed it, had no right to: it is no owner of this swarm` };
    if (rights !== undefined && !rights.may.has('admin'))
      return { reason: `it stems from "${rights.name}", which may not give tokens` };
    if (!isSigned(signed, by)) return { reason: 'a signature in it is wrong' };
    if (giving.isRevoked(id)) return { reason: `"${name}" was revoked` };
    if (grant.expiresAtMs !== undefined && grant.expiresAtMs <= giving.nowMs)
      return { reason: `"${name}" expired at ${new Date(grant.expiresAtMs).toISOString()}` };
    if (rights?.only !== undefined && (grant.only ?? rights.only) !== rights.only)
      return { reason: 'its grants are for different files' };
    const own = grant.may.includes('admin') ? ALL : new Set(grant.may);
    rights = {
      id,
      name,
      may: rights === undefined ? own : own.intersection(rights.may),
      ...narrowed('only', grant.only ?? rights?.only),
      ...narrowed('maxBytes', least(grant.maxBytes, rights?.maxBytes)),
      ...narrowed('expiresAtMs', least(grant.expiresAtMs, rights?.expiresAtMs)),
    };
  }
  if (rights?.id !== key) return { reason: 'its key is not the one that it was given to' };
  return { rights };
}

const signedWell = new RecentMap<string, true>({ max: GRANTS_KNOWN_MAX });

function isSigned(signed: SignedRecord, by: KeyId): boolean {
  const name = `${signed.signature} ${by} ${signed.payload}`;
  if (signedWell.has(name)) return true;
  if (!isSignedBy('grant', signed, by)) return false;
  signedWell.set(name, true);
  return true;
}

const least = (a = Infinity, b = Infinity): number | undefined =>
  Math.min(a, b) === Infinity ? undefined : Math.min(a, b);

const narrowed = <K extends keyof TokenRights>(
  name: K,
  value: TokenRights[K] | undefined,
): Partial<Pick<TokenRights, K>> =>
  // An object of one computed key is a Pick of it.
  value === undefined ? {} : ({ [name]: value } as Partial<Pick<TokenRights, K>>);
