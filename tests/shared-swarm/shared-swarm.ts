/**
 * One swarm of three for all tests that only ask, in one process. Whoever needs it first makes the
 * runner start it; the runner ends it, and fails when a test left a file in it. The fixtures are in it
 * from the start: they come in at the first peer with one copy of each block, so that the others have
 * to ask inside the swarm for most of what they are asked.
 *
 * What a test adds is its own, by its bytes, and is deleted by it: `Additions` does that.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { env } from 'node:process';
import { type Peer, remove } from '@shoal/testkit';
import type { SharedPeer } from './owner.ts';

/** The first peer, where fixtures came in, and two others. */
export type SharedSwarm = readonly [Peer, Peer, Peer];

/** The runner's socket, as every process below it is told. */
export const SOCKET_VARIABLE = 'SHOAL_SHARED_SWARM';
const START_TIMEOUT_MS = 120_000;

/** The swarm that all tests share: asked of the runner, who starts it when it is the first time. */
export async function sharedSwarm(): Promise<SharedSwarm> {
  const path = env[SOCKET_VARIABLE];
  if (path === undefined)
    throw new Error(`${SOCKET_VARIABLE} is not set: start tests by npm test or pnpm jest`);
  const socket = connect(path);
  socket.setEncoding('utf8').setTimeout(START_TIMEOUT_MS, () => {
    socket.destroy(new Error(`the shared swarm is not there after ${START_TIMEOUT_MS} ms`));
  });
  await once(socket, 'connect');
  let answer = '';
  for await (const piece of socket) answer += String(piece);
  if (answer === '')
    throw new Error('the shared swarm did not start; the runner’s output says why');
  // The owner's own words.
  const peers = (JSON.parse(answer) as readonly SharedPeer[]).map((peer) => ({
    ...peer,
    logTails: () => `(${peer.dataDir}/logs)`,
  }));
  const [first, second, third] = peers;
  if (first === undefined || second === undefined || third === undefined)
    throw new Error('the shared swarm has three peers');
  return [first, second, third];
}

/** Files that a test put into the shared swarm, and takes out of it again. */
export class Additions implements AsyncDisposable {
  readonly #roots = new Map<string, Peer>();

  /** To be deleted at `peer` in the end. */
  add(root: string, peer: Peer): void {
    this.#roots.set(root, peer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [root, peer] of this.#roots) await remove(peer.discovery, root);
    this.#roots.clear();
  }
}
