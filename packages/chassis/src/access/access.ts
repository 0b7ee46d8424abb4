/**
 * The rights of requests at this peer: its own write token, which has all rights; tokens with a scope, by the roster; and
 * what is open to everybody.
 *
 * A request that brings a token with a scope has the rights of that token alone, also where the peer is open: what a
 * person handed out narrowly must not widen by the place where it is used.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { PublicRead, RecordId } from '@shoal/protocol';
import type { RosterView } from '@shoal/swarm';
import type { PeerConfig } from '../process/config.ts';
import { type CheckedToken, checkToken } from '../roster/check-token.ts';
import type { Roster } from '../roster/roster.ts';
import { isScopedToken } from '../roster/token.ts';
import { RecentMap } from '../shares/recent-map.ts';
import { type OwnToken, readOwnToken } from './own-token.ts';

/** Tokens that were checked, kept. Past it: the one that came least recently is checked again, 0.2 ms a grant. */
const CHECKED_MAX = 1024;

/** The worth of a request's `Authorization`: nothing was brought, all rights, those of a token, or none. */
export type Judged = 'nothing' | 'all' | CheckedToken;

export interface Access {
  /** The swarm whose owners give tokens; undefined where nobody does. */
  swarm(): RecordId | undefined;
  /** Whether writes need a token. */
  readonly isWriteClosed: boolean;
  /** Whether this kind of read needs one. */
  isReadClosed(kind: PublicRead | undefined): boolean;
  judge(token: string | undefined): Judged;
}

export interface AccessOptions {
  /** Undefined: everybody may write. */
  readonly ownToken: OwnToken | undefined;
  readonly reads: 'open' | 'token';
  /** Reads that are open although reads need a token. */
  readonly publicReads: readonly PublicRead[];
  readonly roster: Pick<Roster, 'view' | 'isClosed'>;
  /** The wall clock. Default: this machine's. */
  readonly nowMs?: () => number;
}

/** The access to a service, from the settings that all services share. @throws ConfigError */
export const openAccess = (
  config: Parameters<typeof readOwnToken>[0] & Pick<PeerConfig, 'READ_PUBLIC'>,
  roster: AccessOptions['roster'],
): Access =>
  createAccess({
    ownToken: readOwnToken(config),
    reads: config.READ,
    publicReads: config.READ_PUBLIC,
    roster,
  });

export function createAccess({
  ownToken,
  reads,
  publicReads,
  roster,
  nowMs = Date.now,
}: AccessOptions): Access {
  const checked = new RecentMap<string, CheckedToken>({ max: CHECKED_MAX });
  let view: RosterView | undefined;
  /** Those that are good, by their hash; of an older roster none counts. */
  const check = (text: string): CheckedToken => {
    if (view !== roster.view) checked.clear();
    view = roster.view;
    const key = createHash('sha256').update(text).digest('base64url');
    const known = checked.get(key);
    const hasEnded = (known?.rights?.expiresAtMs ?? Infinity) <= nowMs();
    if (known !== undefined && !hasEnded) return known;
    const fresh = checkToken(text, view, nowMs());
    if (fresh.rights !== undefined) checked.set(key, fresh);
    return fresh;
  };
  return {
    swarm: () => roster.view.swarmId,
    isWriteClosed: ownToken !== undefined,
    isReadClosed: (kind) =>
      reads === 'token' && (kind === undefined || !publicReads.includes(kind)),
    judge(text) {
      if (text === undefined) return 'nothing';
      if (isScopedToken(text)) return check(text);
      const own = roster.isClosed ? ownToken?.whenOwned : ownToken?.text;
      if (own === undefined || !isSameToken(text, own))
        return { reason: 'it is not the token of this peer' };
      return 'all';
    },
  };
}

/** Whether a token is one, whatever it may. */
export const isGood = (judged: Judged): boolean =>
  judged === 'all' || (judged !== 'nothing' && judged.rights !== undefined);

/** Compares in a time that tells nothing of where they differ, or of how long they are. */
export function isSameToken(given: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

/** The token of `Bearer <token>`. */
export const bearerIn = (authorization = ''): string | undefined =>
  /^Bearer +(\S+)$/i.exec(authorization)?.[1];

/** The same, or that of `Basic <base64 of user:token>`. */
export function tokenIn(authorization = ''): string | undefined {
  const [, basic] = /^Basic +(\S+)$/i.exec(authorization) ?? [];
  if (basic === undefined) return bearerIn(authorization);
  const text = Buffer.from(basic, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : text.slice(colon + 1);
}
