/**
 * An owner's command line needs no token: where a peer wants one, it signs one itself, for a day, with the owner's key.
 * Which swarm that is for, the peer says when it refuses a request without one.
 */
import { existsSync } from 'node:fs';
import { Problem, type RecordId, rosterRoutes, TokenRequired } from '@shoal/protocol';
import { Client } from './client.ts';
import type { Context } from '../context.ts';
import { findOwnerKey, ownerKeyFile } from '../rights/owner-key.ts';

/** As long as a command may run with it. Past it: the peer refuses it. */
const OWNER_TOKEN_LIFE_MS = 24 * 3_600_000;

/** A token with all rights; undefined when the peer wants none, or no owner's key is here. */
export async function makeOwnerToken(
  peerUrl: string,
  context: Context,
  stop: { readonly signal: AbortSignal },
): Promise<string | undefined> {
  if (!hasOwnerKey(context)) return undefined;
  const swarm = await askSwarm(peerUrl, stop);
  if (swarm === undefined) return undefined;
  const key = findOwnerKey(context);
  if (key === undefined) return undefined;
  const { createToken } = await import('@shoal/chassis/roster');
  const nowMs = Date.now();
  const draft = { may: ['admin'] as const, atMs: nowMs, expiresAtMs: nowMs + OWNER_TOKEN_LIFE_MS };
  return createToken({ name: 'an owner at a command line', ...draft }, { swarm, key }).text;
}

function hasOwnerKey(context: Context): boolean {
  try {
    return existsSync(ownerKeyFile(context));
  } catch {
    return false; // no home folder
  }
}

/** The swarm whose peer wants a token for changes: asked by a change of nothing, which none takes. */
async function askSwarm(
  peerUrl: string,
  stop: { readonly signal: AbortSignal },
): Promise<RecordId | undefined> {
  await using client = new Client(peerUrl);
  try {
    await client.call(rosterRoutes.change, { body: { records: [] } }, stop);
  } catch (error) {
    stop.signal.throwIfAborted();
    const { cause } = error as Error;
    if (cause instanceof Problem && cause instanceof TokenRequired) return cause.fields.swarm;
  }
  return undefined; // it is open, of another version, or away: the command itself finds out
}
