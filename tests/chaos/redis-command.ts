/** One command to a peer's own Redis, over its unix socket. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { RunningPeer } from '@shoal/testkit';

const ANSWER_TIMEOUT_MS = 10_000;

/** Answers the first line that Redis says. @throws Error when it does not answer, or refuses. */
export async function redisCommand(peer: RunningPeer, command: string): Promise<string> {
  const socket = connect(socketOf(peer));
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  try {
    await once(socket, 'connect', { signal });
    socket.write(`${command}\r\n`);
    const [line] = (await once(socket.setEncoding('utf8'), 'data', { signal })) as [string];
    if (line.startsWith('-')) throw new Error(`redis: ${command}: ${line.trim()}`);
    return line.trim();
  } finally {
    socket.destroy();
  }
}

/** Redis shows the socket that it listens on as its title. */
function socketOf(peer: RunningPeer): string {
  const { redis } = peer.processIds();
  const title = redis === undefined ? '' : readFileSync(`/proc/${redis}/cmdline`, 'utf8');
  const path = /unixsocket:(\S+?)[\s\0]|(\/[^\s\0]+\.sock)/
    .exec(`${title} `)
    ?.slice(1)
    .find(Boolean);
  if (path === undefined) throw new Error(`no socket of Redis in: ${title}`);
  return path;
}
