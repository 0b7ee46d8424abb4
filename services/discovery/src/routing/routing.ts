/**
 * `/routing/v1/…`: Delegated Routing V1 for Helia, Kubo and others that ask an HTTP router.
 *
 * A gateway of ours answers for every block of the swarm, fetching what it lacks from the others. So
 * the providers of a block are all members that are up, or none. The answer is JSON unless ndjson is
 * asked for and JSON is not: Kubo asks for ndjson alone, and Helia's client breaks on it.
 */
import { peerIdFromString } from '@libp2p/peer-id';
import { readCid } from '@shoal/blocks';
import { type Call, type Mounting, mountRaw } from '@shoal/chassis';
import {
  type Cid,
  CidUnsupported,
  HashInvalid,
  type Member,
  ROUTING_PREFIX,
  RoutingKeyInvalid,
  type RoutingRecord,
  routingRoutes,
} from '@shoal/protocol';
import type * as z from 'zod';
import type { FindBlock } from './is-held.ts';
import { toRecords } from './provider-records.ts';

const JSON_TYPE = 'application/json';
const NDJSON_TYPE = 'application/x-ndjson';
/** How long an answer may be kept: members come and go, and a new file must soon be found. */
const FRESH_S = 30;
const FRESH_EMPTY_S = 15;
/** How long a cache may give an older answer while it asks again, or while nobody answers it. */
const STALE_S = 600;
/** Longer keys are shown cut. */
const KEY_SHOWN_CHARS = 100;

/** The headers that web pages may send; the chassis lets them read the answer. */
const CORS_HEADERS = {
  'access-control-allow-methods': 'GET, HEAD, OPTIONS',
  'access-control-allow-headers': 'Accept, Content-Type, User-Agent, X-Requested-With',
  'access-control-max-age': '86400',
};

export function mountRouting(
  mounting: Mounting,
  deps: {
    readonly members: () => readonly Member[];
    readonly findBlock: FindBlock;
    /** Index of the first record of the first answer: chance, so that peers differ. */
    readonly firstTurn: number;
  },
): void {
  const { members, findBlock } = deps;
  const { app } = mounting;
  let turn = deps.firstTurn;

  // A hook, since what there is no route for has to answer pages too.
  app.addHook('onRequest', async (request, reply) => {
    if (request.url.startsWith(ROUTING_PREFIX)) void reply.headers(CORS_HEADERS);
  });
  app.options(`${ROUTING_PREFIX}*`, async (_, reply) => reply.code(204).send());
  mountRaw(mounting, routingRoutes.findProviders, async (call) => {
    const { params, query, request, signal } = call;
    const { client } = request;
    const cid = readKey(params.cid);
    const isHeld = cid !== undefined && (await findBlock.isHeld(cid, { client, signal }));
    const up = isHeld ? members().filter(({ state }) => state === 'alive') : [];
    return answer(call, 'Providers', toRecords(up, query, turn++));
  });
  mountRaw(mounting, routingRoutes.findPeers, async (call) => {
    const peerId = readPeerId(call.params.peerId);
    const found = members().filter(
      (member) => member.peerId === peerId && /^(?:alive|suspect)$/.test(member.state),
    );
    return answer(call, 'Peers', toRecords(found, call.query, 0));
  });
}

/** Whether an answer is ndjson: its type is accepted, and JSON is not. */
export function isNdjsonWanted(accept: string | undefined): boolean {
  const accepted = (accept ?? '').split(',').flatMap((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    return parameters.some((each) => /^q=0(?:\.0*)?$/.test(each)) ? [] : [type];
  });
  const takesJson = [JSON_TYPE, 'application/*', '*/*'].some((type) => accepted.includes(type));
  return accepted.includes(NDJSON_TYPE) && !takesJson;
}

type Asked = Pick<Call<z.ZodObject, z.ZodObject, undefined>, 'request' | 'reply'>;

async function answer(
  { request, reply }: Asked,
  list: 'Providers' | 'Peers',
  records: readonly RoutingRecord[],
): Promise<unknown> {
  const isNdjson = isNdjsonWanted(request.headers.accept);
  const freshS = records.length === 0 ? FRESH_EMPTY_S : FRESH_S;
  const text = isNdjson
    ? records.map((record) => `${JSON.stringify(record)}\n`).join('')
    : JSON.stringify({ [list]: records });
  return reply
    .headers({
      'content-type': isNdjson ? NDJSON_TYPE : JSON_TYPE,
      'cache-control': `public, max-age=${freshS}, stale-while-revalidate=${STALE_S}, stale-if-error=${STALE_S}`,
      'last-modified': new Date().toUTCString(),
      vary: 'Accept',
    })
    .send(Buffer.from(text));
}

/**
 * The block that is asked for; undefined for one that no peer of ours could have.
 * @throws RoutingKeyInvalid
 */
function readKey(text: string): Cid | undefined {
  try {
    const read = readCid(text);
    return read.kind === 'block' ? read.cid : undefined;
  } catch (cause) {
    if (cause instanceof CidUnsupported) return undefined;
    if (!(cause instanceof HashInvalid)) throw cause;
    throw new RoutingKeyInvalid({ key: shown(text), expected: 'a CID' }, { cause });
  }
}

/** A peer id in our spelling, whatever its key: other kinds are ids too. @throws RoutingKeyInvalid */
function readPeerId(text: string): string {
  try {
    return peerIdFromString(text).toString();
  } catch (cause) {
    const expected = 'a peer id (12D3Koo…, or a CID of a libp2p key)';
    throw new RoutingKeyInvalid({ key: shown(text), expected }, { cause });
  }
}

const shown = (key: string) => key.slice(0, KEY_SHOWN_CHARS);
