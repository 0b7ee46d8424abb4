/**
 * Lets peers in by TLS on the port on which everybody else speaks plain HTTP: the first byte of a connection tells
 * which it is, as no request begins like a TLS record. The same HTTP server answers both.
 *
 * It works ahead of the server's `connection` event, so that all listeners of that see the socket that carries HTTP, and
 * see it once. Rejected: a second port, which every firewall, map of a container and member record would have to know;
 * and a proxy in front, which copies every byte.
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
import { exporterOf } from './membership.ts';
import type { HandshakeCounter, HandshakeOutcome } from './handshake-counter.ts';
import type { PeerTls } from './peer-tls.ts';

/** The type of a TLS record that begins a handshake. */
const HANDSHAKE_RECORD = 0x16;
/**
 * A connection has this long to send its first byte: as long as it then has for its headers.
 * Past it: closed.
 */
const FIRST_BYTE_TIMEOUT_MS = 60_000;
/** The same for a connection that is opened while the server stops. Past it: closed. */
const ENDING_TIMEOUT_MS = 250;
/**
 * A handshake, and the line after it that proves membership: some round trips, and 4 ms of CPU at both ends together.
 * Past it: closed.
 */
const HANDSHAKE_TIMEOUT_MS = 5000;
/**
 * Handshakes under way at once: more than a swarm of hundreds begins within a round trip.
 * Past it: the one that is under way for longest is closed.
 */
const HANDSHAKES_MAX = 256;

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
}

/** From now on the server speaks both. `endIdle` ends connections that have brought nothing yet, and those to come soon. */
export function acceptPeers(
  server: HttpServer,
  { tls, handshakes, log }: Accepting & { readonly log: Pick<Log, 'warn'> },
): { endIdle(): void } {
  // The event has many forms, of which one is of interest.
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
  const serve = (socket: Socket): void => void emit('connection', socket);
  const silent = new Set<Socket>();
  const underWay = new Handshakes(handshakes, log);
  const letIn = new Map<TLSSocket, PeerId>();
  const unwatch = tls.membership.onChange(() => {
    for (const [socket, peerId] of letIn) if (!tls.membership.isAllowed(peerId)) socket.destroy();
  });
  server.once('close', unwatch);
  let isEnding = false;

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
        handshake.end(isRemoved ? 'removed' : 'unsure');
        return drop();
      }
      const isMember = membership.isMember(peerId, proof, exporterOf(socket));
      callers.set(socket, peerId);
      if (isMember) {
        members.set(socket, peerId);
        letIn.set(socket, peerId);
        socket.once('close', () => letIn.delete(socket));
      }
      handshake.end(isMember ? 'member' : 'stranger');
      socket.off('error', drop);
      serve(socket);
    });
  });

  const look = (socket: Socket): void => {
    const drop = () => void socket.destroy();
    const timer = setTimeout(drop, isEnding ? ENDING_TIMEOUT_MS : FIRST_BYTE_TIMEOUT_MS);
    const leave = () => {
      clearTimeout(timer);
      silent.delete(socket);
      socket.off('readable', read).off('end', drop).off('error', drop).off('close', leave);
    };
    const read = () => {
      const bytes = socket.read() as Buffer | null; // no encoding is set
      if (bytes === null) return; // it ends
      leave();
      socket.unshift(bytes);
      if (bytes[0] !== HANDSHAKE_RECORD) return serve(socket);
      underWay.begin(socket, isEnding ? ENDING_TIMEOUT_MS : HANDSHAKE_TIMEOUT_MS);
      secure.emit('connection', socket);
    };
    silent.add(socket);
    socket.on('readable', read).on('end', drop).on('error', drop).on('close', leave);
  };
  server.emit = ((event: string, ...args: unknown[]) => {
    if (event !== 'connection') return emit(event, ...args);
    look(args[0] as Socket); // what that event gives
    return true;
  }) as HttpServer['emit'];

  return {
    endIdle() {
      isEnding = true;
      for (const socket of silent) socket.destroy();
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

/** A handshake, until somebody is let in or the connection is gone. */
interface Handshake {
  end(outcome: HandshakeOutcome): void;
}

/** Those under way: bounded, counted once each, and the refused ones logged once in a while. */
class Handshakes {
  readonly #counter: HandshakeCounter;
  readonly #log: Pick<Log, 'warn'>;
  readonly #seldom = new Seldom();
  /** By the address that called, the oldest first: TLS has another object for the same connection. */
  readonly #all = new Map<string, Handshake & { readonly socket: Socket }>();

  constructor(counter: HandshakeCounter, log: Pick<Log, 'warn'>) {
    this.#counter = counter;
    this.#log = log;
  }

  begin(socket: Socket, timeoutMs: number): void {
    const [oldest] = this.#all.values();
    if (this.#all.size >= HANDSHAKES_MAX) this.#cut(oldest, 'crowded');
    const name = nameOf(socket);
    const host = socket.remoteAddress ?? '';
    const end = (outcome: HandshakeOutcome): void => {
      if (this.#all.get(name)?.end !== end) return; // it has ended
      clearTimeout(timer);
      socket.off('close', fail);
      this.#all.delete(name);
      this.#note(outcome, host);
    };
    const fail = () => end('failed');
    const handshake = { socket, end };
    const timer = setTimeout(() => this.#cut(handshake, 'late'), timeoutMs);
    socket.once('close', fail);
    this.#all.set(name, handshake);
  }

  /** The one on the connection that a TLS socket is on. */
  of(socket: Socket): Handshake | undefined {
    return this.#all.get(nameOf(socket));
  }

  endAll(): void {
    for (const handshake of this.#all.values()) this.#cut(handshake, 'failed');
  }

  #cut(
    handshake: (Handshake & { readonly socket: Socket }) | undefined,
    outcome: HandshakeOutcome,
  ): void {
    handshake?.end(outcome);
    handshake?.socket.destroy();
  }

  #note(outcome: HandshakeOutcome, host: string): void {
    this.#counter.inc({ outcome });
    const sentence = SENTENCES[outcome];
    if (sentence !== undefined && this.#seldom.isDue(`${outcome} ${host}`))
      this.#log.warn({ address: host }, sentence);
  }
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

const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
