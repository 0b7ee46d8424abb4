/**
 * How a machine asks to join: by TLS with its own certificate, to the peer that the invitation names and no other.
 * Nothing is said before that peer has shown its key, and only the signature of the invitation's key goes over.
 */
import {
  ForeignAnswer,
  type JoinReply,
  Problem,
  readAnswer,
  type RecordId,
  type Route,
  rosterRoutes,
} from '@shoal/protocol';
import type * as z from 'zod';
import type { Identity } from '../process/identity.ts';
import { type InviteCode, keyPairOfInvite } from '../roster/invite-code.ts';
import { createSeed } from '../roster/keys.ts';
import { proveJoin } from '../roster/record.ts';
import { createPeerTls } from '../tls/peer-tls.ts';
import { createPeerPools } from './peer-pools.ts';

/** A connection to the inviter. Past it: its next address is tried. */
const CONNECT_TIMEOUT_MS = 3000;
/** For one answer. Past it: joining fails, and may be tried again with the same invitation. */
const ANSWER_TIMEOUT_MS = 15_000;

export interface Joining {
  readonly identity: Identity;
  readonly code: InviteCode;
  readonly name?: string | undefined;
  /** The swarm that this machine's data belongs to, when it does. */
  readonly swarm?: RecordId | undefined;
  readonly signal: AbortSignal;
}

/** No address of the invitation leads to the peer that invited. */
export class InviterAway extends Error {}

/** The invitation is for another swarm than the machine's data belongs to. */
export class OtherSwarm extends Error {}

/** @throws OtherSwarm; Problem when the inviter says no; InviterAway; ForeignAnswer */
export async function askToJoin(joining: Joining): Promise<JoinReply> {
  const { code, signal } = joining;
  const failures: string[] = [];
  for (const address of code.addresses) {
    const answer = await askAt(address, joining).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!isUnreached(error)) throw error;
      failures.push(`${address}: ${(error as Error).message}`);
      return undefined;
    });
    if (answer !== undefined) return answer;
  }
  throw new InviterAway(failures.join('; '));
}

async function askAt(address: string, { code, identity, name, swarm: own, signal }: Joining) {
  // The inviter takes this peer for no member, so its word on membership may come from any key.
  const tls = createPeerTls(identity, createSeed());
  await using pools = createPeerPools(tls, { connectTimeoutMs: CONNECT_TIMEOUT_MS });
  const target = { peerId: code.inviter, origin: `http://${address}` };
  const ask = async <R extends z.ZodType>(route: Route & { reply: R }, body?: unknown) => {
    const answer = await pools.to(target).request({
      path: route.path,
      method: body === undefined ? 'GET' : 'POST',
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      headersTimeout: ANSWER_TIMEOUT_MS,
      signal,
    });
    const { statusCode: status, headers } = answer;
    const text = await answer.body.text();
    const type = String(headers['content-type']);
    return readAnswer(route.reply, { status, type, text }, `joining at ${target.origin}`);
  };
  const { swarm } = await ask(rosterRoutes.joinInfo);
  if (own !== undefined && own !== swarm) throw new OtherSwarm();
  const key = keyPairOfInvite(code.secret);
  const proof = proveJoin(swarm, identity.peerId, key);
  const named = name === undefined ? {} : { name };
  return await ask(rosterRoutes.join, { invite: key.id, proof, ...named });
}

/** Nobody is there, or another peer is. */
const isUnreached = (error: unknown): boolean =>
  ![Problem, ForeignAnswer, OtherSwarm].some((known) => error instanceof known);
