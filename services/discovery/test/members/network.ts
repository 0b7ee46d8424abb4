/**
 * Members behind the engine's port, in one process: the product's membership and failure detector, over a network
 * that is told what to lose. Time is virtual, a turn each, and what gets no answer is given up at once.
 */
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate as nextTick } from 'node:timers/promises';
import { createLog, createLoops, identityOf } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { FailureDetector } from '../../src/members/failure.ts';
import { Membership } from '../../src/members/membership.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { Engine } from '../../src/network/engine.ts';
import type { Request } from '../../src/network/messages.ts';
import { createRefusals } from '../../src/network/refusals.ts';
import { createSigner } from '../../src/network/signed.ts';
import { RosterKeeper } from '../../src/roster/roster-keeper.ts';
import { RosterSync } from '../../src/roster/roster-sync.ts';
import { createWire, type Wire } from '../../src/network/wire.ts';

export const PING_MS = 1000;
/** Two of them is the time that a suspect has. */
export const HEARTBEAT_MS = 10 * PING_MS;
const log = createLog('discovery', 'silent');

export interface Node {
  readonly peerId: PeerId;
  readonly wire: Wire;
  readonly membership: Membership;
  readonly keeper: RosterKeeper;
  readonly rosterSync: RosterSync;
  readonly detector: FailureDetector;
  readonly links: Set<PeerId>;
  /** Requests that it sent, by kind. */
  readonly sent: Map<string, number>;
  state: 'up' | 'frozen' | 'dead';
}

export class Network {
  nowMs = 1_000_000;
  readonly nodes = new Map<PeerId, Node>();
  readonly #cut = new Set<string>();
  readonly #folder: string;

  /** @param folder For the rosters of peers, where the test has some. */
  constructor(folder = '/nonexistent') {
    this.#folder = folder;
  }

  add(): Node {
    const { privateKey } = generateKeyPairSync('ed25519');
    const { peerId: self, privateKeyRaw } = identityOf(privateKey);
    const metrics = createMetrics();
    const clock = () => this.nowMs;
    const refusals = createRefusals({ clock, metrics, log });
    const peerDataDir = join(this.#folder, self);
    const keeper = new RosterKeeper({ self, peerDataDir, metrics, log });
    const { roster } = keeper;
    const wire = createWire({ metrics, refusals, log, gate: keeper });
    const rosterSync = new RosterSync({ self, keeper, wire, log });
    const origin = 'http://127.0.0.1:1';
    const membership = new Membership({
      self,
      incarnation: 1,
      run: () => ({ id: 'run', sinceMs: 1, isAside: false }),
      signer: createSigner(privateKeyRaw),
      wire,
      facts: () => ({
        libp2p: [`/ip4/127.0.0.1/tcp/${1 + this.nodes.size}`],
        http: {
          gateway: origin,
          chunker: origin,
          storage: origin,
          transfer: origin,
          discovery: origin,
        },
        domain: { host: 'h', disk: 'd' },
        version: '0',
        capacityBytes: 1,
        usedBytes: 0,
        freeBytes: 1,
        blocks: 0,
        draining: false,
        tls: true,
      }),
      heartbeatMs: HEARTBEAT_MS,
      pingMs: PING_MS,
      outAfterMs: 3_600_000,
      clock,
      opinionOf: () => ({}),
      roster,
      compareRoster: (peerId) => rosterSync.compare(peerId),
      refusals,
      metrics,
      log,
    });
    const loops = createLoops({ log });
    const detector = new FailureDetector({
      self,
      isAside: () => false,
      membership,
      wire,
      pingMs: PING_MS,
      loops,
      log,
    });
    const [links, sent] = [new Set<PeerId>(), new Map<string, number>()];
    const parts = { wire, membership, keeper, rosterSync, detector, links, sent };
    const node: Node = { peerId: self, ...parts, state: 'up' };
    wire.attach(this.#engineOf(node));
    this.nodes.set(self, node);
    // As `start` does, without the loops: those wait for real time.
    wire.on('connected', (peerId) => {
      if (self < peerId) membership.compare(peerId).catch(() => {});
    });
    return node;
  }

  /** Adds that many that know each other, all connected to all, or to so many each. */
  async addMany(count: number, degree = count): Promise<Node[]> {
    const all = Array.from({ length: count }, () => this.add());
    const records = all.map(({ membership }) => ({
      signed: membership.presence.own().signed,
      ageMs: 0,
    }));
    for (const { membership, peerId } of all) membership.learn(records, peerId);
    for (const [index, node] of all.entries())
      for (let step = 0; step < degree / 2; step += 1) {
        const other = all[(index + 1 + step * (degree < count - 1 ? 7 : 1)) % count];
        if (other !== undefined && other !== node) this.connect(node, other);
      }
    await this.settle();
    return all;
  }

  connect(one: Node, other: Node): void {
    if (one.links.has(other.peerId)) return;
    // As the engine does, once it knows who calls.
    if (!one.keeper.admits(other.peerId) || !other.keeper.admits(one.peerId)) return;
    one.links.add(other.peerId);
    other.links.add(one.peerId);
    one.wire.events.connected(other.peerId);
    other.wire.events.connected(one.peerId);
  }

  disconnect(one: Node, other: Node): void {
    for (const [near, far] of [
      [one, other],
      [other, one],
    ] as const)
      if (near.links.delete(far.peerId) && near.state === 'up')
        near.wire.events.disconnected(far.peerId);
  }

  /** Nothing goes between these two, and they can't connect. */
  cut(one: Node, other: Node): void {
    this.#cut.add(this.#pair(one.peerId, other.peerId));
    this.disconnect(one, other);
  }

  mend(one: Node, other: Node): void {
    this.#cut.delete(this.#pair(one.peerId, other.peerId));
    this.connect(one, other);
  }

  /** Its process ends: its connections break. */
  kill(node: Node): void {
    node.state = 'dead';
    for (const peerId of node.links) {
      const other = this.nodes.get(peerId);
      if (other !== undefined) this.disconnect(node, other);
    }
  }

  /** Lets time pass: each peer that is up has its turn. */
  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn += 1) {
      this.nowMs += PING_MS;
      for (const { detector, state } of this.nodes.values()) if (state === 'up') detector.turn();
      await this.settle();
    }
  }

  /** Until nothing is under way. */
  async settle(): Promise<void> {
    for (let tick = 0; tick < 30; tick += 1) await nextTick();
  }

  #pair = (one: PeerId, other: PeerId) => [one, other].toSorted().join(' ');

  #engineOf(node: Node): Engine {
    const { peerId: self, links, sent } = node;
    const reach = (peerId: PeerId): Node | undefined => {
      const other = this.nodes.get(peerId);
      return this.#cut.has(this.#pair(self, peerId)) ? undefined : other;
    };
    return {
      addresses: () => [],
      connected: () => [...links],
      reachesAll: () => true,
      listeners: () => [...links],
      dial: async () => {
        throw new Error('nobody answers');
      },
      knock: async (addresses) => {
        const host = [...this.nodes.values()].find(({ membership }) =>
          membership.presence.own().record.libp2p.some((each) => addresses.includes(each)),
        );
        return host?.state === 'dead' ? 'refused' : 'silent';
      },
      broadcast: async (topic, bytes) => {
        for (const peerId of links) {
          const other = reach(peerId);
          if (other?.state === 'up') other.wire.events.broadcast(topic, self, bytes);
        }
      },
      async request(peerId, bytes) {
        const { kind } = JSON.parse(Buffer.from(bytes).toString()) as Request;
        sent.set(kind, (sent.get(kind) ?? 0) + 1);
        if (!links.has(peerId)) throw new Error('not connected');
        const other = reach(peerId);
        if (other?.state === 'up') return await other.wire.events.request(self, bytes);
        throw new Error('no answer in time');
      },
      setAlone: () => {},
      hangUp: async (peerId) => {
        const other = this.nodes.get(peerId);
        if (other !== undefined) this.disconnect(node, other);
      },
      stop: async () => {},
    };
  }
}
