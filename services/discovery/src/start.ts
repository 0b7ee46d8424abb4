/** Puts the discovery service together: state, network, mechanisms, HTTP; stops it in reverse. */
import { randomInt } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import {
  ConfigError,
  createLoops,
  createPeerClient,
  createServer,
  type Log,
  mountLoops,
  openClients,
  openIdentity,
  openProver,
  ownEndpoints,
  readSwarmKey,
  ownHostNames,
  readWriteToken,
} from '@shoal/chassis';
import { announcedHost } from '@shoal/chassis/addresses';
import { connectEvents } from '@shoal/chassis/events';
import { createProducer } from '@shoal/chassis/queue';
import {
  bareHost,
  type Cid,
  type Endpoints,
  hostPort,
  type Member,
  type MemberRecord,
  type PeerId,
  type Pin,
  SERVICES,
  SPACE_MAX_BYTES,
  type StorageStats,
} from '@shoal/protocol';
import { createAnnounce } from './holders/announce.ts';
import { type AskAll, createAsk } from './network/ask.ts';
import type { DiscoveryConfig } from './config.ts';
import { startFailureDetector } from './members/failure.ts';
import { createFindBlock } from './routing/is-held.ts';
import { createHealth } from './holders/health.ts';
import { createHolders } from './holders/holders.ts';
import { startExpiry } from './pins/expiry.ts';
import { FULL_MESH_MAX, startJoin } from './members/join.ts';
import { startLibp2p } from './network/libp2p-engine.ts';
import { createMembership, type Membership, type OwnFacts } from './members/membership.ts';
import type { Answer, Question } from './network/messages.ts';
import { createMetrics } from './metrics.ts';
import { createOwnClock, watchOwnClock } from './members/own-clock.ts';
import { createOpinions } from './trust/opinions.ts';
import { watchOwnStorage } from './holders/own-storage.ts';
import { createPinAges } from './pins/pin-ages.ts';
import { startPinSync } from './pins/pin-sync.ts';
import { createPins } from './pins/pins.ts';
import { startProving } from './trust/proving.ts';
import { createRefusals } from './network/refusals.ts';
import { mountRoutes } from './routes.ts';
import { mountRouting } from './routing/routing.ts';
import { hostOf, isLocalHost, listenAddresses, tcpAddress } from './network/addresses.ts';
import { startSettleRequests } from './pins/settle-requests.ts';
import { createSigner, isAuthentic, read, type Signed } from './network/signed.ts';
import { openState } from './pins/state.ts';
import { startSurvey } from './holders/survey.ts';
import { createTwins } from './members/twins.ts';
import { answerWant, createWant } from './holders/want.ts';
import { createWire } from './network/wire.ts';

/** What peers compare to know whether they understand each other. */
const VERSION = '0.1.0';
/** How often the members are written down for the next start. */
const SAVE_MEMBERS_MS = 30_000;
/** Routing answers of peers begin with different members: any number above the largest swarm. */
const FIRST_TURNS = 1_000_000;

/** @throws ConfigError when the key in the data folder is not that of PEER_ID. */
export async function startDiscovery(
  config: Readonly<DiscoveryConfig>,
  log: Log,
): Promise<AsyncDisposable & { readonly origin: string }> {
  await using stack = new AsyncDisposableStack();
  const self = config.PEER_ID;
  const identity = openIdentity(join(config.PEER_DATA_DIR, 'identity.key'));
  if (identity.peerId !== self)
    throw new ConfigError(`PEER_ID is ${self}, but the key in PEER_DATA_DIR is ${identity.peerId}`);
  const swarmKey = readSwarmKey(config.SWARM_KEY_FILE);
  const prover = openProver(config);
  const signer = createSigner(identity.privateKeyRaw);
  const metrics = createMetrics();
  const loops = createLoops({ metrics: metrics.loops, log });
  const own = ownEndpoints(config);
  const host = advertisedHost(config);

  const refusals = createRefusals({ clock: () => performance.now(), metrics, log });
  const state = stack.use(
    openState(
      join(config.PEER_DATA_DIR, 'discovery'),
      Date.now,
      (what, name, reason) => refusals.note({ what, from: undefined, name, reason }),
      config.DISCOVERY_UNDELETE_MS,
    ),
  );
  const client = stack.use(createPeerClient({ prover, self, own }));
  const events = stack.use(connectEvents(config.REDIS_SOCKET, log));
  const producer = stack.use(createProducer('settle', config.REDIS_SOCKET, log));
  const settleRequests = stack.use(startSettleRequests({ producer, metrics, loops, log }));
  const wire = createWire({ metrics, refusals, log });

  let ports = { http: config.DISCOVERY_PORT, libp2p: config.DISCOVERY_LIBP2P_PORT };
  const facts = (): OwnFacts => ({
    libp2p: [tcpAddress(host, ports.libp2p)],
    http: advertisedEndpoints(own, host, ports.http),
    version: VERSION,
    draining: state.isDraining(),
    ...spaceOf(storage.stats()),
  });
  const storage = stack.use(
    watchOwnStorage({ client, state, onMove: () => membership.announceSelf(), loops, log }),
  );
  const opinions = createOpinions({
    clock: () => membership.clock(),
    outAfterMs: config.MEMBER_OUT_AFTER_MS,
    onChange: () => membership.noteOpinion(),
    metrics,
    log,
  });
  const incarnation = await state.nextIncarnation(Date.now());
  const twins = createTwins({
    self,
    sinceMs: incarnation,
    client,
    own: () => membership.own(),
    members: () =>
      membership
        .list()
        .filter(({ isSelf, state: each }) => !isSelf && each === 'alive')
        .map(({ peerId, http }) => ({ peerId, origin: http.discovery })),
    learn: (records, from) => membership.learn(records, from),
    outbid: async (above) => membership.reincarnate(await state.nextIncarnation(above + 1)),
    setAside: (isAside) => {
      wire.engine().setAlone(isAside);
      membership.announceSelf();
    },
    reconnect: () => {
      for (const peerId of wire.engine().connected()) void wire.engine().hangUp(peerId);
    },
    heartbeatMs: () => membership.heartbeatMs(),
    clock: () => performance.now(),
    nowMs: Date.now,
    metrics,
    log,
  });
  const membership: Membership = createMembership({
    self,
    opinionOf: (peerId) => opinions.of(peerId),
    incarnation,
    run: () => twins.run(),
    onOwnName: (record) => twins.see(record),
    signer,
    wire,
    facts,
    heartbeatMs: config.DISCOVERY_HEARTBEAT_MS,
    outAfterMs: config.MEMBER_OUT_AFTER_MS,
    refusals,
    metrics,
    log,
  });
  membership.restore(state.loadMembers());
  const ownClock = createOwnClock({
    members: () => membership.table.all(),
    clock: membership.clock,
    nowMs: Date.now,
  });
  const holders = createHolders({ clock: membership.clock });
  const gone = new Set<PeerId>();
  membership.onChange((peerId, memberState) => {
    const isGone = memberState === 'down' || memberState === 'out';
    // Who went may come back with less than it said; and what it said may reach us when it has gone.
    if (isGone || gone.delete(peerId)) holders.turn(peerId);
    if (isGone) gone.add(peerId);
    events.publish({ kind: 'member', atMs: Date.now(), peerId, state: memberState });
  });
  const readHaveMap = (root: Cid) => storage.readHaveMap(root);
  const ages = createPinAges({ clock: membership.clock, wallClock: Date.now });
  const pins = createPins({
    self,
    store: state.pins,
    signer,
    wire,
    ask: () => ask,
    isCurrent: () => pinSync.isCurrent(),
    ownClock,
    checkName: () => twins.check(),
    refusals,
    undeleteMs: config.DISCOVERY_UNDELETE_MS,
    onChange: ({ root, name, deleted }, old, { isForRoom }) => {
      ages.note(root, pinSync.isCurrent());
      settleRequests.add(root);
      const about = { atMs: Date.now(), cid: root, name };
      if (!deleted) return events.publish({ kind: 'pin', ...about });
      if (old?.deleted === true) return events.publish({ kind: 'purged', ...about, isForRoom });
      events.publish({ kind: 'deleted', ...about });
    },
    onUnstored: () => pinSync.startOver(),
    metrics,
    log,
  });
  const answer = async (question: Question): Promise<Answer> => {
    if (question.kind === 'have') return answerWant(question.roots, readHaveMap);
    const pin = pins.findSigned(question.hash);
    return { haves: [], ...(pin === undefined ? {} : { pin }) };
  };
  const ask: AskAll = createAsk({ self, wire, table: membership.table, answer, metrics, log });
  const want = createWant({ ask, holders });
  const onHolding = (cid: Cid, peerId: PeerId) =>
    events.publish({ kind: 'holding', atMs: Date.now(), cid, peerId });
  const announcing = stack.use(createAnnounce({ self, wire, holders, readHaveMap, onHolding }));
  // In a full mesh a connection that is gone is the first sign that its peer is.
  const isReachable = ({ isSelf, peerId }: Member): boolean =>
    isSelf || wire.isConnected(peerId) || membership.table.all().length > FULL_MESH_MAX;
  const members = () => membership.list();
  const proving = stack.use(
    startProving({
      self,
      client,
      holders,
      opinions,
      readOwn: async (root) => {
        const { haveMap, readAtMs } = await readHaveMap(root);
        if (haveMap !== 'unread') holders.note(root, self, haveMap, { readAtMs });
      },
      want,
      members,
      page: (after, limit) => pins.page(after, limit),
      metrics,
      loops,
      log,
      intervalMs: config.DISCOVERY_PROOF_INTERVAL_MS,
    }),
  );
  const health = createHealth({
    self,
    prove: (pin, options) => proving.look(pin, options),
    isSampled: (peerId) => opinions.isSampled(peerId),
    pins,
    want,
    holders,
    ages,
    readHaveMap,
    members,
    isReachable,
    newForMs: config.MEMBER_OUT_AFTER_MS,
  });
  const pinSync = stack.use(
    startPinSync({
      self,
      store: state.pins,
      pins,
      wire,
      others: () => membership.list().filter(({ isSelf }) => !isSelf),
      isClockUsable: () => ownClock.verdict() !== 'wrong',
      isCredible: (stamp) => pins.isCredible(stamp),
      mayBeMore: () => joining.mayBeMore(),
      loops,
      log,
    }),
  );
  const onTurn = (root: Cid): void => {
    pins.count();
    settleRequests.add(root);
  };
  const onPurge = ({ root: cid, name }: Pin) =>
    events.publish({ kind: 'purged', atMs: Date.now(), cid, name, isForRoom: false });
  stack.use(startExpiry({ store: state.pins, onTurn, onPurge, metrics, loops, log }));
  const countDrain = () => metrics.draining.set(state.isDraining() ? 1 : 0);
  countDrain();
  const setDraining = async (isDraining: boolean): Promise<void> => {
    if (state.isDraining() === isDraining) return;
    await state.saveDraining(isDraining);
    log.info({ isDraining }, 'draining set');
    countDrain();
    membership.announceSelf();
  };

  const engine = await startLibp2p({
    privateKeyRaw: identity.privateKeyRaw,
    swarmKey,
    listen: listenAddresses(await numericHost(config.BIND_HOST), config.DISCOVERY_LIBP2P_PORT),
    mdns: config.DISCOVERY_MDNS,
    events: wire.events,
    audience: () =>
      membership.table
        .all()
        .filter(({ state: each }) => each === 'alive')
        .map(({ record }) => record.peerId),
    log,
  });
  stack.defer(() => engine.stop());
  wire.attach(engine);
  ports = { ...ports, libp2p: hostOf(engine.addresses()[0] ?? '')?.port ?? ports.libp2p };
  metrics.connections.set(0);
  for (const event of ['connected', 'disconnected'] as const)
    wire.on(event, () => metrics.connections.set(engine.connected().length));

  const token = readWriteToken(config);
  const app = createServer({
    service: 'discovery',
    log,
    registry: metrics.registry,
    whyNotReady: () => (joining.isTried() ? undefined : 'the seeds have not been asked yet'),
    hostNames: ownHostNames(config),
    writeToken: token,
    clients: openClients(config, { token, prover }),
  });
  stack.defer(() => app.close());
  mountLoops({ app, prover, self }, 'discovery', loops);
  mountRoutes(
    { app, prover, self },
    {
      membership,
      pins,
      want,
      announcing,
      holders,
      health,
      pinSync,
      setDraining,
      ownClock,
      opinions,
      twins,
      expirySlackMs: config.DISCOVERY_EXPIRY_SLACK_MS,
    },
  );
  const findBlock = stack.use(
    createFindBlock({
      findPin: (root) => pins.find(root),
      client,
      members,
      clock: membership.clock,
      metrics,
      log,
    }),
  );
  mountRouting({ app, prover, self }, { members, findBlock, firstTurn: randomInt(FIRST_TURNS) });
  const origin = await app.listen({ host: config.BIND_HOST, port: config.DISCOVERY_PORT });
  ports = { ...ports, http: Number(new URL(origin).port) };

  // Before the others hear of us: they would take us for the process that still runs there.
  const former = formerRecord(state.loadOwn(), self);
  if (former !== undefined) await twins.askFormer(former);
  stack.use(membership.start(loops));
  stack.use(twins.start(loops));
  stack.use(
    startFailureDetector({ membership, wire, pingMs: config.DISCOVERY_PING_MS, loops, log }),
  );
  const isOwn = (seedHost: string, port: number) =>
    port === ports.libp2p && (seedHost === host || isLocalHost(seedHost));
  const joining = stack.use(
    startJoin({
      self,
      seeds: config.DISCOVERY_SEEDS,
      isOwn,
      mdns: config.DISCOVERY_MDNS,
      membership,
      isAside: () => twins.isAside(),
      wire,
      loops,
      log,
    }),
  );
  stack.use(watchOwnClock({ ownClock, metrics, loops, log }));
  // Files that only a member watches which can't be relied upon would be watched by nobody.
  const alive = () =>
    members().filter(({ state: each, isDistrusted }) => each === 'alive' && isDistrusted !== true);
  stack.use(startSurvey({ self, pins, health, alive, metrics, loops }));
  const onUnsaved = (err: unknown) => log.warn({ err }, 'members not saved');
  const save = async (): Promise<void> => {
    await state.saveMembers(membership.saved());
    // Where the other one is must stay known here, for the next start.
    if (!twins.isAside()) await state.saveOwn(membership.own().signed);
  };
  await save().catch(onUnsaved);
  stack.use(
    loops.start({
      name: 'saving-members',
      everyMs: () => SAVE_MEMBERS_MS,
      run: save,
      onFailure: onUnsaved,
    }),
  );
  stack.defer(() => save().catch(onUnsaved));
  stack.defer(() => membership.leave());
  const running = stack.move();
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** The record that this folder's last run signed; undefined for one of another peer, or none. */
function formerRecord(signed: Signed | undefined, self: PeerId): MemberRecord | undefined {
  if (signed === undefined) return undefined;
  const record = read('member', signed).content;
  const isOurs = record?.peerId === self && isAuthentic('member', record, signed);
  return isOurs ? record : undefined;
}

/** Figures of storage as a record takes them: some file systems state absurd ones. */
function spaceOf(stats: StorageStats): Omit<StorageStats, 'limit'> {
  const bounded = (sizeBytes: number) => Math.min(sizeBytes, SPACE_MAX_BYTES);
  return {
    blocks: stats.blocks,
    capacityBytes: bounded(stats.capacityBytes),
    usedBytes: bounded(stats.usedBytes),
    freeBytes: bounded(stats.freeBytes),
    domain: stats.domain,
  };
}

/** What others are told to call: never the wildcard address. */
function advertisedHost({ DISCOVERY_ADVERTISE_HOST, BIND_HOST }: DiscoveryConfig): string {
  if (DISCOVERY_ADVERTISE_HOST !== '') return bareHost(DISCOVERY_ADVERTISE_HOST);
  return announcedHost(BIND_HOST);
}

/** Origins of the services as others reach them: the ports are those that we use ourselves. */
function advertisedEndpoints(
  own: Readonly<Record<keyof Endpoints, string>>,
  host: string,
  discoveryPort: number,
): Endpoints {
  const originOf = (service: keyof Endpoints) => {
    const { protocol, port } = new URL(own[service]);
    return `${protocol}//${hostPort(host, service === 'discovery' ? discoveryPort : port)}`;
  };
  // fromEntries forgets the keys; they are exactly the services.
  return Object.fromEntries(SERVICES.map((each) => [each, originOf(each)])) as Endpoints;
}

/** libp2p listens on numbers only. */
async function numericHost(host: string): Promise<string> {
  return isIP(host) === 0 ? (await lookup(host)).address : host;
}
