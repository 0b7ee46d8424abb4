/**
 * A peer gone bad: its launcher is frozen, its storage killed, and in its place, at the same port,
 * something answers that lies, hangs or breaks off. The rest of the peer, its membership above all,
 * is real and in good order, so the others have every reason to ask it.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { acceptAs } from './accept-as.ts';
import { eventually } from './eventually.ts';
import { isRunning, signalProcess } from './processes.ts';
import type { RunningPeer } from './start-peer.ts';

const MiB = 1024 * 1024;

/** How it treats a request for a block. */
export const BAD_MANNERS = {
  /** The right length, the wrong bytes. */
  'wrong bytes': (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { 'content-length': MiB }).end(Buffer.alloc(MiB, 0x5a));
  },
  /** Takes the request and says nothing. */
  hangs: () => undefined,
  /** Promises a block, sends a part of it, and is gone. */
  'closes early': (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { 'content-length': MiB });
    response.write(Buffer.alloc(1000), () => response.destroy());
  },
  /** Sends more and more. */
  'never ends': (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200);
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  },
} as const satisfies Record<string, (request: IncomingMessage, response: ServerResponse) => void>;
export type BadManner = keyof typeof BAD_MANNERS;

export interface BadStorage extends AsyncDisposable {
  /** Requests for blocks so far. */
  readonly requests: number;
}

/** Turns a running peer bad until disposed; afterwards its launcher brings the true storage back. */
export async function turnBad(peer: RunningPeer, manner: BadManner): Promise<BadStorage> {
  const { launcherId } = peer;
  signalProcess(launcherId, 'SIGSTOP');
  const storageId = peer.killOne('storage');
  await eventually('the storage is gone', () => !isRunning(storageId));
  let requests = 0;
  const server = createServer((request, response) => {
    response.on('error', () => undefined); // the other side hangs up on it, rightly
    if (request.url?.startsWith('/blocks/') !== true) {
      response.writeHead(503).end();
      return;
    }
    requests += 1;
    BAD_MANNERS[manner](request, response);
  });
  acceptAs(server, peer);
  // A killed process may hold its port a moment longer, until its last thread is gone.
  await eventually('the port is free', async () => {
    server.listen(Number(new URL(peer.storage).port), '127.0.0.1');
    await once(server, 'listening');
    return true;
  });
  return {
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      const { port } = server.address() as AddressInfo;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      signalProcess(launcherId, 'SIGCONT');
      await eventually('the true storage is back', async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
        return answer.ok;
      });
    },
  };
}
