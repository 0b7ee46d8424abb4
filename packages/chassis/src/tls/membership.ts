/**
 * Decides who may come in, once TLS has shown who it is: the members on the roster; in a swarm without one, peers that
 * prove that they know the swarm key.
 *
 * The proof is an HMAC over TLS's exporter of this very connection, both peer ids, and who called. So it is worth
 * nothing on another connection: a member that is called with it can't call a third one in the caller's name.
 */
import assert from 'node:assert';
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto';
import { MEMBER_EXPORTER, memberMessage, type PeerId } from '@shoal/protocol';
import type { TLSSocket } from 'node:tls';
import { allKeys, type SwarmKeys } from '../process/config.ts';
import type { Roster } from '../roster/roster.ts';

export interface Membership {
  /** The word of this peer on a connection that it opened. @param exporter See `exporterOf`. */
  prove(target: PeerId, exporter: Uint8Array): string;
  /**
   * Whether the peer that opened a connection to us belongs to the swarm.
   * @param proof What it said there; undefined when it said nothing.
   */
  isMember(peerId: PeerId, proof: string | undefined, exporter: Uint8Array): boolean;
  /** Whether it still belongs, of one that was let in before, or that this peer wants to call. */
  isAllowed(peerId: PeerId): boolean;
  /** Whether the roster has it, where there is one. */
  isListed(peerId: PeerId): boolean;
  /** Whether it was a member, and never will be again. */
  isRemoved(peerId: PeerId): boolean;
  /** Whether that is not known yet: a member may come again. */
  isUnsure(peerId: PeerId): boolean;
  /** Calls back when somebody may have lost that, until the other function is called. */
  onChange(listener: () => void): () => void;
}

/** The HMAC's key is derived from the swarm key, so that it shows nothing of that one. */
export function createMembership(swarmKeys: SwarmKeys, self: PeerId, roster?: Roster): Membership {
  const [shown, ...others] = allKeys(swarmKeys).map((swarmKey) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', swarmKey, '', 'shoal member proof v1', 32))),
  );
  assert(shown !== undefined, 'there is a key');
  const sign = (source: PeerId, target: PeerId, exporter: Uint8Array, key = shown): Buffer =>
    createHmac('sha256', key)
      .update(memberMessage({ source, target, exporter: Buffer.from(exporter).toString('hex') }))
      .digest();
  return {
    prove: (target, exporter) => sign(self, target, exporter).toString('base64url'),
    isAllowed: (peerId) => roster?.hasMember(peerId) !== false,
    isListed: (peerId) => roster?.hasMember(peerId) === true,
    isRemoved: (peerId) => roster?.view.removed.has(peerId) === true,
    isUnsure: (peerId) => roster?.isCompared === false && roster.hasMember(peerId) === true,
    onChange: (listener) => roster?.onChange(listener) ?? (() => {}),
    isMember(peerId, proof, exporter) {
      const isListed = roster?.hasMember(peerId);
      if (isListed !== undefined) return isListed;
      if (proof === undefined) return false;
      const given = Buffer.from(proof, 'base64url');
      return [shown, ...others].some((key) => {
        const expected = sign(peerId, self, exporter, key);
        return given.length === expected.length && timingSafeEqual(given, expected);
      });
    },
  };
}

/** Bytes that only the two ends of this connection know, and that no other connection has. */
export const exporterOf = (socket: TLSSocket): Uint8Array =>
  socket.exportKeyingMaterial(MEMBER_EXPORTER.sizeBytes, MEMBER_EXPORTER.label, Buffer.alloc(0));
