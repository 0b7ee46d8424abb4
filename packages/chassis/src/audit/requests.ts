/**
 * The events of requests that every service has: peers that were refused, tokens that were used, tokens that were refused. The service that the
 * client called notes a use, as the gateway passes tokens on; the first of a token and an address at once, later ones by
 * the hour.
 */
import { CLIENT_HEADER, Problem } from '@shoal/protocol';
import type { FastifyInstance } from 'fastify';
import type { Clients } from '../http/clients.ts';
import { RecentMap } from '../shares/recent-map.ts';
import type { Accepting } from '../tls/accept.ts';
import type { HandshakeCounter } from '../tls/handshake-counter.ts';
import type { PeerTls } from '../tls/peer-tls.ts';
import type { Audit } from './audit.ts';

const HOUR_MS = 3_600_000;
/** Pairs of a token and an address that are remembered. Past it: the one that was not used for longest is written. */
const USERS_MAX = 1024;
/** The id of a token that has none of its own. */
const OWN_TOKEN = 'WRITE_TOKEN';

/** The client of a request, as events have it. */
export interface Caller {
  readonly address: string;
  /** The id of its token; undefined when it has none that is right. */
  readonly token?: string | undefined;
}

/** The parts of a request that say who asks. */
export interface CallerRequest {
  readonly client: string;
  readonly token?: { readonly id: string } | undefined;
}

/** The client of a request: by the name that shares go by, which is of the client also where the gateway asks for it. */
export function callerOf({ client, token }: CallerRequest): Caller {
  const [address = '', kind] = client.split(' ');
  const isPeer = address === 'peer';
  const own = kind === 'token' && !isPeer ? OWN_TOKEN : undefined;
  return { address: isPeer ? client : address, token: token?.id ?? own };
}

/** Lets members of the swarm call a server by TLS, and notes those that are refused; without TLS it lets nobody. */
export const acceptAudited = (
  tls: PeerTls | undefined,
  handshakes: HandshakeCounter,
  audit: Audit,
): Accepting | undefined =>
  tls && {
    tls,
    handshakes,
    onRefused: (refused) => audit.note({ kind: 'handshake-refused', ...refused }),
  };

/** Notes tokens of a server's requests, until the audit is disposed; disposing tells what was not told yet. */
export function auditTokens(
  app: FastifyInstance,
  audit: Audit,
  clients?: Pick<Clients, 'isPassedOn'>,
): Disposable {
  const uses = new Uses(audit);
  app.addHook('onError', async (request, _, error) => {
    const type = error instanceof Problem ? error.type : '';
    // One that is missing is no token that somebody tries.
    if (!/^problems\/(?:token-(?!required)|right-missing)/.test(type)) return;
    const { address } = callerOf(request);
    audit.note({ kind: 'token-refused', address, detail: type.slice('problems/'.length) });
  });
  app.addHook('onResponse', async (request, { statusCode }) => {
    const { authorization, [CLIENT_HEADER]: vouched } = request.headers;
    if (authorization === undefined || statusCode === 401 || statusCode === 403) return;
    const { address, token } = callerOf(request);
    if (token === undefined) return;
    if (vouched === undefined || clients?.isPassedOn(request) !== true) uses.add(token, address);
  });
  return uses;
}

interface Use {
  /** When the last event was written. */
  readonly toldAtMs: number;
  /** Those since then. */
  readonly untold: number;
}

class Uses implements Disposable {
  readonly #audit: Audit;
  readonly #all: RecentMap<string, Use>;

  constructor(audit: Audit) {
    this.#audit = audit;
    this.#all = new RecentMap({
      max: USERS_MAX,
      onEvict: (key, use) => this.#tell(key, use.untold),
    });
  }

  add(token: string, address: string): void {
    const key = `${address} ${token}`;
    const { toldAtMs, untold } = this.#all.get(key) ?? { toldAtMs: -Infinity, untold: 0 };
    const nowMs = performance.now();
    const isDue = nowMs - toldAtMs >= HOUR_MS;
    if (isDue) this.#tell(key, untold + 1);
    this.#all.set(key, isDue ? { toldAtMs: nowMs, untold: 0 } : { toldAtMs, untold: untold + 1 });
  }

  [Symbol.dispose](): void {
    for (const [key, { untold }] of this.#all) this.#tell(key, untold);
    this.#all.clear();
  }

  #tell(key: string, count: number): void {
    const [address = '', token = ''] = key.split(' ');
    if (count > 0) this.#audit.note({ kind: 'token-used', address, token, count });
  }
}
