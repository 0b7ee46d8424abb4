/**
 * An HTTP retrieval client that behaves as Kubo's does, point for point, so that what Kubo would do
 * with a swarm can be seen without its binary: how it routes, which addresses it dials, how it probes,
 * what it takes for "does not have it", and when it drops a host for good.
 */
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { CID } from 'multiformats/cid';
import { type Answer, ask } from '../conformance/ask.ts';

const ROUTE_FILTER = 'unknown,transport-bitswap,transport-ipfs-gateway-http';
const ROUTE_SIZE_MAX_BYTES = 1024 * 1024;
const HEAD_SIZE_MAX_BYTES = 2048;
const BLOCK_SIZE_MAX_BYTES = 2 * 1024 * 1024;
const ANSWER_TIMEOUT_MS = 10_000;
const ADDRESSES_MAX = 10;
const WORKERS = 16;
const PROBE_PATH = '/ipfs/bafkqaaa?format=raw';
const ALIVE = [200, 204, 410];
const DOES_NOT_HAVE = [301, 302, 303, 307, 308, 403, 404, 410, 451];
const COOL_DOWN = [429, 502, 503, 504];
/** `/http` without TLS is dialled at literal addresses of a LAN alone. */
const PRIVATE = /^(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|::1$|f[cd])/;

export interface KuboClient {
  /** A block, verified. @throws Error when nobody whom it found gives it. */
  get(cid: CID): Promise<Uint8Array>;
  /** Origins that it talks to. */
  readonly hosts: ReadonlySet<string>;
  /** Origins that it gave up, and why: a gateway in good order is never among them. */
  readonly dropped: ReadonlyMap<string, string>;
  /** Questions to the router so far. */
  readonly routed: number;
}

interface RouteRecord {
  readonly Schema: string;
  readonly ID: string;
  readonly Addrs?: readonly string[];
  readonly Protocols?: readonly string[];
}

export function createKuboClient(router: string): KuboClient {
  const hosts = new Set<string>();
  const dropped = new Map<string, string>();
  const coolUntilMs = new Map<string, number>();
  let routed = 0;
  let open = 0;
  const waiting: (() => void)[] = [];

  const drop = (host: string, why: string): void => {
    hosts.delete(host);
    dropped.set(host, why);
  };

  /** Providers of one CID, from the router; connects to those that are new. */
  const route = async (cid: CID): Promise<void> => {
    routed += 1;
    const path = `/routing/v1/providers/${cid.toString()}?filter-protocols=${ROUTE_FILTER}`;
    const answer = await ask(router, path, { headers: { accept: 'application/x-ndjson' } });
    if (answer.status === 404) return;
    if (answer.status !== 200) throw new Error(`the router answers ${answer.status}`);
    if (answer.headers['content-type'] !== 'application/x-ndjson')
      throw new Error(`the router answers as ${answer.headers['content-type']}`);
    if (answer.body.length > ROUTE_SIZE_MAX_BYTES) throw new Error('the router says too much');
    const lines = answer.body.toString().split('\n');
    const records = lines
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as RouteRecord);
    for (const { Schema, Addrs = [], Protocols = [] } of records) {
      if (Schema !== 'peer' || !Protocols.includes('transport-ipfs-gateway-http')) continue;
      for (const address of Addrs.slice(0, ADDRESSES_MAX)) {
        const host = originOf(address);
        if (host !== undefined && !hosts.has(host) && !dropped.has(host)) await connect(host);
      }
    }
  };

  const connect = async (host: string): Promise<void> => {
    for (const method of ['HEAD', 'GET']) {
      const answer = await askBlock(host, PROBE_PATH, method).catch((error: unknown) =>
        String(error),
      );
      if (typeof answer === 'string') return drop(host, `${method} of the probe: ${answer}`);
      if (!ALIVE.includes(answer.status)) return drop(host, `the probe is ${answer.status}`);
    }
    hosts.add(host);
  };

  /** The block, or undefined when this host does not have it or is not asked any more. */
  const fetchFrom = async (host: string, cid: CID): Promise<Uint8Array | undefined> => {
    if ((coolUntilMs.get(host) ?? 0) > performance.now()) return undefined;
    for (const method of ['HEAD', 'GET']) {
      const path = `/ipfs/${cid.toString()}?format=raw`;
      const answer = await askBlock(host, path, method).catch((error: unknown) => String(error));
      if (typeof answer === 'string') {
        drop(host, `${method} ${path}: ${answer}`);
        return undefined;
      }
      const { status, body, headers } = answer;
      if (DOES_NOT_HAVE.includes(status)) return undefined;
      if (COOL_DOWN.includes(status)) {
        coolUntilMs.set(host, performance.now() + 1000 * Number(headers['retry-after'] ?? 60));
        return undefined;
      }
      if (status !== 200) {
        drop(host, `${method} ${path} is ${status}`);
        return undefined;
      }
      if (method === 'HEAD') continue;
      const digest = createHash('sha256').update(body).digest();
      if (digest.equals(cid.multihash.digest)) return body;
      drop(host, `${path} has other bytes`);
    }
    return undefined;
  };

  const get = async (cid: CID): Promise<Uint8Array> => {
    if (cid.multihash.code === 0) return cid.multihash.digest;
    // Connected hosts are asked for anything; the router, for this very CID, when they don't have it.
    for (const isLast of [false, true]) {
      if (isLast || hosts.size === 0) await route(cid);
      for (const host of hosts) {
        const block = await fetchFrom(host, cid);
        if (block !== undefined) return block;
      }
    }
    throw new Error(`${cid.toString()}: nobody gives it; gave up ${JSON.stringify([...dropped])}`);
  };

  return {
    hosts,
    dropped,
    get routed() {
      return routed;
    },
    async get(cid) {
      if (open >= WORKERS) await new Promise<void>((resolve) => waiting.push(resolve));
      open += 1;
      try {
        return await get(cid);
      } finally {
        open -= 1;
        waiting.shift()?.();
      }
    },
  };
}

/** @throws Error for what makes Kubo count an answer as the server's failure. */
async function askBlock(host: string, path: string, method: string): Promise<Answer> {
  const headers = { accept: 'application/vnd.ipld.raw' };
  const answer = await ask(host, path, { method, headers, timeoutMs: ANSWER_TIMEOUT_MS });
  if (answer.headSizeBytes > HEAD_SIZE_MAX_BYTES)
    throw new Error(`its headers have ${answer.headSizeBytes} bytes`);
  if (answer.body.length > BLOCK_SIZE_MAX_BYTES)
    throw new Error(`its body has ${answer.body.length} bytes`);
  if (!answer.isWhole) throw new Error('its body breaks off');
  return answer;
}

/** What Kubo makes of a multiaddr: undefined for what it would not dial. */
export function originOf(multiaddr: string): string | undefined {
  const [, kind, host = '', , port, ...rest] = multiaddr.split('/');
  const isTls = rest[0] === 'https' || (rest[0] === 'tls' && rest.at(-1) === 'http');
  const hostInUrl = kind === 'ip6' ? `[${host}]` : host;
  if (isTls) return `https://${hostInUrl}:${port}`;
  const isPlain = rest.length === 1 && rest[0] === 'http';
  return isPlain && isIP(host) !== 0 && PRIVATE.test(host)
    ? `http://${hostInUrl}:${port}`
    : undefined;
}
