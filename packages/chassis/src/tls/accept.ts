/**
 * Lets peers in by TLS on the port on which everybody else speaks plain HTTP: see `splitByFirstByte`.
 *
 * The caller is decided by the key in the certificate, and remembered for the connection: see `memberAt`. A peer that
 * doesn't prove that it belongs to the swarm may ask what is public, as over plain HTTP.
 */
import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { MEMBER_LINE, MEMBER_LINE_BYTES, type PeerId } from '@shoal/protocol';
import type { Log } from '../process/log.ts';
import { Seldom } from '../shares/seldom.ts';
import { peerIdIn } from './certificate.ts';
import { HANDSHAKE_TIMEOUT_MS, splitByFirstByte } from './first-byte.ts';
import type { HandshakeCounter, HandshakeOutcome } from './handshake-counter.ts';
import { Handshakes } from './handshakes.ts';
import { exporterOf } from './membership.ts';
import type { PeerTls } from './peer-tls.ts';

/** From a machine's first call to its being a member, when it joins. Past it: the log and the audit have it as a stranger. */
const JOINING_MS = 2000;

/** The callers of connections by TLS, by the keys of their certificates. */
const callers = new WeakMap<Socket, PeerId>();
/** Those of them that belong to the swarm. */
const members = new WeakMap<Socket, PeerId>();

/** The peer that opened a connection by TLS, member or not; undefined for plain ones. */
export const callerAt = (socket: Socket): PeerId | undefined => callers.get(socket);

/** The member that opened a connection; undefined for plain ones, and for peers that are none. */
export const memberAt = (socket: Socket): PeerId | undefined => members.get(socket);

export interface Accepting {
  readonly tls: PeerTls;
  readonly handshakes: HandshakeCounter;
  /** Called for peers that are refused, once in a while for each address. */
  readonly onRefused?: (refused: { readonly address: string; readonly detail: string }) => void;
}

/** From now on the server speaks both. `endIdle` ends connections that have brought nothing yet, and those to come soon. */
export function acceptPeers(
  server: HttpServer,
  { tls, handshakes, onRefused, log }: Accepting & { readonly log: Pick<Log, 'debug' | 'warn'> },
): { endIdle(): void } {
  const seldom = new Seldom();
  const underWay = new Handshakes<HandshakeOutcome>((outcome, host, peerId) => {
    handshakes.inc({ outcome });
    const sentence = SENTENCES[outcome];
    if (sentence === undefined) return;
    const tell = (): void => {
      if (!server.listening) return; // it ended meanwhile, and its log with it
      // One that joins is a stranger when it calls.
      if (peerId !== undefined && tls.membership.isListed(peerId)) return;
      if (!seldom.isDue(`${outcome} ${peerId ?? host}`)) return;
      log.warn({ address: host, peer: peerId }, sentence);
      onRefused?.({ address: host, detail: [outcome, peerId].filter(Boolean).join(' ') });
    };
    if (outcome === 'stranger') setTimeout(tell, JOINING_MS).unref();
    else if (outcome === 'unsure') log.debug({ address: host, peer: peerId }, sentence);
    else tell();
  });
  const letIn = new Map<TLSSocket, PeerId>();
  const unwatch = tls.membership.onChange(() => {
    for (const [socket, peerId] of letIn) if (!tls.membership.isAllowed(peerId)) socket.destroy();
  });
  server.once('close', unwatch);
  const secure = createServer({
    ...tls.serverOptions,
    requestCert: true,
    rejectUnauthorized: false, // by the key, below
    allowHalfOpen: true, // as HTTP servers have it
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  secure.on('secureConnection', (socket) => {
    const handshake = underWay.of(socket);
    const drop = () => void socket.destroy();
    socket.on('error', drop);
    const certificate = socket.getPeerX509Certificate();
    const peerId = certificate === undefined ? undefined : peerIdIn(certificate);
    if (handshake === undefined || peerId === undefined || socket.isSessionReused()) {
      handshake?.end('no-certificate');
      return drop();
    }
    readMemberLine(socket, (proof) => {
      const { membership } = tls;
      const isRemoved = membership.isRemoved(peerId);
      if (isRemoved || membership.isUnsure(peerId)) {
        handshake.end(isRemoved ? 'removed' : 'unsure', peerId);
        return drop();
      }
      const isMember = membership.isMember(peerId, proof, exporterOf(socket));
      callers.set(socket, peerId);
      if (isMember) {
        members.set(socket, peerId);
        letIn.set(socket, peerId);
        socket.once('close', () => letIn.delete(socket));
      }
      handshake.end(isMember ? 'member' : 'stranger', peerId);
      socket.off('error', drop);
      split.serve(socket);
    });
  });

  const split = splitByFirstByte(server, (socket, timeoutMs) => {
    underWay.begin(socket, timeoutMs);
    secure.emit('connection', socket);
  });
  return {
    endIdle() {
      split.endIdle();
      underWay.endAll();
    },
  };
}

/** Calls back with the proof that precedes the first request, once that or something else is here. */
function readMemberLine(socket: TLSSocket, onRead: (proof: string | undefined) => void): void {
  let head = Buffer.alloc(0);
  const read = () => {
    const bytes = socket.read() as Buffer | null; // no encoding is set
    if (bytes === null) return;
    head = Buffer.concat([head, bytes]);
    const begun = head.toString('latin1', 0, MEMBER_LINE.length);
    const isLine = MEMBER_LINE.startsWith(begun);
    if (isLine && head.length < MEMBER_LINE_BYTES) return;
    socket.off('readable', read).off('end', end);
    const rest = isLine ? head.subarray(MEMBER_LINE_BYTES) : head;
    if (rest.length > 0) socket.unshift(rest);
    onRead(isLine ? head.toString('latin1', MEMBER_LINE.length, MEMBER_LINE_BYTES - 1) : undefined);
  };
  const end = () => void socket.destroy();
  socket.on('readable', read).on('end', end);
}

/** Those that any port scan leads to are not worth a line. */
const SENTENCES: Readonly<Partial<Record<HandshakeOutcome, string>>> = {
  stranger:
    'a peer came by TLS that does not belong to the swarm: it is not on the roster, or has another swarm key',
  removed: 'a connection was refused: the peer was removed from the swarm',
  unsure:
    'a member was put off: this peer has not compared its roster with another member since it started',
  'no-certificate': 'a connection was refused: it came by TLS without the certificate of a peer',
  crowded: 'a TLS handshake was ended: too many are under way',
};
