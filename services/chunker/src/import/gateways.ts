/**
 * Trustless gateways outside of the swarm, as sources of blocks. Only those that the operator allows,
 * by origin; what such a name resolves to is checked too, and the connection goes to the address that
 * was checked, so that a second answer of DNS can't lead it elsewhere. Redirects are not followed.
 */
import { lookup as resolve, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { verify } from '@shoal/blocks';
import { BLOCK_SIZE_MAX_BYTES, type Cid, GatewayRefused } from '@shoal/protocol';
import { Agent } from 'undici';
import { isPublicAddress } from './public-address.ts';

const CONNECT_TIMEOUT_MS = 5000;
/** Until the head, and between two pieces: what Kubo grants a gateway. */
const STALL_TIMEOUT_MS = 10_000;
/** For a whole block of 2 MiB: 70 KiB a second. */
const BLOCK_TIMEOUT_MS = 30_000;
/** Connections to one gateway. */
const CONNECTIONS_MAX = 8;

export interface GatewayPolicy {
  /** Origins that requests may name. */
  readonly allowed: ReadonlySet<string>;
  /** Whether they may be in a private network. */
  readonly mayBePrivate: boolean;
}

export interface Gateway {
  readonly origin: string;
  /** A verified block. @throws Error whose message says in a few words why there is none; GatewayLied. */
  fetch(cid: Cid, options: { signal: AbortSignal }): Promise<Uint8Array>;
}

/** A gateway sent bytes that are not the block. */
export class GatewayLied extends Error {}

export interface Gateways extends AsyncDisposable {
  /** @throws GatewayRefused when any of them is not allowed. */
  open(urls: readonly string[]): readonly Gateway[];
}

export function createGateways({ allowed, mayBePrivate }: GatewayPolicy): Gateways {
  const agent = new Agent({
    allowH2: false,
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    headersTimeout: STALL_TIMEOUT_MS,
    bodyTimeout: STALL_TIMEOUT_MS,
    maxResponseSize: BLOCK_SIZE_MAX_BYTES,
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      ...(mayBePrivate ? {} : { lookup: lookupPublic }),
    },
  });
  return {
    open: (urls) =>
      [...new Set(urls)].map((url) => {
        const origin = allowedOrigin(url, { allowed, mayBePrivate });
        return { origin, fetch: (cid, options) => fetchBlock(agent, origin, cid, options) };
      }),
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

function allowedOrigin(gateway: string, { allowed, mayBePrivate }: GatewayPolicy): string {
  const refuse = (reason: string) => new GatewayRefused({ gateway, reason });
  const { origin, hostname, pathname, search, username } = new URL(gateway);
  if (pathname !== '/' || search !== '' || username !== '')
    throw refuse('it is more than an origin, such as https://ipfs.example');
  if (allowed.size === 0)
    throw refuse("this peer's setting PIN_GATEWAYS names no gateways that it may ask");
  if (!allowed.has(origin))
    throw refuse("it is not in this peer's setting PIN_GATEWAYS; its operator can add it");
  // A host that is an address is not looked up, so it is looked at here.
  const address = hostname.replace(/^\[|\]$/g, '');
  if (!mayBePrivate && isIP(address) !== 0 && !isPublicAddress(address))
    throw refuse("its address is private (this peer's setting PIN_GATEWAYS_ALLOW_PRIVATE)");
  return origin;
}

/** Resolves a name, and fails when any of its addresses is not public. */
const lookupPublic: LookupFunction = (hostname, options, callback) => {
  resolve(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
    const fault = error ?? faultOf(hostname, addresses);
    const [first] = addresses ?? [];
    if (fault !== undefined || first === undefined) callback(fault ?? new Error('no address'), '');
    else if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

function faultOf(hostname: string, addresses: readonly LookupAddress[]): Error | undefined {
  const inner = addresses.find(({ address }) => !isPublicAddress(address));
  if (inner === undefined) return undefined;
  return new Error(`${hostname} resolves to ${inner.address}, which is private`);
}

async function fetchBlock(
  agent: Agent,
  origin: string,
  cid: Cid,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array> {
  const timed = AbortSignal.any([signal, AbortSignal.timeout(BLOCK_TIMEOUT_MS)]);
  const { statusCode, body } = await agent.request({
    origin,
    path: `/ipfs/${cid}?format=raw`,
    method: 'GET',
    headers: { accept: 'application/vnd.ipld.raw' },
    signal: timed,
  });
  if (statusCode !== 200) {
    await body.dump({ limit: BLOCK_SIZE_MAX_BYTES, signal: timed }).catch(() => {}); // its text says nothing to us
    throw new Error(`it answered ${statusCode}`);
  }
  const bytes = await body.bytes(); // the agent bounds it
  if (!verify(cid, bytes)) throw new GatewayLied('it sent other bytes than the block');
  return bytes;
}
