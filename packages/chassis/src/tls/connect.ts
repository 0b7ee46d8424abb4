/**
 * Opens a connection to another peer. Nothing is sent on it, and nobody may use it, before the certificate at the
 * other end has shown that it is that peer and no other.
 */
import type { OnReadOpts } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { MEMBER_LINE, type PeerId } from '@shoal/protocol';
import { peerIdIn } from './certificate.ts';
import { exporterOf } from './membership.ts';
import type { PeerTls } from './peer-tls.ts';

/** Where a peer answers, and which one has to be there. */
export interface PeerAddress {
  readonly peerId: PeerId;
  /** `http://host:port`, as in its record. */
  readonly origin: string;
}

/** Another peer answers there, or none. */
export class WrongPeer extends Error {}

/**
 * Connects; `onReady` is called once requests may be sent. A failure before or after is an `error` of the socket.
 * @param onread Takes what comes instead of `data` events: see `net.Socket`.
 */
export function connectToPeer(
  { peerId, origin }: PeerAddress,
  tls: PeerTls,
  { onReady, onread }: { readonly onReady: () => void; readonly onread?: OnReadOpts },
): TLSSocket {
  const socket = connect({
    ...hostAndPort(origin),
    secureContext: tls.context,
    rejectUnauthorized: false, // by the key, below
    ...(onread === undefined ? {} : { onread }),
  });
  socket.setNoDelay(true);
  socket.once('secureConnect', () => {
    const certificate = socket.getPeerX509Certificate();
    const there = certificate === undefined ? undefined : peerIdIn(certificate);
    if (there !== peerId || socket.isSessionReused())
      return void socket.destroy(
        new WrongPeer(
          `${peerId} is expected at ${origin}, and ${there ?? 'no peer'} answers there`,
        ),
      );
    socket.write(`${MEMBER_LINE}${tls.membership.prove(peerId, exporterOf(socket))}\n`, 'latin1');
    onReady();
  });
  return socket;
}

/** As `connect` takes them: an IPv6 address has no brackets there. */
export function hostAndPort(origin: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(origin);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port === '' ? 80 : port) };
}
