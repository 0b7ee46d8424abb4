/**
 * Puts the discovery service together, from what needs nothing to what needs the rest: state and clients,
 * the swarm's members, its files, the network, HTTP, and last what speaks up by itself. Stops in reverse.
 */
import { randomInt } from 'node:crypto';
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
  ownHostNames,
  readSwarmKey,
  readWriteToken,
} from '@shoal/chassis';
import { connectEvents } from '@shoal/chassis/events';
import { createProducer } from '@shoal/chassis/queue';
import type { Cid, Member, PeerId, Pin } from '@shoal/protocol';
import type { DiscoveryConfig } from './config.ts';
import { createAnnounce } from './holders/announce.ts';
import { createHealth } from './holders/health.ts';
import { createHolders } from './holders/holders.ts';
import { createOwnStorage } from './holders/own-storage.ts';
import { startSurvey } from './holders/survey.ts';
import { answerWant, createWant } from './holders/want.ts';
import { createDraining } from './members/draining.ts';
import { startFailureDetector } from './members/failure.ts';
import { FULL_MESH_MAX, Join } from './members/join.ts';
import { Membership } from './members/membership.ts';
import { createOwnClock, watchOwnClock } from './members/own-clock.ts';
import { OwnRun } from './members/own-run.ts';
import { startSavingMembers } from './members/save-members.ts';
import { createTwins, readFormer } from './members/twins.ts';
import { createMetrics } from './metrics.ts';
import { hostOf, listenAddresses } from './network/addresses.ts';
import { createAsk } from './network/ask.ts';
import { startLibp2p } from './network/libp2p-engine.ts';
import type { Answer, Question } from './network/messages.ts';
import { numericHost, OwnAddress } from './network/own-address.ts';
import { createRefusals } from './network/refusals.ts';
import { createSigner } from './network/signed.ts';
import { createWire } from './network/wire.ts';
import { Compared } from './pins/compared.ts';
import { startExpiry } from './pins/expiry.ts';
import { createPinAges } from './pins/pin-ages.ts';
import { PinEditor } from './pins/pin-editor.ts';
import { createPinReader } from './pins/pin-reader.ts';
import { startPinSync } from './pins/pin-sync.ts';
import { Pins } from './pins/pins.ts';
import { startSettleRequests } from './pins/settle-requests.ts';
import { openState } from './pins/state.ts';
import { mountRoutes } from './routes.ts';
import { createFindBlock } from './routing/is-held.ts';
import { mountRouting } from './routing/routing.ts';
import { createOpinions } from './trust/opinions.ts';
import { startProving } from './trust/proving.ts';

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
  const swarm = createSwarm(ground);
  const files = startFiles(ground, swarm, stack);
  await startNetwork(ground, swarm, stack);
  const origin = await startServer(ground, swarm, files, stack);
  await startSpeaking(ground, swarm, files, stack);
  const running = stack.move();
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

type Ground = Awaited<ReturnType<typeof openGround>>;
type Swarm = ReturnType<typeof createSwarm>;
type Files = ReturnType<typeof startFiles>;

/** The ground of all the rest: identity, disk, network. */
async function openGround(
  config: Readonly<DiscoveryConfig>,
  log: Log,
  stack: AsyncDisposableStack,
) {
  const self = config.PEER_ID;
  const identity = openIdentity(join(config.PEER_DATA_DIR, 'identity.key'));
  if (identity.peerId !== self)
    throw new ConfigError(`PEER_ID is ${self}, but the key in PEER_DATA_DIR is ${identity.peerId}`);
  const swarmKey = readSwarmKey(config.SWARM_KEY_FILE);
  const prover = openProver(config);
  const metrics = createMetrics();
  const loops = createLoops({ metrics: metrics.loops, log });
  const clock = () => performance.now();
  const refusals = createRefusals({ clock, metrics, log });
  const state = stack.use(
    openState(
      join(config.PEER_DATA_DIR, 'discovery'),
      Date.now,
      (what, name, reason) => refusals.note({ what, from: undefined, name, reason }),
      config.DISCOVERY_UNDELETE_MS,
    ),
  );
  const own = ownEndpoints(config);
  const client = stack.use(createPeerClient({ prover, self, own }));
  const producer = stack.use(createProducer('settle', config.REDIS_SOCKET, log));
  return {
    config,
    log,
    self,
    privateKeyRaw: identity.privateKeyRaw,
    swarmKey,
    prover,
    signer: createSigner(identity.privateKeyRaw),
    metrics,
    loops,
    clock,
    refusals,
    state,
    client,
    events: stack.use(connectEvents(config.REDIS_SOCKET, log)),
    settleRequests: stack.use(startSettleRequests({ producer, metrics, loops, log })),
    wire: createWire({ metrics, refusals, log }),
    address: new OwnAddress(config, own),
    storage: stack.use(createOwnStorage({ client, state, log })),
    incarnation: await state.nextIncarnation(Date.now()),
  };
}

/** The members of the swarm, and our view of them and of ourselves. */
function createSwarm(ground: Ground) {
  const { config, self, state, client, wire, address, storage, clock, metrics, log } = ground;
  const ownRun = new OwnRun(ground.incarnation);
  const outAfterMs = config.MEMBER_OUT_AFTER_MS;
  const opinions = createOpinions({ clock, outAfterMs, metrics, log });
  const membership = new Membership({
    ...ground,
    run: () => ownRun.read(),
    facts: () => ({
      ...address.facts(),
      version: VERSION,
      draining: state.isDraining(),
      ...storage.space(),
    }),
    heartbeatMs: config.DISCOVERY_HEARTBEAT_MS,
    outAfterMs,
    opinionOf: (peerId) => opinions.of(peerId),
  });
  opinions.onChange(() => membership.noteOpinion());
  membership.restore(state.loadMembers());
  const twins = createTwins({
    self,
    ownRun,
    client,
    own: () => membership.own(),
    members: () =>
      membership
        .others()
        .filter(({ state: each }) => each === 'alive')
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
    clock,
    nowMs: Date.now,
    metrics,
    log,
  });
  membership.onOwnName((record) => twins.see(record));
  return {
    ownRun,
    opinions,
    membership,
    members: () => membership.list(),
    twins,
    ownClock: createOwnClock({ members: () => membership.table.all(), clock, nowMs: Date.now }),
    draining: createDraining({
      state,
      metrics,
      announceSelf: () => membership.announceSelf(),
      log,
    }),
    join: new Join({
      self,
      seeds: config.DISCOVERY_SEEDS,
      isOwn: (host, port) => address.isOwn(host, port),
      mdns: config.DISCOVERY_MDNS,
      membership,
      isAside: () => ownRun.isAside,
      wire,
      log,
    }),
  };
}

/** Which files are kept, who holds them, and how safe they are. */
function startFiles(ground: Ground, swarm: Swarm, stack: AsyncDisposableStack) {
  const { config, self, state, client, wire, storage, events, clock, loops, metrics, log } = ground;
  const { membership, members, opinions, ownClock, join: joining, twins } = swarm;
  const holders = createHolders({ clock });
  turnWithMembers(ground, swarm, holders);

  const ages = createPinAges({ clock, wallClock: Date.now });
  const compared = new Compared({
    wire,
    others: () => membership.others(),
    isClockUsable: () => ownClock.verdict() !== 'wrong',
    mayBeMore: () => joining.mayBeMore(),
  });
  const store = state.pins;
  const checkName = () => twins.check();
  const pins = new Pins({
    ...ground,
    store,
    compared,
    ownClock,
    checkName,
    onChange: ({ root, name, deleted }, old, { isForRoom }) => {
      ages.note(root, compared.isCurrent());
      ground.settleRequests.add(root);
      const about = { atMs: Date.now(), cid: root, name };
      if (!deleted) return events.publish({ kind: 'pin', ...about });
      if (old?.deleted === true) return events.publish({ kind: 'purged', ...about, isForRoom });
      events.publish({ kind: 'deleted', ...about });
    },
  });
  const reader = createPinReader(store);
  const { readHaveMap } = storage;
  const answer = async (question: Question): Promise<Answer> => {
    if (question.kind === 'have') return answerWant(question.roots, readHaveMap);
    const pin = reader.findSigned(question.hash);
    return { haves: [], ...(pin === undefined ? {} : { pin }) };
  };
  const ask = createAsk({ self, wire, table: membership.table, answer, metrics, log });
  const editor = new PinEditor({
    pins,
    reader,
    store,
    ask,
    wire,
    checkName,
    undeleteMs: config.DISCOVERY_UNDELETE_MS,
    log,
  });

  const want = createWant({ ask, holders });
  const onHolding = (cid: Cid, peerId: PeerId) =>
    events.publish({ kind: 'holding', atMs: Date.now(), cid, peerId });
  const announcing = stack.use(createAnnounce({ self, wire, holders, readHaveMap, onHolding }));
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
      page: (after, limit) => reader.page(after, limit),
      metrics,
      loops,
      log,
      intervalMs: config.DISCOVERY_PROOF_INTERVAL_MS,
    }),
  );
  const health = createHealth({
    self,
    search: (hash, options) => editor.search(hash, { ask: true, ...options }),
    reader,
    want,
    holders,
    ages,
    readHaveMap,
    members,
    // In a full mesh a connection that is gone is the first sign that its peer is.
    isReachable: ({ isSelf, peerId }: Member) =>
      isSelf || wire.isConnected(peerId) || membership.table.all().length > FULL_MESH_MAX,
    isJoining: () => joining.isJoining(),
    newForMs: config.MEMBER_OUT_AFTER_MS,
    prove: (pin, options) => proving.look(pin, options),
    isSampled: (peerId) => opinions.isSampled(peerId),
  });
  stack.use(startPinSync({ self, store, pins, compared, wire, log }, loops));
  const onTurn = (root: Cid): void => {
    pins.count();
    ground.settleRequests.add(root);
  };
  const onPurge = ({ root: cid, name }: Pin) =>
    events.publish({ kind: 'purged', atMs: Date.now(), cid, name, isForRoom: false });
  stack.use(startExpiry({ store, onTurn, onPurge, metrics, loops, log }));
  return { holders, compared, pins, reader, editor, want, announcing, health };
}

/** Claims of members on their blocks are read anew when they went, and when they are back. */
function turnWithMembers(
  { events }: Ground,
  { membership }: Swarm,
  holders: ReturnType<typeof createHolders>,
): void {
  const gone = new Set<PeerId>();
  membership.onChange((peerId, state) => {
    const isGone = state === 'down' || state === 'out';
    // One that went may come back with less than it said; and what it said may reach us when it has gone.
    if (isGone || gone.delete(peerId)) holders.turn(peerId);
    if (isGone) gone.add(peerId);
    events.publish({ kind: 'member', atMs: Date.now(), peerId, state });
  });
}

/** Listens for other peers; by now all that answers them is there. */
async function startNetwork(
  { config, privateKeyRaw, swarmKey, wire, address, metrics, log }: Ground,
  { membership }: Swarm,
  stack: AsyncDisposableStack,
): Promise<void> {
  const engine = await startLibp2p({
    privateKeyRaw,
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
  const port = hostOf(engine.addresses()[0] ?? '')?.port;
  if (port !== undefined) address.note({ libp2p: port });
  metrics.connections.set(0);
  for (const event of ['connected', 'disconnected'] as const)
    wire.on(event, () => metrics.connections.set(engine.connected().length));
}

/** Answers services of this peer, clients and other peers over HTTP; gives its origin. */
async function startServer(
  ground: Ground,
  swarm: Swarm,
  files: Files,
  stack: AsyncDisposableStack,
): Promise<string> {
  const { config, log, self, prover, client, clock, address, loops, metrics } = ground;
  const { members, join: joining } = swarm;
  const token = readWriteToken(config);
  const app = createServer({
    service: 'discovery',
    log,
    registry: metrics.registry,
    whyNotReady: () => joining.whyNotReady(),
    hostNames: ownHostNames(config),
    writeToken: token,
    clients: openClients(config, { token, prover }),
  });
  stack.defer(() => app.close());
  const mounting = { app, prover, self };
  mountLoops(mounting, 'discovery', loops);
  mountRoutes(mounting, {
    ...swarm,
    ...files,
    setDraining: (isDraining) => swarm.draining.set(isDraining),
    expirySlackMs: config.DISCOVERY_EXPIRY_SLACK_MS,
  });
  const findPin = (root: Cid) => files.reader.find(root);
  const findBlock = stack.use(createFindBlock({ findPin, client, members, clock, metrics, log }));
  mountRouting(mounting, { members, findBlock, firstTurn: randomInt(FIRST_TURNS) });
  const origin = await app.listen({ host: config.BIND_HOST, port: config.DISCOVERY_PORT });
  address.note({ http: Number(new URL(origin).port) });
  return origin;
}

/** Others hear of us from here on, and we look after them. */
async function startSpeaking(
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
  stack.use(storage.watch({ loops, onMove: () => membership.announceSelf() }));
  stack.use(membership.start(loops));
  stack.use(twins.start(loops));
  stack.use(
    startFailureDetector({ membership, wire, pingMs: config.DISCOVERY_PING_MS, loops, log }),
  );
  stack.use(swarm.join.start(loops));
  stack.use(watchOwnClock({ ownClock, metrics, loops, log }));
  // Files that only a member watches which can't be relied upon would be watched by nobody.
  const alive = () =>
    members().filter(({ state: each, isDistrusted }) => each === 'alive' && isDistrusted !== true);
  stack.use(startSurvey({ self, ...files, alive, metrics, loops }));
  const isAside = () => ownRun.isAside;
  stack.use(await startSavingMembers({ state, membership, isAside, loops, log }));
  stack.defer(() => membership.leave());
}
