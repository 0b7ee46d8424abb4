/**
 * Puts the discovery service together in dependency order: state and clients, the swarm's members, its
 * files, the network, HTTP, and last the loops that start conversations by themselves. Stops in reverse.
 */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import {
  acceptAudited,
  ConfigError,
  createLoops,
  createPeerClient,
  createServer,
  type Log,
  mountLoops,
  type Audit,
  auditRoster,
  auditTokens,
  mountAudit,
  openAccess,
  openAudit,
  openClearText,
  openClients,
  openIdentity,
  openPeerTls,
  openProver,
  ownEndpoints,
  ownHostNames,
  readSwarmKeys,
  targetAt,
} from '@shoal/chassis';
import { connectEvents } from '@shoal/chassis/events';
import { createProducer } from '@shoal/chassis/queue';
import type { Cid, Member } from '@shoal/protocol';
import type { DiscoveryConfig } from './config.ts';
import { Health } from './health/health.ts';
import { startSurvey } from './health/survey.ts';
import { createOwnStorage } from './holders/own-storage.ts';
import { startHolders } from './holders/start-holders.ts';
import { answerWant } from './holders/want.ts';
import { createDraining } from './members/draining.ts';
import { startFailureDetector } from './members/failure.ts';
import { Join } from './members/join.ts';
import { FULL_MESH_MAX, Membership } from './members/membership.ts';
import { createOwnClock, watchOwnClock } from './members/own-clock.ts';
import { startSavingMembers } from './members/save-members.ts';
import { createMetrics } from './metrics.ts';
import { hostOf, listenAddresses } from './network/addresses.ts';
import { createAsk } from './network/ask.ts';
import { startLibp2p } from './network/libp2p-engine.ts';
import type { Answer, Question } from './network/messages.ts';
import { numericHost, OwnAddress } from './network/own-address.ts';
import { createRefusals } from './network/refusals.ts';
import { createSigner } from './network/signed.ts';
import { createWire } from './network/wire.ts';
import { createPinReader } from './pins/pin-reader.ts';
import { startPins } from './pins/start-pins.ts';
import { Admit } from './roster/admit.ts';
import { RosterKeeper } from './roster/roster-keeper.ts';
import { mountRoster } from './roster/roster-routes.ts';
import { RosterSync } from './roster/roster-sync.ts';
import { openState } from './state/state.ts';
import { mountRoutes } from './routes.ts';
import { createFindBlock } from './routing/is-held.ts';
import { mountRouting } from './routing/routing.ts';
import { createOpinions } from './trust/opinions.ts';
import { Proving } from './trust/proving.ts';
import { OwnRun, readFormer } from './twins/own-run.ts';
import { Twins } from './twins/twins.ts';
import { createWallTime } from './wall-time.ts';

/** The version that peers compare to know whether they understand each other. */
const VERSION = '0.1.0';
/** Routing answers of peers begin with different members: any number above the largest swarm. */
const FIRST_TURNS = 1_000_000;

/** @throws ConfigError when the key in the data folder is not that of PEER_ID. */
export async function startDiscovery(
  config: Readonly<DiscoveryConfig>,
  log: Log,
): Promise<AsyncDisposable & { readonly origin: string }> {
  await using stack = new AsyncDisposableStack(); // a throw below closes what was opened, in reverse
  const ground = await openGround(config, log, stack);
  const { metrics } = ground;
  const audit = stack.use(openAudit(config, 'discovery', { registry: metrics.registry, log }));
  auditRoster(ground.roster, audit);
  const swarm = createSwarm(ground);
  const files = startFiles(ground, swarm, stack);
  await startNetwork({ ...ground, audit }, swarm, stack);
  const origin = await startServer({ ...ground, audit }, swarm, files, stack);
  await startSpeaking(ground, swarm, files, stack);
  const running = stack.move();
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

type Audited = Ground & { readonly audit: Audit };
export type Ground = Awaited<ReturnType<typeof openGround>>;
export type Swarm = ReturnType<typeof createSwarm>;
export type Files = ReturnType<typeof startFiles>;

/** The base of all the rest: who we are, what is on disk, how others are reached. */
async function openGround(
  config: Readonly<DiscoveryConfig>,
  log: Log,
  stack: AsyncDisposableStack,
) {
  const self = config.PEER_ID;
  const identity = openIdentity(join(config.PEER_DATA_DIR, 'identity.key'));
  if (identity.peerId !== self)
    throw new ConfigError(`PEER_ID is ${self}, but the key in PEER_DATA_DIR is ${identity.peerId}`);
  const swarmKeys = readSwarmKeys(config.SWARM_KEY_FILE);
  const metrics = createMetrics();
  const keeper = stack.use(
    new RosterKeeper({ self, peerDataDir: config.PEER_DATA_DIR, metrics, log }),
  );
  const { roster } = keeper;
  const prover = openProver(config, roster);
  const loops = createLoops({ metrics: metrics.loops, log });
  const clock = () => performance.now();
  const wallTimeOf = createWallTime({ clock, nowMs: Date.now });
  const refusals = createRefusals({ clock, metrics, log });
  const state = stack.use(
    openState(join(config.PEER_DATA_DIR, 'discovery'), {
      undeleteMs: config.DISCOVERY_UNDELETE_MS,
      onRefused: (what, name, reason) => refusals.note({ what, from: undefined, name, reason }),
      onTransaction: () => metrics.transactions.inc(),
    }),
  );
  const own = ownEndpoints(config);
  const tls = openPeerTls(config, log, roster);
  const client = stack.use(createPeerClient({ prover, self, own, tls }));
  return {
    config,
    log,
    self,
    privateKeyRaw: identity.privateKeyRaw,
    swarmKeys,
    prover,
    tls,
    signer: createSigner(identity.privateKeyRaw),
    metrics,
    loops,
    clock,
    wallTimeOf,
    refusals,
    state,
    client,
    events: stack.use(connectEvents(config.REDIS_SOCKET, log)),
    producer: stack.use(createProducer('settle', config.REDIS_SOCKET, log)),
    keeper,
    roster,
    wire: createWire({ metrics, refusals, log, gate: keeper }),
    address: new OwnAddress(config, own),
    storage: stack.use(createOwnStorage({ client, state, log })),
    incarnation: await state.nextIncarnation(Date.now()),
  };
}

/** The members of the swarm, and what we think of them and of ourselves. */
export function createSwarm(ground: Ground) {
  const { config, self, state, client, wire, address, storage, clock, wallTimeOf, metrics, log } =
    ground;
  const ownRun = new OwnRun(ground.incarnation);
  const outAfterMs = config.MEMBER_OUT_AFTER_MS;
  const opinions = createOpinions({ clock, wallTimeOf, outAfterMs, metrics, log });
  const rosterSync = new RosterSync(ground);
  const membership = new Membership({
    ...ground,
    run: () => ownRun.read(),
    facts: () => ({
      ...address.facts(),
      tls: config.PEER_TLS === 'on',
      version: VERSION,
      draining: state.isDraining(),
      ...storage.space(),
      ...(ownRun.twin === undefined ? {} : { twin: ownRun.twin }),
    }),
    heartbeatMs: config.DISCOVERY_HEARTBEAT_MS,
    pingMs: config.DISCOVERY_PING_MS,
    outAfterMs,
    opinionOf: (peerId) => opinions.of(peerId),
    compareRoster: (peerId) => rosterSync.compare(peerId),
    losses: () => storage.losses.count,
  });
  opinions.onChange(() => membership.noteOpinion());
  membership.restore(state.loadMembers());
  const twins = new Twins({
    self,
    ownRun,
    client,
    own: () => membership.presence.own(),
    members: () =>
      membership
        .others()
        .filter(({ state: each }) => each === 'alive')
        .map((member) => targetAt(member, 'discovery')),
    learn: (records, from) => membership.believe(records, from),
    outbid: async (above) =>
      membership.presence.reincarnate(await state.nextIncarnation(above + 1)),
    setAside: (isAside) => {
      wire.engine().setAlone(isAside);
      membership.presence.announce();
    },
    reconnect: () => {
      for (const peerId of wire.engine().connected()) void wire.engine().hangUp(peerId);
    },
    heartbeatMs: () => membership.heartbeatMs(),
    clock,
    nowMs: Date.now,
    onChange: () => membership.presence.announce(),
    metrics,
    log,
  });
  membership.onOwnName((record) => twins.see(record));
  membership.onChange((member, now) => {
    const hasTls = membership.table.get(member)?.record.tls;
    if (now !== 'alive' || hasTls === (config.PEER_TLS === 'on')) return;
    log.warn(
      { member },
      `this member has PEER_TLS=${hasTls === true ? 'on' : 'off'} and this peer has not: they give each other no blocks; set the same at all peers`,
    );
  });
  return {
    ownRun,
    opinions,
    rosterSync,
    membership,
    members: () => membership.list(),
    twins,
    ownClock: createOwnClock({ members: () => membership.table.all(), clock, nowMs: Date.now }),
    draining: createDraining({
      state,
      metrics,
      announceSelf: () => membership.presence.announce(),
      log,
    }),
    join: new Join({
      self,
      seeds: config.DISCOVERY_SEEDS,
      isOwn: (host, port) => address.isOwn(host, port),
      mdns: config.DISCOVERY_MDNS,
      membership,
      isAside: () => ownRun.isAside || ground.roster.view.removed.has(self),
      wire,
      log,
    }),
  };
}

/** Which files are kept, who holds them, whose copies count, and so how safe files are. */
export function startFiles(ground: Ground, swarm: Swarm, stack: AsyncDisposableStack) {
  const { config, self, state, client, wire, storage, events, loops, wallTimeOf, metrics, log } =
    ground;
  const { membership, members, opinions, ownRun, join: joining } = swarm;
  const { readHaveMap } = storage;
  const store = state.pins;
  const reader = createPinReader(store);
  const answer = async (question: Question): Promise<Answer> => {
    if (question.kind === 'have') return answerWant(question.roots, readHaveMap);
    const pin = reader.findSigned(question.hash);
    return { haves: [], ...(pin === undefined ? {} : { pin }) };
  };
  const ask = createAsk({ self, wire, table: membership.table, answer, metrics, log });
  const undeleteMs = config.DISCOVERY_UNDELETE_MS;
  const pinning = startPins({ ...ground, ...swarm, store, reader, ask, undeleteMs }, stack);
  const holding = startHolders(
    { ...ground, membership, ask, readHaveMap, ownLosses: storage.losses },
    stack,
  );
  membership.onChange((peerId, now) =>
    events.publish({ kind: 'member', atMs: Date.now(), peerId, state: now }),
  );
  const proving = new Proving({
    self,
    client,
    holders: holding.holders,
    refresh: holding.refresh,
    opinions,
    members,
    page: (after, limit) => reader.page(after, limit),
    metrics,
    log,
  });
  stack.use(proving.start(loops, config.DISCOVERY_PROOF_INTERVAL_MS));
  const health = new Health({
    self,
    ...pinning,
    ...holding,
    reader,
    members,
    // In a full mesh a connection that is gone is the first sign that its peer is.
    isReachable: ({ isSelf, peerId }: Member) =>
      isSelf || wire.isConnected(peerId) || membership.table.size() > FULL_MESH_MAX,
    isJoining: () => joining.isJoining(),
    asideFor: () => (ownRun.isAside ? ownRun.twin : undefined),
    outAtMs: (peerId) => membership.table.outAtMs(peerId),
    wallTimeOf,
    newForMs: config.MEMBER_OUT_AFTER_MS,
    proving,
    opinions,
  });
  return { ...pinning, ...holding, reader, health };
}

/** Listens for other peers; by now all their requests have handlers. */
async function startNetwork(
  { config, privateKeyRaw, swarmKeys, keeper, wire, address, metrics, log, audit }: Audited,
  { membership }: Swarm,
  stack: AsyncDisposableStack,
): Promise<void> {
  const engine = await startLibp2p({
    privateKeyRaw,
    swarmKeys,
    listen: listenAddresses(await numericHost(config.BIND_HOST), config.DISCOVERY_LIBP2P_PORT),
    mdns: config.DISCOVERY_MDNS,
    events: wire.events,
    audience: () =>
      membership.table
        .all()
        .filter(({ state: each }) => each === 'alive')
        .map(({ record }) => record.peerId),
    admits: (peerId) => keeper.admits(peerId),
    metrics,
    log,
    onRefused: (refused) => audit.note({ kind: 'handshake-refused', ...refused }),
  });
  stack.defer(() => engine.stop());
  wire.attach(engine);
  const port = hostOf(engine.addresses()[0] ?? '')?.port;
  if (port !== undefined) address.note({ libp2p: port });
  metrics.connections.set(0);
  for (const event of ['connected', 'disconnected'] as const)
    wire.on(event, () => metrics.connections.set(engine.connected().length));
}

/** Serves this peer's services, clients and other peers over HTTP; returns its origin. */
async function startServer(
  ground: Audited,
  swarm: Swarm,
  files: Files,
  stack: AsyncDisposableStack,
): Promise<string> {
  const { config, log, self, roster, keeper, prover, tls, client, clock, address, loops, metrics } =
    ground;
  const { state, audit } = ground;
  const { members, join: joining, twins, ownClock } = swarm;
  const access = openAccess(config, roster);
  const clients = openClients(config, { access, prover });
  const app = createServer({
    service: 'discovery',
    log,
    registry: metrics.registry,
    // One that was removed calls nobody: it serves what it has.
    whyNotReady: () => (ground.roster.view.removed.has(self) ? undefined : joining.whyNotReady()),
    blocker: () => twins.whyAside(),
    notices: () =>
      [twins.notice(), ownClock.notice(), state.roomNotice(), keeper.notice()].filter(
        (each) => each !== undefined,
      ),
    hostNames: ownHostNames(config),
    access,
    prover,
    clearText: openClearText(config),
    clients,
    peers: acceptAudited(tls, metrics.tlsHandshakes, audit),
  });
  stack.defer(() => app.close());
  const mounting = { app, prover, self };
  mountLoops(mounting, 'discovery', loops);
  stack.use(auditTokens(app, audit, clients));
  mountAudit(mounting, 'discovery', audit);
  mountRoutes(mounting, {
    ...swarm,
    roster: ground.roster,
    ...files,
    audit,
    whyIncomplete: () => state.roomNotice(),
    setDraining: (isDraining) => swarm.draining.set(isDraining),
    expirySlackMs: config.DISCOVERY_EXPIRY_SLACK_MS,
  });
  mountRoster(mounting, {
    ...ground,
    ...swarm,
    admit: new Admit({ ...ground, ...swarm, swarmKey: ground.swarmKeys[0], nowMs: Date.now }),
  });
  const findPin = (root: Cid) => files.reader.find(root);
  const findBlock = stack.use(createFindBlock({ findPin, client, members, clock, metrics, log }));
  mountRouting(mounting, { members, findBlock, firstTurn: randomInt(FIRST_TURNS) });
  const origin = await app.listen({ host: config.BIND_HOST, port: config.DISCOVERY_PORT });
  address.note({ http: Number(new URL(origin).port) });
  return origin;
}

/** From here on we announce ourselves to the others, and watch them. */
export async function startSpeaking(
  ground: Ground,
  swarm: Swarm,
  files: Files,
  stack: AsyncDisposableStack,
): Promise<void> {
  const { config, self, state, wire, storage, loops, metrics, log } = ground;
  const { ownRun, membership, members, twins, ownClock } = swarm;
  // Before the others hear of us: they would take us for the process that still runs there.
  const former = readFormer(state.loadOwn(), self);
  if (former !== undefined) await twins.askFormer(former);
  stack.use(
    storage.watch({
      loops,
      onMove: () => membership.presence.announce(),
      onFigures: () => membership.presence.announceFigures(),
    }),
  );
  stack.use(membership.start(loops));
  stack.use(twins.start(loops));
  const isAside = () => ownRun.isAside;
  const pingMs = config.DISCOVERY_PING_MS;
  stack.use(
    startFailureDetector({
      self,
      isAside,
      membership,
      wire,
      onLosses: (peerId, losses, askedAtMs) => files.holders.noteLosses(peerId, losses, askedAtMs),
      pingMs,
      loops,
      log,
    }),
  );
  stack.use(swarm.join.start(loops));
  stack.use(watchOwnClock({ ownClock, metrics, loops, log }));
  // No file is left to a member that can't be relied upon as its only watcher.
  const alive = () =>
    members().filter(({ state: each, isDistrusted }) => each === 'alive' && isDistrusted !== true);
  stack.use(startSurvey({ self, ...files, alive, metrics, loops }));
  stack.use(await startSavingMembers({ state, membership, isAside, loops, log }));
  stack.defer(() => membership.presence.leave());
  stack.defer(() => files.pins.flush());
}
