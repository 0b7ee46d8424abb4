/** Delegated Routing V1 (specs.ipfs.tech/routing/http-routing-v1): who may be asked for a CID. */
import * as z from 'zod';
import { CidText, PeerId } from '../cid.ts';
import { route } from '../route.ts';

/**
 * Records in one answer: the specification's limit.
 * Past it: the rest is left out; rotation gives everyone a turn.
 */
export const ROUTING_RECORDS_MAX = 100;
/** The protocols that a peer of ours speaks to strangers. */
export const GATEWAY_PROTOCOL = 'transport-ipfs-gateway-http';
/** Everything below this is read by strangers' pages too. */
export const ROUTING_PREFIX = '/routing/v1/';

/** A peer, its addresses as multiaddrs, and what it speaks there. */
export const RoutingRecord = z.object({
  Schema: z.literal('peer'),
  ID: PeerId,
  Addrs: z.array(z.string()),
  Protocols: z.array(z.string()),
});
export type RoutingRecord = z.infer<typeof RoutingRecord>;

/** IPIP-484: names with commas between, in either case; `unknown` is a record that names none. */
const filters = z.object({
  /** Keeps records that speak one of these. */
  'filter-protocols': z.string().max(1024).optional(),
  /** Keeps addresses that contain one of these protocols, and none that is named with a `!`. */
  'filter-addrs': z.string().max(1024).optional(),
});

export const routingRoutes = {
  findProviders: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/routing/v1/providers/:cid',
    publicAs: 'routing',
    summary:
      'Peers to get a block from, in rotating order: all that are up when the swarm holds it, none otherwise (also HEAD). JSON, or ndjson for an Accept that names that alone.',
    params: z.object({ cid: CidText }), // one that is none is the router's to refuse, by 422
    query: filters,
    body: undefined,
    reply: z.object({ Providers: z.array(RoutingRecord).max(ROUTING_RECORDS_MAX) }),
    replyTypes: ['application/json', 'application/x-ndjson'],
  }),
  findPeers: route({
    service: 'discovery',
    audience: 'public',
    method: 'GET',
    path: '/routing/v1/peers/:peerId',
    publicAs: 'routing',
    summary:
      'Where a peer is, by its id in base58 or as a CID (also HEAD). JSON, or ndjson for an Accept that names that alone.',
    params: z.object({
      peerId: z.string().meta({
        pattern: '^(?:1[1-9A-HJ-NP-Za-km-z]+|Qm[1-9A-HJ-NP-Za-km-z]{44}|[bzk][0-9A-Za-z]+)$',
      }),
    }),
    query: filters,
    body: undefined,
    reply: z.object({ Peers: z.array(RoutingRecord).max(ROUTING_RECORDS_MAX) }),
    replyTypes: ['application/json', 'application/x-ndjson'],
  }),
} as const;
