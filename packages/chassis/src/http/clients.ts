/**
 * Which client a request is of, for everything that clients share: its address, and whether it has a token of this
 * peer. A token that isn't ours makes nobody another client, or anyone could be a thousand.
 *
 * The services behind see the gateway's address on every request, so the gateway passes the client's
 * name on, with a proof that only services of this peer can make. A header that clients send under that name
 * is thrown away at the gateway and proves nothing elsewhere.
 */
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto';
import { CLIENT_HEADER, clientMessage, type PeerId } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { type Access, isGood, tokenIn } from '../access/access.ts';
import { provenPeer } from '../access/proven-peer.ts';
import { addressShare, clientAddress, listNetworks } from '../process/client-address.ts';
import type { PeerConfig } from '../process/config.ts';
import { type Prover, readLocalSecret } from '../client/proof.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose share of this peer it takes. */
    readonly client: string;
  }
}

/** Longest name of a client: an address, and a word. Past it: cut. */
const CLIENT_LENGTH_MAX = 100;

interface Passed {
  readonly method: string;
  /** Path with query, as on the request line. */
  readonly path: string;
}

export interface Clients {
  /** Whose request this is. */
  of(request: FastifyRequest): string;
  /** Whether a service of this peer passes it on for a client. */
  isPassedOn(request: FastifyRequest): boolean;
  /** Headers that tell a service of this peer whose request it is given. */
  vouch(client: string, passed: Passed): Record<string, string>;
}

/** @throws ConfigError */
export function openClients(
  config: Pick<PeerConfig, 'PEER_ID' | 'PEER_DATA_DIR' | 'TRUSTED_PROXIES'>,
  options: { readonly access: Pick<Access, 'judge'>; readonly prover?: Prover },
): Clients {
  const { PEER_ID: self, PEER_DATA_DIR: folder, TRUSTED_PROXIES: trustedProxies } = config;
  return createClients({ self, localSecret: readLocalSecret(folder), trustedProxies, ...options });
}

export function createClients({
  self,
  localSecret,
  trustedProxies,
  access,
  prover,
}: {
  readonly self: PeerId;
  /** The secret that only the services of this peer know. */
  readonly localSecret: Uint8Array;
  readonly trustedProxies: readonly string[];
  /** Knows a token from a text that anybody may send. */
  readonly access: Pick<Access, 'judge'>;
  /** Recognises own services, and members on plain HTTP, by their proof; without one it goes by the address. */
  readonly prover?: Prover | undefined;
}): Clients {
  const proxies = listNetworks(trustedProxies);
  const key = createSecretKey(
    Buffer.from(hkdfSync('sha256', localSecret, '', 'shoal client proof v1', 32)),
  );
  const sign = (client: string, { method, path }: Passed): Buffer =>
    createHmac('sha256', key).update(clientMessage({ self, method, path, client })).digest();

  const vouchedFor = (header: unknown, passed: Passed): string | undefined => {
    if (typeof header !== 'string') return undefined;
    const [version, name = '', mac = ''] = header.split(' ');
    const client = Buffer.from(name, 'base64url').toString();
    const given = Buffer.from(mac, 'base64url');
    const expected = sign(client, passed);
    const isProven = given.length === expected.length && timingSafeEqual(given, expected);
    return version === 'v1' && isProven ? client.slice(0, CLIENT_LENGTH_MAX) : undefined;
  };
  const shareOfPeer = (request: FastifyRequest): string | undefined => {
    const peerId = provenPeer(request, prover);
    return peerId === undefined ? undefined : `peer ${peerId}`;
  };

  return {
    of(request) {
      const { method, url: path, headers, socket } = request;
      const known = vouchedFor(headers[CLIENT_HEADER], { method, path }) ?? shareOfPeer(request);
      if (known !== undefined) return known;
      const forwarded = headers['x-forwarded-for'];
      const forwardedFor = Array.isArray(forwarded) ? forwarded.join(',') : forwarded;
      const address = addressShare(clientAddress(socket.remoteAddress, forwardedFor, proxies));
      const hasToken = isGood(access.judge(tokenIn(headers.authorization)));
      return hasToken ? `${address} token` : address;
    },
    isPassedOn: ({ method, url: path, headers }) =>
      vouchedFor(headers[CLIENT_HEADER], { method, path }) !== undefined,
    vouch(client, passed) {
      const name = Buffer.from(client).toString('base64url');
      return { [CLIENT_HEADER]: `v1 ${name} ${sign(client, passed).toString('base64url')}` };
    },
  };
}
