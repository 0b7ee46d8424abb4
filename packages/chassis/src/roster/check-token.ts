/**
 * The rights of a token, by the roster and a clock alone: no peer is asked. Each grant can only narrow the one before,
 * so a token that is made from another has no more than that.
 */
import type { Cid, KeyId, Right } from '@shoal/protocol';
import { isRevoked, type RosterView } from '@shoal/swarm';
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

type View = Pick<RosterView, 'swarmId' | 'owners' | 'revoked'>;

const ALL: ReadonlySet<Right> = new Set(['read', 'write', 'delete', 'admin']);

/** The rights of a token, or a sentence that says why it has none. About 0.2 ms a grant. */
export function checkToken(text: string, view: View, nowMs: number): CheckedToken {
  const { token, reason } = readToken(text);
  return token === undefined ? { reason } : checkGrants(token, view, nowMs);
}

/** The same of one that was read. */
export function checkGrants({ key, grants }: ReadToken, view: View, nowMs: number): CheckedToken {
  if (view.swarmId === undefined)
    return { reason: 'this swarm has no owner, so nobody gives tokens here (see shoal own)' };
  let rights: TokenRights | undefined;
  for (const { signed, grant } of grants) {
    const { by, key: id, name } = grant;
    if (grant.swarm !== view.swarmId) return { reason: 'it is of another swarm' };
    if (rights === undefined ? !view.owners.has(by) : by !== rights.id)
      return { reason: `${by}, which signed it, had no right to: it is no owner of this swarm` };
    if (rights !== undefined && !rights.may.has('admin'))
      return { reason: `it stems from "${rights.name}", which may not give tokens` };
    if (!isSignedBy('grant', signed, by)) return { reason: 'a signature in it is wrong' };
    if (isRevoked(view, [id])) return { reason: `"${name}" was revoked` };
    if (grant.expiresAtMs !== undefined && grant.expiresAtMs <= nowMs)
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
  if (rights?.id !== key.id) return { reason: 'its key is not the one that it was given to' };
  return { rights };
}

const least = (a = Infinity, b = Infinity): number | undefined =>
  Math.min(a, b) === Infinity ? undefined : Math.min(a, b);

const narrowed = <K extends keyof TokenRights>(
  name: K,
  value: TokenRights[K] | undefined,
): Partial<Pick<TokenRights, K>> =>
  // An object of one computed key is a Pick of it.
  value === undefined ? {} : ({ [name]: value } as Partial<Pick<TokenRights, K>>);
