/**
 * A network of hosts that run the product's code behind the engine's port. Messages take the latency of their pair, a
 * share of them may be lost for good (harder than TCP, which would repeat them), hosts can be killed, stopped and
 * cut off from others. What each host sends is counted, in messages and bytes.
 *
 * Where a host is not connected to all members its broadcasts are relayed as gossipsub does with `floodPublish`: to
 * all neighbours by the one that says it, then by each that hears it first to its mesh, which is mutual. Gossipsub's own
 * upkeep and its second way (IHAVE) are left out.
 */
import type { PeerId } from '@shoal/protocol';
import type { Random } from '@shoal/testkit';
import type { Engine, EngineEvents, Topic } from '../../src/network/engine.ts';
import type { Request } from '../../src/network/messages.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Between two hosts, one way: a rack to two continents, each pair its own. */
const LATENCY_MS = [1, 50] as const;
/** TCP, and Noise in it: round trips before a connection is of use. */
const HANDSHAKE_TRIPS = 3;
/** Length, kind and number of a frame (link.ts). */
const HEAD_BYTES = 9;
/** Neighbours that a message is relayed to, about: between gossipsub's D and D_high. */
const MESH_DEGREE = 8;

export interface Sent {
  messages: number;
  bytes: number;
}

export interface Host {
  readonly peerId: PeerId;
  readonly address: string;
  readonly events: EngineEvents;
  readonly audience: () => readonly PeerId[];
  readonly neighbours: Set<PeerId>;
  /** By kind of request, answer or topic. */
  readonly sent: Map<string, Sent>;
  /** Broadcasts that it relayed. */
  readonly heard: Set<number>;
  /** `stopped`: its connections stand and it says nothing. */
  state: 'up' | 'stopped' | 'dead';
}

export class Network {
  /** Share of messages that are lost. */
  lossShare = 0;
  readonly hosts = new Map<PeerId, Host>();
  readonly #byAddress = new Map<string, Host>();
  readonly #time: VirtualTime;
  readonly #random: Random;
  /** Which side of a cut a host is on. */
  #sideOf: (peerId: PeerId) => number = () => 0;
  #broadcasts = 0;
  readonly #pairs = new Map<PeerId, Map<PeerId, number>>();

  constructor(time: VirtualTime, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  /** Puts a host into the network, and answers its engine. */
  add(host: Pick<Host, 'peerId' | 'address' | 'events' | 'audience'>): Engine {
    const added: Host = {
      ...host,
      neighbours: new Set(),
      sent: new Map(),
      heard: new Set(),
      state: 'up',
    };
    this.hosts.set(host.peerId, added);
    this.#byAddress.set(host.address, added);
    return this.#engineOf(added);
  }

  /** Its process is gone: connections break, and dials are refused. */
  kill(peerId: PeerId): void {
    const host = this.#hostOf(peerId);
    host.state = 'dead';
    for (const neighbour of host.neighbours) this.#disconnect(host, this.#hostOf(neighbour));
  }

  /** It says nothing any more, as behind a cable that was pulled. */
  stop(peerId: PeerId): void {
    this.#hostOf(peerId).state = 'stopped';
  }

  /** Nothing goes between hosts of different sides. */
  cut(sideOf: (peerId: PeerId) => number): void {
    this.#sideOf = sideOf;
  }

  mend(): void {
    this.#sideOf = () => 0;
  }

  /** Sum of what all hosts sent so far. */
  sent(): Sent {
    const sum = { messages: 0, bytes: 0 };
    for (const host of this.hosts.values())
      for (const { messages, bytes } of host.sent.values()) {
        sum.messages += messages;
        sum.bytes += bytes;
      }
    return sum;
  }

  /** The same by kind. */
  sentByKind(): Map<string, Sent> {
    const sums = new Map<string, Sent>();
    for (const host of this.hosts.values())
      for (const [kind, { messages, bytes }] of host.sent) {
        const sum = sums.get(kind) ?? { messages: 0, bytes: 0 };
        sums.set(kind, { messages: sum.messages + messages, bytes: sum.bytes + bytes });
      }
    return sums;
  }

  #hostOf(peerId: PeerId): Host {
    const host = this.hosts.get(peerId);
    if (host === undefined) throw new Error(`there is no ${peerId}`);
    return host;
  }

  /** What is random of a pair of hosts, the same in both directions. */
  #shareOf(one: PeerId, other: PeerId): number {
    const known = this.#pairs.get(one)?.get(other);
    if (known !== undefined) return known;
    const share = this.#random.fork(one < other ? one + other : other + one).share();
    const ofOne = this.#pairs.get(one) ?? new Map<PeerId, number>();
    this.#pairs.set(one, ofOne.set(other, share));
    return share;
  }

  #latencyMs(one: Host, other: Host): number {
    const share = this.#shareOf(one.peerId, other.peerId);
    return LATENCY_MS[0] * (LATENCY_MS[1] / LATENCY_MS[0]) ** share;
  }

  /** Neighbours that it relays to; near ones among them, as those that answer first are grafted first. */
  #meshOf({ peerId: self, neighbours }: Host): PeerId[] {
    return [...neighbours].filter((peerId) => {
      const degree = Math.min(neighbours.size, this.#hostOf(peerId).neighbours.size);
      return this.#shareOf(self, peerId) < MESH_DEGREE / degree;
    });
  }

  #isCut = (one: Host, other: Host): boolean =>
    this.#sideOf(one.peerId) !== this.#sideOf(other.peerId);

  /** Sends, and calls back at the other end if it gets there. */
  #send(from: Host, to: Host, kind: string, sizeBytes: number, arrive: () => void): void {
    if (from.state !== 'up') return;
    const sent = from.sent.get(kind) ?? { messages: 0, bytes: 0 };
    from.sent.set(kind, sent);
    sent.messages += 1;
    sent.bytes += sizeBytes + HEAD_BYTES;
    if (this.#isCut(from, to) || Math.random() < this.lossShare) return;
    this.#time.after(this.#latencyMs(from, to), () => {
      if (to.state === 'up') arrive();
    });
  }

  #connect(one: Host, other: Host): void {
    if (one.neighbours.has(other.peerId)) return;
    one.neighbours.add(other.peerId);
    other.neighbours.add(one.peerId);
    one.events.connected(other.peerId);
    other.events.connected(one.peerId);
  }

  #disconnect(one: Host, other: Host): void {
    for (const [near, far] of [
      [one, other],
      [other, one],
    ] as const)
      if (near.neighbours.delete(far.peerId) && near.state === 'up')
        this.#time.after(this.#latencyMs(near, far), () => near.events.disconnected(far.peerId));
  }

  #relay(host: Host, origin: Host, topic: Topic, bytes: Uint8Array, number: number): void {
    if (host.heard.has(number)) return;
    host.heard.add(number);
    if (!host.events.broadcast(topic, origin.peerId, bytes)) return;
    for (const peerId of this.#meshOf(host))
      this.#gossip(host, origin, peerId, { topic, bytes, number });
  }

  #gossip(
    from: Host,
    origin: Host,
    peerId: PeerId,
    { topic, bytes, number }: { topic: Topic; bytes: Uint8Array; number: number },
  ): void {
    const to = this.#hostOf(peerId);
    this.#send(from, to, `gossip ${topic}`, bytes.length, () =>
      this.#relay(to, origin, topic, bytes, number),
    );
  }

  #engineOf(self: Host): Engine {
    const time = this.#time;
    const reachesAll = () => self.audience().every((peerId) => self.neighbours.has(peerId));
    /** The host at an address; undefined when none is there, or it can't be reached. */
    const at = (address: string): Host | undefined =>
      this.#byAddress.get(address.split('/p2p/')[0] ?? '');
    return {
      addresses: () => [self.address],
      connected: () => [...self.neighbours],
      reachesAll,
      listeners: () => [...self.neighbours],
      dial: async (addresses, { peerId, signal }) => {
        for (const address of addresses) {
          const other = at(address);
          const isThere = other?.state === 'up' && !this.#isCut(self, other);
          if (other === undefined || (peerId !== undefined && other.peerId !== peerId)) continue;
          if (!isThere && (other.state !== 'dead' || this.#isCut(self, other)))
            await time.wait(2 ** 31, undefined, { signal }); // nobody answers
          await time.wait(2 * this.#latencyMs(self, other) * HANDSHAKE_TRIPS, undefined, {
            signal,
          });
          if (other.state !== 'up' || self.state !== 'up') continue;
          this.#connect(self, other);
          return other.peerId;
        }
        throw new Error('refused');
      },
      knock: async (addresses, { timeoutMs }) => {
        const other = addresses.map(at).find((each) => each !== undefined);
        if (other === undefined || other.state === 'stopped' || this.#isCut(self, other)) {
          await time.wait(timeoutMs);
          return 'silent';
        }
        await time.wait(2 * this.#latencyMs(self, other));
        return other.state === 'dead' ? 'refused' : 'open';
      },
      broadcast: async (topic, bytes) => {
        if (self.state !== 'up') return;
        const number = (this.#broadcasts += 1);
        self.heard.add(number);
        if (reachesAll())
          for (const peerId of self.neighbours) {
            const other = this.#hostOf(peerId);
            this.#send(self, other, `news ${topic}`, bytes.length, () =>
              other.events.broadcast(topic, self.peerId, bytes),
            );
          }
        else
          for (const peerId of self.neighbours)
            this.#gossip(self, self, peerId, { topic, bytes, number });
      },
      request: (peerId, bytes, { signal }) => {
        const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
        const giveUp = () => reject(signal.reason as Error);
        if (signal.aborted) giveUp();
        signal.addEventListener('abort', giveUp, { once: true });
        const { kind } = JSON.parse(Buffer.from(bytes).toString()) as Request;
        if (!self.neighbours.has(peerId)) reject(new Error('not connected'));
        else {
          const other = this.#hostOf(peerId);
          this.#send(self, other, kind, bytes.length, () => {
            other.events.request(self.peerId, bytes).then(
              (answer) =>
                this.#send(other, self, `${kind} answer`, answer.length, () => resolve(answer)),
              () => this.#send(other, self, `${kind} answer`, 0, () => reject(new Error('failed'))),
            );
          });
        }
        return promise.finally(() => signal.removeEventListener('abort', giveUp));
      },
      setAlone: () => {},
      hangUp: async (peerId) => this.#disconnect(self, this.#hostOf(peerId)),
      stop: async () => {},
    };
  }
}
