/**
 * HTTPS for people, on the port on which this peer's own services go on speaking plain HTTP: see `splitByFirstByte`.
 * The certificate is one that browsers know, so it is the operator's and is renewed while we run: `renew` gives it to
 * connections from then on, and those that are open keep the one that they began with.
 */
import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type SecureContextOptions } from 'node:tls';
import type { Counter } from 'prom-client';
import { HANDSHAKE_TIMEOUT_MS, splitByFirstByte } from './first-byte.ts';
import { type CutOutcome, Handshakes } from './handshakes.ts';

/** A certificate and its key, in PEM. */
export type PeopleTls = Pick<SecureContextOptions, 'cert' | 'key' | 'minVersion'>;

export interface AcceptingPeople {
  readonly tls: PeopleTls;
  /** Calls back with what gives a renewed certificate to connections from then on. */
  readonly onServing: (renew: (tls: PeopleTls) => void) => void;
  readonly handshakes: Pick<Counter<'outcome'>, 'inc'>;
}

/** Whether nobody on the way reads what comes by this connection. */
export const isEncrypted = (socket: Socket): boolean => 'encrypted' in socket && !!socket.encrypted;

/** From now on the server speaks both. `endIdle` ends connections that have brought nothing yet, and those to come soon. */
export function acceptPeople(
  server: HttpServer,
  { tls, onServing, handshakes }: AcceptingPeople,
): { endIdle(): void } {
  const underWay = new Handshakes<'done' | CutOutcome>((outcome) => handshakes.inc({ outcome }));
  const secure = createServer({
    ...tls,
    ALPNProtocols: ['http/1.1'],
    allowHalfOpen: true, // as HTTP servers have it
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  secure.on('secureConnection', (socket) => {
    underWay.of(socket)?.end('done');
    split.serve(socket);
  });
  const split = splitByFirstByte(server, (socket, timeoutMs) => {
    underWay.begin(socket, timeoutMs);
    secure.emit('connection', socket);
  });
  onServing((renewed) => secure.setSecureContext(renewed));
  return {
    endIdle() {
      split.endIdle();
      underWay.endAll();
    },
  };
}
