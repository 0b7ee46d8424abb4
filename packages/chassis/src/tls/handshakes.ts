/** TLS handshakes under way: bounded in time and number, each told of once when it has ended. */
import type { Socket } from 'node:net';
import type { PeerId } from '@shoal/protocol';

/**
 * Handshakes under way at once: more than a swarm of hundreds begins within a round trip.
 * Past it: the one that is under way for longest is closed.
 */
const HANDSHAKES_MAX = 256;

/** How a handshake ends without a word from the other side. */
export type CutOutcome = 'failed' | 'late' | 'crowded';

/** A handshake, until somebody is let in or the connection is gone. */
export interface Handshake<Outcome> {
  /** @param peerId Of the caller, where it is known. */
  end(outcome: Outcome | CutOutcome, peerId?: PeerId): void;
}

type OnEnd<Outcome> = (
  outcome: Outcome | CutOutcome,
  host: string,
  peerId: PeerId | undefined,
) => void;

interface Entry<Outcome> extends Handshake<Outcome> {
  readonly socket: Socket;
}

export class Handshakes<Outcome extends string> {
  readonly #onEnd: OnEnd<Outcome>;
  /** By the address that called, the oldest first: TLS has another object for the same connection. */
  readonly #all = new Map<string, Entry<Outcome>>();

  /** @param onEnd Told how each ended, and whose it was. */
  constructor(onEnd: OnEnd<Outcome>) {
    this.#onEnd = onEnd;
  }

  begin(socket: Socket, timeoutMs: number): void {
    const [oldest] = this.#all.values();
    if (this.#all.size >= HANDSHAKES_MAX) cut(oldest, 'crowded');
    const name = nameOf(socket);
    const host = socket.remoteAddress ?? '';
    const end = (outcome: Outcome | CutOutcome, peerId?: PeerId): void => {
      if (this.#all.get(name)?.end !== end) return; // it has ended
      clearTimeout(timer);
      socket.off('close', fail);
      this.#all.delete(name);
      this.#onEnd(outcome, host, peerId);
    };
    const fail = () => end('failed');
    const handshake = { socket, end };
    const timer = setTimeout(() => cut(handshake, 'late'), timeoutMs);
    socket.once('close', fail);
    this.#all.set(name, handshake);
  }

  /** The one on the connection that a TLS socket is on. */
  of(socket: Socket): Handshake<Outcome> | undefined {
    return this.#all.get(nameOf(socket));
  }

  endAll(): void {
    for (const handshake of this.#all.values()) cut(handshake, 'failed');
  }
}

function cut(handshake: Entry<never> | undefined, outcome: CutOutcome): void {
  handshake?.end(outcome);
  handshake?.socket.destroy();
}

const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
