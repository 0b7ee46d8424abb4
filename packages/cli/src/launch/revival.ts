/** The socket by which a launcher is asked to bring a peer of its swarm back: the owner of the data may ask. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { CommandFailure } from '../failure.ts';
import { openRunFolder } from './run-folder.ts';

/** In the peer's folder for sockets. */
const SOCKET_NAME = 'revive.sock';
/** First byte of an answer; the rest is a sentence. */
const DONE = '+';
const FAILED = '-';

/** Serves one peer until disposed; each connection is one wish. Only the holder of the folder's lock may call it. */
export async function serveRevival(
  runDir: string,
  revive: () => Promise<void>,
): Promise<AsyncDisposable> {
  const path = join(runDir, SOCKET_NAME);
  rmSync(path, { force: true }); // of a launcher that was killed
  const server = createServer((socket) => {
    socket.on('error', () => {}); // who asked may leave: the peer comes back all the same
    revive().then(
      () => socket.end(DONE),
      (error: unknown) => socket.end(`${FAILED}${(error as Error).message}`),
    );
  });
  server.listen(path);
  await once(server, 'listening');
  server.unref();
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

/**
 * Has the launcher that runs a peer bring it back, and waits until it is ready.
 * @throws CommandFailure when none runs it, or it says why it could not.
 */
export async function askForRevival(
  dataDir: string,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const socket = connect(join(openRunFolder(dataDir), SOCKET_NAME));
  const leave = () => socket.destroy();
  signal.addEventListener('abort', leave, { once: true });
  let answer = '';
  try {
    await once(socket, 'connect');
    for await (const piece of socket) answer += String(piece);
  } catch (cause) {
    signal.throwIfAborted();
    throw new CommandFailure(`no swarm runs with the peer in ${dataDir}`, { cause });
  } finally {
    signal.removeEventListener('abort', leave);
  }
  signal.throwIfAborted();
  if (answer !== DONE)
    throw new CommandFailure(answer.slice(1) || 'the swarm ended before the peer was back');
}
