/**
 * Decides who may come in, once TLS has shown who it is. Today: peers that know the swarm key. `isMember` is all that has to change
 * when a signed roster of members takes that key's place.
 *
 * The proof is an HMAC over TLS's exporter of this very connection, both peer ids, and who called. So it is worth
 * nothing on another connection: a member that is called with it can't call a third one in the caller's name.
 */
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto';
import { MEMBER_EXPORTER, memberMessage, type PeerId } from '@shoal/protocol';
import type { TLSSocket } from 'node:tls';

export interface Membership {
  /** The word of this peer on a connection that it opened. @param exporter See `exporterOf`. */
  prove(target: PeerId, exporter: Uint8Array): string;
  /**
   * Whether the peer that opened a connection to us belongs to the swarm.
   * @param proof What it said there; undefined when it said nothing.
   */
  isMember(peerId: PeerId, proof: string | undefined, exporter: Uint8Array): boolean;
}

/** Membership by the swarm key. The HMAC's key is derived, so that it shows nothing of that one. */
export function createMembership(swarmKey: Uint8Array, self: PeerId): Membership {
  const key = createSecretKey(
    Buffer.from(hkdfSync('sha256', swarmKey, '', 'shoal member proof v1', 32)),
  );
  const sign = (source: PeerId, target: PeerId, exporter: Uint8Array): Buffer =>
    createHmac('sha256', key)
      .update(memberMessage({ source, target, exporter: Buffer.from(exporter).toString('hex') }))
      .digest();
  return {
    prove: (target, exporter) => sign(self, target, exporter).toString('base64url'),
    isMember(peerId, proof, exporter) {
      if (proof === undefined) return false;
      const given = Buffer.from(proof, 'base64url');
      const expected = sign(peerId, self, exporter);
      return given.length === expected.length && timingSafeEqual(given, expected);
    },
  };
}

/** Bytes that only the two ends of this connection know, and that no other connection has. */
export const exporterOf = (socket: TLSSocket): Uint8Array =>
  socket.exportKeyingMaterial(MEMBER_EXPORTER.sizeBytes, MEMBER_EXPORTER.label, Buffer.alloc(0));
