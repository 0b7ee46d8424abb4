/**
 * The port behind which the peer-to-peer network sits. Everything that discovery does is said in these
 * words, so another engine (a Go or Rust sidecar with the same wire protocol, hyperswarm) can be put
 * in. An engine authenticates peers and keeps strangers out; it knows nothing of members or pins.
 */
import type { PeerId } from '@shoal/protocol';

/** The broadcasts: presence of members, questions to all, what peers hold, pins. */
export const TOPICS = ['members', 'asks', 'holdings', 'pins'] as const;
export type Topic = (typeof TOPICS)[number];

/** Largest message either way: libp2p's own bound on a length-prefixed message. */
export const MESSAGE_SIZE_MAX_BYTES = 4 * 1024 * 1024;

/** The result of dialling a peer's addresses. Only `refused` proves that nobody is there. */
export type Knock = 'open' | 'refused' | 'silent';

/** The engine's callbacks; none of them may throw. */
export interface EngineEvents {
  connected(peerId: PeerId): void;
  /** The last connection to this peer is gone. */
  disconnected(peerId: PeerId): void;
  /** Somebody on the local network says that this peer is there; unproven. */
  discovered(peerId: PeerId, addresses: readonly string[]): void;
  /**
   * False when the message is malformed, and undefined when its maker has said too much: it is then not relayed.
   * `from` is authenticated.
   */
  broadcast(topic: Topic, from: PeerId, bytes: Uint8Array): boolean | undefined;
  /** Answers a request; the asker sees a rejection as a failure without detail. */
  request(from: PeerId, bytes: Uint8Array): Promise<Uint8Array>;
  /** How long to read nothing more of what this peer sends us. */
  waitMs(from: PeerId): number;
}

export interface Engine {
  /** Where we listen, as multiaddrs. */
  addresses(): string[];
  connected(): PeerId[];
  /** Whether a broadcast goes straight to each member that is alive, so that nobody relays it. */
  reachesAll(): boolean;
  /** Connected peers that a broadcast on this topic reaches directly. */
  listeners(topic: Topic): PeerId[];
  /** Connects to the peer that answers there; only to `peerId` when given. */
  dial(
    addresses: readonly string[],
    options: { peerId?: PeerId; signal: AbortSignal },
  ): Promise<PeerId>;
  /** Tries bare connections, to tell a dead process from a slow one. */
  knock(addresses: readonly string[], options: { timeoutMs: number }): Promise<Knock>;
  broadcast(topic: Topic, bytes: Uint8Array): Promise<void>;
  /** Asks a connected peer and waits for its answer. */
  request(peerId: PeerId, bytes: Uint8Array, options: { signal: AbortSignal }): Promise<Uint8Array>;
  /** Ends all connections, and lets none be made, either way, until that is allowed again. */
  setAlone(isAlone: boolean): void;
  hangUp(peerId: PeerId): Promise<void>;
  stop(): Promise<void>;
}
