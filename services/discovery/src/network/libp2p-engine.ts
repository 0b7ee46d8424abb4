/**
 * The engine on js-libp2p: TCP, Noise between members (handshake.ts), yamux, identify, gossipsub, multicast DNS.
 *
 * No DHT: up to some hundreds of members everybody knows everybody and asks by broadcast, and the DHT
 * would cost memory and keep twenty more connections alive (docs/decisions). The settings below that
 * look arbitrary are each the cure of a silent failure: see the comment beside it.
 */
import { createHash } from 'node:crypto';
import { connect as connectSocket } from 'node:net';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { type GossipSub, gossipsub, TopicValidatorResult } from '@libp2p/gossipsub';
import { type Identify, identify } from '@libp2p/identify';
import type { Connection } from '@libp2p/interface';
import { mdns } from '@libp2p/mdns';
import { peerIdFromString } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { allKeys, type Log, Seldom, type SwarmKeys } from '@shoal/chassis';
import { PeerId } from '@shoal/protocol';
import { createLibp2p, type Libp2p } from 'libp2p';
import { raceSignal } from 'race-signal';
import {
  type Engine,
  type EngineEvents,
  type Knock,
  MESSAGE_SIZE_MAX_BYTES,
  type Topic,
  TOPICS,
} from './engine.ts';
import { hostOf } from './addresses.ts';
import { createHandshake, type OnRefused } from './handshake.ts';
import type { Metrics } from '../metrics.ts';
import { createLink, type Link, serveLink } from './link.ts';

/** A standing stream for all that one side asks and tells (link.ts). */
const LINK_PROTOCOL = '/shoal/control/2.0.0';
/** A side opens one; another one follows when it broke. */
const LINKS_PER_PEER_MAX = 4;
/** Above the largest member table, with double connections while both sides dial. */
const CONNECTIONS_MAX = 2048;
/** A dial takes a handful of round trips; a stopped process accepts and never answers. */
const DIAL_TIMEOUT_MS = 5000;
/** Making a link on a connection that stands: a round trip. */
const LINK_TIMEOUT_MS = 5000;
/**
 * From an accepted socket to an authenticated connection: four round trips.
 * Past it: the socket is closed.
 */
const HANDSHAKE_TIMEOUT_MS = 5000;
/**
 * Sockets that have not proved yet who they are.
 * Past it: more are closed at once.
 */
const HANDSHAKES_MAX = 256;
/** Time between two multicast questions, which all answer: a new peer asks at once, so this only heals. */
const MDNS_INTERVAL_MS = 60_000;
/** Between two rounds of gossip's upkeep. Up to 64 members it carries nothing, and then a round costs as much as two probes. */
const GOSSIP_UPKEEP_MS = 5000;

export interface Libp2pOptions {
  readonly privateKeyRaw: Uint8Array;
  readonly swarmKeys: SwarmKeys;
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[];
  readonly mdns: boolean;
  readonly events: EngineEvents;
  /** Whom a broadcast must reach: the members that are alive. */
  readonly audience: () => readonly PeerId[];
  readonly onRefused?: OnRefused | undefined;
  /** Whether a peer that proved who it is may connect, or be connected to. */
  readonly admits?: (peerId: PeerId) => boolean;
  readonly metrics: Pick<Metrics, 'handshakesRefused'>;
  readonly log: Log;
}

type Services = { identify: Identify; gossip: GossipSub };

export async function startLibp2p(options: Libp2pOptions): Promise<Engine> {
  const { events, audience, log } = options;
  let isAlone = false;
  const node = await createNode(options, () => isAlone);
  const gossip = node.services.gossip;
  const self = node.peerId.toString();
  /** Connections of use, of a peer or of all; the others are cut, or they would be found again. */
  const usable = (peerId?: PeerId): Connection[] => {
    const all = node.getConnections(peerId === undefined ? undefined : peerIdFromString(peerId));
    const open = all.filter(({ status }) => status === 'open');
    for (const connection of open)
      if (!isMuxed(connection)) cut(connection, new Error('the other side ended it'));
    return open.filter(isMuxed);
  };
  const links = createLinks(usable);
  const reachesAll = () => audience().every((peerId) => links.open(peerId) !== undefined);

  node.addEventListener('peer:connect', ({ detail }) =>
    withPeerId(detail, (id) => {
      links.link(id).catch((err: unknown) => log.debug({ err, member: id }, 'no link'));
      events.connected(id);
    }),
  );
  node.addEventListener('peer:disconnect', ({ detail }) =>
    withPeerId(detail, (id) => events.disconnected(id)),
  );
  node.addEventListener('peer:discovery', ({ detail }) =>
    withPeerId(detail.id, (peerId) => events.discovered(peerId, detail.multiaddrs.map(String))),
  );
  for (const topic of TOPICS) {
    gossip.topicValidators.set(topicName(topic), (_, message) => {
      const from =
        message.type === 'signed' ? PeerId.safeParse(message.from.toString()) : undefined;
      const isSound = from?.success === true && events.broadcast(topic, from.data, message.data);
      if (isSound === undefined) return TopicValidatorResult.Ignore; // the one that relayed it did nothing wrong
      return isSound ? TopicValidatorResult.Accept : TopicValidatorResult.Reject;
    });
  }
  await node.handle(
    LINK_PROTOCOL,
    (stream, { remotePeer }) =>
      withPeerId(remotePeer, (from) =>
        serveLink(stream, {
          question: (body) => events.request(from, body),
          news: (topic, body) => {
            const name = TOPICS[topic];
            if (name === undefined) throw new Error(`news of topic ${topic}`);
            events.broadcast(name, from, body);
          },
          waitMs: () => events.waitMs(from),
        }),
      ),
    { maxInboundStreams: LINKS_PER_PEER_MAX, maxOutboundStreams: LINKS_PER_PEER_MAX },
  );
  await node.start();
  for (const topic of TOPICS) gossip.subscribe(topicName(topic));

  return {
    addresses: () => node.getMultiaddrs().map(String),
    connected: () => [...new Set(peerIds(usable().map(({ remotePeer }) => remotePeer)))],
    reachesAll,
    listeners: (topic) =>
      reachesAll() ? links.peers() : peerIds(gossip.getSubscribers(topicName(topic))),
    async dial(addresses, { peerId, signal }) {
      if (isAlone) throw new Error('this peer keeps out of the network');
      const targets = addresses.flatMap((address) => readAddress(address, peerId));
      if (targets.length === 0) throw new Error('there is no address that can be dialled');
      usable(peerId); // an open connection is what a dial answers first
      const connection = await node.dial(targets, { signal });
      const remote = connection.remotePeer.toString();
      if (remote !== self) return PeerId.parse(remote);
      await connection.close().catch((error: Error) => connection.abort(error));
      throw new Error('that address is our own');
    },
    knock: async (addresses, { timeoutMs }) =>
      judge(await Promise.all(addresses.map((address) => knockAt(address, timeoutMs)))),
    async broadcast(topic, bytes) {
      if (!reachesAll()) return void (await gossip.publish(topicName(topic), bytes));
      for (const peerId of links.peers()) links.open(peerId)?.tell(TOPICS.indexOf(topic), bytes);
    },
    async request(peerId, bytes, { signal }) {
      const link = links.open(peerId) ?? (await raceSignal(links.link(peerId), signal));
      return await link.ask(bytes, { signal });
    },
    setAlone(next) {
      isAlone = next;
      if (!isAlone) return;
      for (const connection of node.getConnections()) connection.abort(new Error('hung up'));
    },
    async hangUp(peerId) {
      const connections = node.getConnections(peerIdFromString(peerId));
      for (const connection of connections) cut(connection, new Error('hung up'));
    },
    async stop() {
      await node.stop();
    },
  };
}

interface Links {
  /** The link to a peer, if it stands. */
  open(peerId: PeerId): Link | undefined;
  /** The link, made if there is none. */
  link(peerId: PeerId): Promise<Link>;
  /** All to whom a link stands. */
  peers(): PeerId[];
}

function createLinks(usable: (peerId: PeerId) => Connection[]): Links {
  const links = new Map<PeerId, Link>();
  const making = new Map<PeerId, Promise<Link>>();
  const open = (peerId: PeerId): Link | undefined => {
    const link = links.get(peerId);
    return link?.isOpen() === true ? link : undefined;
  };
  const make = async (peerId: PeerId): Promise<Link> => {
    const signal = AbortSignal.timeout(LINK_TIMEOUT_MS);
    const [connection] = usable(peerId);
    if (connection === undefined) throw new Error('not connected');
    const stream = await connection.newStream(LINK_PROTOCOL, { signal });
    const link = createLink(stream);
    links.set(peerId, link);
    stream.addEventListener('close', () => {
      if (links.get(peerId) === link) links.delete(peerId);
    });
    return link;
  };
  return {
    open,
    peers: () => [...links.keys()].filter((peerId) => open(peerId) !== undefined),
    async link(peerId) {
      const standing = open(peerId);
      if (standing !== undefined) return standing;
      const made = making.get(peerId) ?? make(peerId).finally(() => making.delete(peerId));
      making.set(peerId, made);
      return await made;
    },
  };
}

/**
 * Whether streams can be opened on it. libp2p ends the streams of a connection alone, and leaves its socket
 * open, when ten streams come before the connection is set up: a peer that stood still is met so by
 * those who waited for it. Such a connection counts as open, and a dial answers it: without this the two would
 * never talk again.
 */
function isMuxed(connection: Connection): boolean {
  const { muxer } = connection as { readonly muxer?: { readonly status?: string } }; // no part of its interface
  return muxer?.status === undefined || muxer.status === 'open';
}

/** Ends it at once, also when the other side takes no good-bye. */
function cut(connection: Connection, reason: Error): void {
  try {
    connection.abort(reason);
  } catch {
    connection.abort(reason); // by now there are no streams left: this closes the socket
  }
}

/** An address that a peer gave, with its id; nothing for one that can't be read, so that others still can. */
function readAddress(address: string, peerId: PeerId | undefined): Multiaddr[] {
  try {
    const full =
      peerId === undefined || address.includes('/p2p/') ? address : `${address}/p2p/${peerId}`;
    return [multiaddr(full)];
  } catch {
    return [];
  }
}

async function createNode(
  { privateKeyRaw, swarmKeys, listen, ...options }: Libp2pOptions,
  isAlone: () => boolean,
): Promise<Libp2p<Services>> {
  const serviceTag = serviceTagOf(allKeys(swarmKeys)[0]);
  const isDenied = (
    peerId: { toString(): string },
    connection?: { readonly remoteAddr?: { toString(): string } },
  ): boolean => {
    if (isAlone()) return true;
    const { admits = () => true, onRefused, metrics, log } = options;
    const id = PeerId.safeParse(peerId.toString());
    if (id.success && admits(id.data)) return false;
    metrics.handshakesRefused.inc({ reason: 'roster' });
    if (seldom.isDue(String(peerId))) {
      const [, , host = ''] = String(connection?.remoteAddr).split('/');
      onRefused?.({ address: host, detail: `libp2p: ${String(peerId)} is not on the roster` });
      log.warn(
        { member: String(peerId), address: host },
        'a connection was refused: this peer is not on the roster of the swarm',
      );
    }
    return true;
  };
  return await createLibp2p<Services>({
    start: false,
    privateKey: privateKeyFromRaw(privateKeyRaw),
    addresses: { listen: [...listen] },
    transports: [tcp()],
    ...createHandshake({ swarmKeys, ...options }),
    // Probes find out whether a connection lives, and keep it busy.
    // As much as a link that is not read keeps here: libp2p ends a stream past that.
    streamMuxers: [
      yamux({
        enableKeepAlive: false,
        streamOptions: { maxStreamWindowSize: MESSAGE_SIZE_MAX_BYTES },
      }),
    ],
    connectionManager: {
      maxConnections: CONNECTIONS_MAX,
      // The default of 5 a second throttles swarms that start behind one address.
      inboundConnectionThreshold: Infinity,
      maxIncomingPendingConnections: HANDSHAKES_MAX,
      inboundUpgradeTimeout: HANDSHAKE_TIMEOUT_MS,
      maxParallelDials: 16,
      dialTimeout: DIAL_TIMEOUT_MS,
      addressDialTimeout: DIAL_TIMEOUT_MS,
    },
    // Its pings cut connections under CPU starvation; membership pings for itself and only suspects.
    connectionMonitor: { enabled: false },
    connectionGater: {
      // The default refuses private and loopback addresses, which are the ones we have.
      denyDialMultiaddr: () => false,
      denyInboundEncryptedConnection: isDenied,
      denyOutboundEncryptedConnection: isDenied,
    },
    peerDiscovery: options.mdns ? [mdns({ interval: MDNS_INTERVAL_MS, serviceTag })] : [],
    services: {
      identify: identify(),
      gossip: gossipsub({
        allowPublishToZeroTopicPeers: true, // else the first peer's first publish throws
        globalSignaturePolicy: 'StrictSign', // without it a message has no sender
        floodPublish: true,
        tagMeshPeers: false,
        maxInboundDataLength: MESSAGE_SIZE_MAX_BYTES,
        maxOutboundBufferSize: 4 * MESSAGE_SIZE_MAX_BYTES,
        allowedTopics: TOPICS.map(topicName),
        // By default more than ten peers on one IP (a laptop, a NAT) silently mute each other.
        scoreParams: { IPColocationFactorWeight: 0, decayInterval: GOSSIP_UPKEEP_MS },
        heartbeatInterval: GOSSIP_UPKEEP_MS,
      }),
    },
  });
}

/** A peer that was removed calls again and again. */
const seldom = new Seldom();

const topicName = (topic: Topic) => `/shoal/${topic}/1`;

/** Swarms with different keys on one network need not even see each other; 15 characters (RFC 6763). */
function serviceTagOf(swarmKey: Uint8Array): string {
  const digest = createHash('sha256').update('shoal mdns tag v1').update(swarmKey).digest('hex');
  return `_shoal-${digest.slice(0, 8)}._udp.local`;
}

/** Peers with another kind of key can't be members: they are passed over. */
function withPeerId(id: { toString(): string }, use: (peerId: PeerId) => void): void {
  const peerId = PeerId.safeParse(id.toString());
  if (peerId.success) use(peerId.data);
}

function peerIds(ids: readonly { toString(): string }[]): PeerId[] {
  const found: PeerId[] = [];
  for (const id of ids) withPeerId(id, (peerId) => found.push(peerId));
  return found;
}

function judge(knocks: readonly Knock[]): Knock {
  if (knocks.includes('open')) return 'open';
  return knocks.length > 0 && knocks.every((knock) => knock === 'refused') ? 'refused' : 'silent';
}

/** EHOSTUNREACH is the neighbour's answer that no such machine is up; ENETUNREACH may be our fault. */
const REFUSALS = new Set(['ECONNREFUSED', 'EHOSTUNREACH']);

function knockAt(address: string, timeoutMs: number): Promise<Knock> {
  const target = hostOf(address);
  if (target === undefined) return Promise.resolve('silent');
  return new Promise((resolve) => {
    const socket = connectSocket(target);
    const end = (knock: Knock) => {
      socket.destroy();
      resolve(knock);
    };
    socket.setTimeout(timeoutMs, () => end('silent'));
    socket.once('connect', () => end('open'));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end(REFUSALS.has(error.code ?? '') ? 'refused' : 'silent'),
    );
  });
}
