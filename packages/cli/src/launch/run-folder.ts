/**
 * A peer's folder for sockets, and the lock in it.
 *
 * A unix socket's path must stay under 108 bytes, so a peer whose data folder is deep gets a short folder
 * below the system's temporary one, named after the data folder. The lock is a socket too: it is
 * held for as long as its process lives, also when that is killed, and needs no guess about whether a
 * pid was given to another process since.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, realpathSync, rmdirSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { CommandFailure } from '../failure.ts';

/**
 * Below the 104 bytes of the strictest system, with its closing zero.
 * Past it: a folder below the temporary one is used.
 */
const SOCKET_PATH_MAX_BYTES = 100;
const LONGEST_SOCKET_NAME = 'launcher.sock';
/**
 * Holder of a data folder (answers within `ANSWER_TIMEOUT_MS`, 1 s).
 * Past it: still counts as the holder, without a name.
 */
const ANSWER_TIMEOUT_MS = 1000;

/** The folder for sockets of the peer whose data is in `dataDir`, made for its owner alone. */
export function openRunFolder(dataDir: string): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const near = join(dataDir, 'run');
  const folder =
    Buffer.byteLength(join(near, LONGEST_SOCKET_NAME)) < SOCKET_PATH_MAX_BYTES
      ? near
      : join(tmpdir(), `shoal-${shortName(realpathSync(dataDir))}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid } = userInfo();
  const status = lstatSync(folder);
  if (!status.isDirectory() || (uid >= 0 && status.uid !== uid))
    throw new CommandFailure(`${folder} belongs to another user; remove it, or set TMPDIR`);
  chmodSync(folder, 0o700);
  return folder;
}

/**
 * Removes the folder when nothing is left in it, unless it is with the data: a disk that gets full may
 * have no room to make it again, and that peer must still start.
 */
export function closeRunFolder(folder: string, dataDir: string): void {
  if (folder === join(dataDir, 'run')) return;
  try {
    rmdirSync(folder);
  } catch {
    // Something is in it, or it is gone: either way there is nothing to do.
  }
}

export interface FolderLock extends AsyncDisposable {
  /** The last holder was killed: what it started may still be stopping. */
  readonly wasLeftBehind: boolean;
}

/**
 * Holds the data folder until disposed.
 * @throws CommandFailure when another launcher holds it.
 */
export async function lockFolder(runDir: string, dataDir: string): Promise<FolderLock> {
  const path = join(runDir, LONGEST_SOCKET_NAME);
  const server = createServer((socket) => socket.on('error', () => {}).end(String(process.pid)));
  let wasLeftBehind = false;
  for (const isLast of [false, true]) {
    try {
      server.listen(path);
      await once(server, 'listening');
      break;
    } catch (error) {
      if (isLast || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
    const holder = await askHolder(path);
    if (holder !== undefined)
      throw new CommandFailure(
        `${dataDir} is in use by another shoal (process ${holder}); stop that one, or choose another --data-dir`,
      );
    rmSync(path, { force: true }); // its process is gone: nobody answers
    wasLeftBehind = true;
  }
  server.unref();
  return {
    wasLeftBehind,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

async function askHolder(path: string): Promise<string | undefined> {
  const socket = connect(path);
  socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy());
  try {
    await once(socket, 'connect');
  } catch {
    return undefined; // refused: the socket outlived its process
  }
  let answer = '';
  try {
    for await (const piece of socket) answer += String(piece);
  } catch {
    // Connected, so a process holds it; only the name is lost.
  }
  return answer === '' ? 'unknown' : answer;
}

function shortName(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
