/**
 * What comes from outside, with extreme values in every field, through every reader: the mechanisms of a
 * discovery service over an engine whose other end is a member that lies. Each case ends, is refused by
 * name or is harmless, and leaves the honest records that came along and all that is told to users sound.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { validateHeaderValue } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { encodeBits, hashBlock } from '@shoal/blocks';
import {
  createLog,
  createLoops,
  createProver,
  createRegistry,
  createServer,
  identityOf,
  mountRaw,
  Roster,
} from '@shoal/chassis';
import { readJob } from '@shoal/chassis/queue';
import {
  BYTES,
  chunkerRoutes,
  discoveryRoutes,
  FileEntry,
  FileHealth,
  HaveMap,
  MemberRecord,
  type PeerId,
  PeersReply,
  Pin,
  QUEUES,
  type QueueName,
  ReplicateProgress,
  type Route,
  routePath,
  rosterRoutes,
  routingRoutes,
  storageRoutes,
  SwarmEvent,
  transferRoutes,
} from '@shoal/protocol';
import { openTemporaryFolder } from '@shoal/testkit';
import * as z from 'zod';
import { createAnnounce } from '../../src/holders/announce.ts';
import { createAsk } from '../../src/network/ask.ts';
import type { Engine } from '../../src/network/engine.ts';
import { Health } from '../../src/health/health.ts';
import { createHolders } from '../../src/holders/holders.ts';
import { startFailureDetector } from '../../src/members/failure.ts';
import { Membership } from '../../src/members/membership.ts';
import type { OwnFacts } from '../../src/members/own-record.ts';
import { AgedRecord, Ask, Holdings, REPLIES, Request, Stamp } from '../../src/network/messages.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createOwnClock } from '../../src/members/own-clock.ts';
import { Compared } from '../../src/pins/compared.ts';
import { startPinSync } from '../../src/pins/pin-sync.ts';
import { createPinAges } from '../../src/pins/pin-ages.ts';
import { createWallTime } from '../../src/wall-time.ts';
import { PinEditor } from '../../src/pins/pin-editor.ts';
import { createPinReader } from '../../src/pins/pin-reader.ts';
import { Pins } from '../../src/pins/pins.ts';
import { TokenUse } from '../../src/pins/token-use.ts';
import { toRecords } from '../../src/routing/provider-records.ts';
import { createRefusals, type Refusal } from '../../src/network/refusals.ts';
import { treeOf } from '../../src/network/merkle.ts';
import { createSigner, pinsOf, Signed, SignedBatch, SignedPin } from '../../src/network/signed.ts';
import { RosterKeeper } from '../../src/roster/roster-keeper.ts';
import { RosterSync } from '../../src/roster/roster-sync.ts';
import { openState } from '../../src/state/state.ts';
import { createRefresh } from '../../src/holders/refresh.ts';
import { createWant } from '../../src/holders/want.ts';
import { createWire } from '../../src/network/wire.ts';
import {
  fieldsOf,
  type Json,
  NEVER,
  type Path,
  pathsOf,
  replaced,
  SOMETIMES,
  textOf,
  unboundedIn,
} from '../extremes.ts';

const DAY_MS = 24 * 3_600_000;
/** More than all bounds of discovery's memories together. */
const MEMORY_MAX_BYTES = 512 * 1024 * 1024;
const signal = new AbortController().signal;
const log = createLog('discovery', 'silent');

interface Liar {
  readonly peerId: PeerId;
  readonly key: KeyObject;
  readonly privateKeyRaw: Uint8Array;
}

function createPeer(): Liar {
  const { privateKey: key } = generateKeyPairSync('ed25519');
  return { ...identityOf(key), key };
}

/** Signs whatever it is given, as a member that lies does. */
function signed(kind: 'member' | 'pin', content: Json, { key }: Liar): { [name: string]: Json } {
  const payload = textOf(content);
  const text = Buffer.from(`shoal-${kind}-v1\n${payload}`);
  return { payload, signature: sign(null, text, key).toString('base64url') };
}

/** The same of a batch of pins. */
function signedBatch(pins: readonly Json[], { key }: Liar): SignedBatch {
  const payloads = pins.map(textOf);
  const text = Buffer.concat([Buffer.from('shoal-pins-v2\n'), treeOf(payloads).root]);
  return { payloads, signature: sign(null, text, key).toString('base64url') };
}

/** One of its pins, as it is relayed alone. */
function signedPin(pin: Json, liar: Liar): { [name: string]: Json } {
  const { among, payload, signature } =
    pinsOf(signedBatch([pin, pinOf(liar), pinOf(liar)], liar))[0] ?? {};
  if (among === undefined || payload === undefined || signature === undefined)
    throw new Error('no pin');
  return { payload, signature, among: { ...among } };
}

const bytesOf = (message: Json): Uint8Array => Buffer.from(textOf(message));
const rootOf = (name: string) => hashBlock('raw', Buffer.from(name));
let ticks = 0;

function memberOf({ peerId }: Liar, part: { [name: string]: Json } = {}): { [name: string]: Json } {
  const origin = 'http://127.0.0.1:7100';
  return {
    v: 1,
    peerId,
    // Above every extreme that is taken, so that the next record is news.
    incarnation: 2 ** 33 + (ticks += 1),
    seq: 1,
    atMs: Date.now(),
    libp2p: ['/ip4/127.0.0.1/tcp/7105'],
    http: {
      gateway: origin,
      chunker: origin,
      storage: origin,
      transfer: origin,
      discovery: origin,
    },
    domain: { host: 'h', disk: 'd' },
    version: '0.1.0',
    capacityBytes: 100,
    usedBytes: 10,
    freeBytes: 90,
    blocks: 1,
    leaving: false,
    draining: false,
    tls: true,
    run: { id: 'r', sinceMs: 1, isAside: false, nonce: 'n' },
    twin: 'http://127.0.0.1:1',
    ...part,
  };
}

function pinOf({ peerId }: Liar, part: { [name: string]: Json } = {}): { [name: string]: Json } {
  return {
    root: rootOf('lie'),
    kind: 'file',
    name: 'lie.txt',
    sizeBytes: 3,
    sha256: 'a'.repeat(64),
    blocks: 3,
    replicas: 2,
    expiresAtMs: Date.now() + DAY_MS,
    token: 't',
    v: 2,
    createdAtMs: Date.now(),
    epoch: Date.now() - DAY_MS + (ticks += 1),
    deleted: false,
    deletedAtMs: Date.now(),
    clock: Date.now(),
    origin: peerId,
    author: peerId,
    right: { grants: [{ payload: 'p', signature: 's' }], signature: 's' },
    ...part,
  };
}

const mapOf = (root: string, blocks = 3): { [name: string]: Json } => ({
  root,
  blocks,
  bits: encodeBits(Uint8Array.of(0xe0)),
  checkedAtMs: 1,
  checkedMsAgo: 1,
});

/** What a peer says of itself, apart from what membership adds. */
function factsOf(record: Json): OwnFacts {
  const { libp2p, http, domain, version, ...rest } = MemberRecord.parse(record);
  const { capacityBytes, usedBytes, freeBytes, blocks, draining, tls } = rest;
  const space = { capacityBytes, usedBytes, freeBytes, blocks };
  return { libp2p, http, domain, version, draining, tls, ...space };
}

/** The mechanisms of one peer, and the lie that its only neighbour answers every question with. */
async function openStand() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await openTemporaryFolder());
  const [me, liar] = [createPeer(), createPeer()];
  const notes: Refusal[] = [];
  let answers: { [kind: string]: Json } = {};
  const metrics = createMetrics();
  const told = createRefusals({ clock: () => performance.now(), metrics, log });
  const refusals = {
    note(refusal: Refusal) {
      notes.push(refusal);
      told.note(refusal);
    },
  };
  const engine: Engine = {
    addresses: () => [],
    connected: () => [liar.peerId],
    reachesAll: () => false,
    listeners: () => [],
    dial: async () => liar.peerId,
    knock: async () => 'silent',
    broadcast: async () => {},
    request: async (_, bytes) => {
      const { kind } = JSON.parse(Buffer.from(bytes).toString()) as { kind: string };
      return bytesOf(answers[kind] ?? {});
    },
    setAlone: () => {},
    hangUp: async () => {},
    stop: async () => {},
  };
  // All that follows comes from one member: by this clock it has time enough between any two messages.
  let nowMs = 0;
  const wire = createWire({ metrics, refusals, log, clock: () => (nowMs += 3_600_000) });
  const state = stack.use(openState(folder.path, { undeleteMs: 7 * DAY_MS }));
  let isCurrent = true;
  const signer = createSigner(me.privateKeyRaw);
  const keeper = stack.use(
    new RosterKeeper({ self: me.peerId, peerDataDir: folder.path, metrics, log }),
  );
  const rosterSync = new RosterSync({ self: me.peerId, keeper, wire, log });
  const membership = new Membership({
    opinionOf: () => ({}),
    roster: keeper.roster,
    compareRoster: (peerId) => rosterSync.compare(peerId),
    self: me.peerId,
    incarnation: 1,
    run: () => ({ id: 'this one', sinceMs: 1, isAside: false }),
    clock: () => performance.now(),
    signer,
    wire,
    facts: () => factsOf(memberOf(me)),
    heartbeatMs: 60_000,
    pingMs: 60_000,
    outAfterMs: 60_000,
    refusals,
    metrics,
    log,
  });
  stack.use(
    startFailureDetector({
      self: me.peerId,
      isAside: () => false,
      membership,
      wire,
      pingMs: 60_000,
      loops: createLoops({ log }),
      log,
    }),
  );
  const holders = createHolders({ clock: membership.clock });
  const ownClock = createOwnClock({
    members: () => membership.table.all(),
    clock: membership.clock,
    nowMs: Date.now,
  });
  const compared = new Compared({
    wire,
    others: () => membership.others(),
    isClockUsable: () => ownClock.verdict() !== 'wrong',
    mayBeMore: () => false,
  });
  const reader = createPinReader(state.pins);
  const pins = new Pins({
    self: me.peerId,
    store: state.pins,
    roster: new Roster(),
    signer,
    wire,
    compared: { isCurrent: () => isCurrent, startOver: () => compared.startOver() },
    ownClock,
    checkName: () => {},
    changed: { note: () => {}, tell: async () => {} },
    refusals,
    onChange: () => {},
    tokenUse: new TokenUse(),
    metrics,
    log,
  });
  const ask = createAsk({
    self: me.peerId,
    wire,
    table: membership.table,
    answer: async () => ({ haves: [] }),
    metrics,
    log,
  });
  const editor = new PinEditor({
    pins,
    reader,
    store: state.pins,
    ask,
    wire,
    checkName: () => {},
    nameOf: () => undefined,
    undeleteMs: 7 * DAY_MS,
    log,
  });
  const want = createWant({ ask, holders });
  stack.use(
    createAnnounce({
      self: me.peerId,
      wire,
      holders,
      readHaveMap: async () => ({ haveMap: undefined, readAtMs: Date.now() }),
      onHolding: () => {},
    }),
  );
  stack.use(
    startPinSync(
      { self: me.peerId, store: state.pins, pins, compared, wire, log },
      createLoops({ log }),
    ),
  );
  const wallTimeOf = createWallTime({ clock: () => performance.now(), nowMs: Date.now });
  const health = new Health({
    self: me.peerId,
    editor,
    reader,
    renew: async () => {},
    refresh: createRefresh({
      self: me.peerId,
      want,
      holders,
      readHaveMap: async () => ({ haveMap: undefined, readAtMs: Date.now() }),
    }),
    holders,
    ages: createPinAges({ clock: () => performance.now(), wallClock: Date.now, wallTimeOf }),
    members: () => membership.list(),
    isReachable: ({ state: each }) => each === 'alive',
    isJoining: () => false,
    asideFor: () => undefined,
    outAtMs: (peerId) => membership.table.outAtMs(peerId),
    wallTimeOf,
    newForMs: 1000,
    proving: { look: async () => undefined },
    opinions: { isSampled: () => false },
  });
  wire.attach(engine);
  const open = stack.move();
  return {
    me,
    liar,
    notes,
    metrics,
    wire,
    membership,
    pins,
    reader,
    editor,
    health,
    ownClock,
    setCurrent: (current: boolean) => void (isCurrent = current),
    answer: (given: { [kind: string]: Json }) => (answers = given),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

let stand: Awaited<ReturnType<typeof openStand>>;
beforeAll(async () => {
  stand = await openStand();
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
});

/** One way for something from outside to come in. What it does not take, it refuses, throws or notes. */
interface Reader {
  readonly name: string;
  readonly sample: () => Json;
  readonly read: (content: Json) => unknown;
  /** Fields that take any text of their length. */
  readonly free?: readonly string[];
}

const quiet = async (work: Promise<unknown>): Promise<void> => void (await work.catch(() => {}));
const broadcast = (topic: 'members' | 'pins' | 'asks' | 'holdings', message: Json) =>
  stand.wire.events.broadcast(topic, stand.liar.peerId, bytesOf(message));
const request = (message: Json) =>
  quiet(stand.wire.events.request(stand.liar.peerId, bytesOf(message)));
/** The liar is up, whatever it said of itself before. */
const revive = () => broadcast('members', signed('member', memberOf(stand.liar), stand.liar));
/** Honest records that come in the same batch. */
const goodPinText = () => pinOf(stand.liar, { root: rootOf(`good ${ticks}`) });
const goodPin = () => signedPin(goodPinText(), stand.liar);

const signedReaders: readonly Reader[] = [
  {
    name: 'members by gossip',
    sample: () => memberOf(stand.liar),
    read: (content) => broadcast('members', signed('member', content, stand.liar)),
  },
  {
    name: 'members in an exchange',
    sample: () => memberOf(stand.liar),
    read: (content) =>
      request({
        kind: 'exchange',
        records: [{ signed: signed('member', content, stand.liar), ageMs: 0 }],
      }),
  },
  {
    name: 'members in the answer to an exchange',
    sample: () => memberOf(stand.liar),
    read(content) {
      const records = [{ signed: signed('member', content, stand.liar), ageMs: 0 }];
      stand.answer({ exchange: { records } });
      return quiet(stand.membership.exchange(stand.liar.peerId));
    },
  },
  {
    name: 'members on disk',
    sample: () => memberOf(stand.liar),
    read: (content) =>
      stand.membership.restore([
        { signed: Signed.parse(signed('member', content, stand.liar)), seenAtMs: Date.now() },
      ]),
  },
  {
    name: 'pins by gossip',
    sample: () => pinOf(stand.liar),
    read: (content) => broadcast('pins', [signedBatch([content], stand.liar)]),
  },
  {
    name: 'pins that are put',
    sample: () => pinOf(stand.liar),
    read: (content) =>
      request({ kind: 'pins-put', made: [signedBatch([content, goodPinText()], stand.liar)] }),
  },
  {
    name: 'pins that are given, one from before batches',
    sample: () => pinOf(stand.liar),
    read: (content) =>
      request({
        kind: 'pins-give',
        pins: [signed('pin', content, stand.liar), signedPin(content, stand.liar), goodPin()],
      }),
  },
  {
    name: 'pins in the answer to a search',
    sample: () => pinOf(stand.liar),
    async read(content) {
      revive();
      stand.answer({ ask: { haves: [], pin: signedPin(content, stand.liar) } });
      await quiet(stand.editor.search(rootOf(`unknown ${(ticks += 1)}`), { ask: true, signal }));
    },
  },
];

const requests: readonly (() => { [name: string]: Json })[] = [
  () => ({
    kind: 'ping',
    nonce: 'x'.repeat(32),
    news: {
      records: [
        { signed: signed('member', memberOf(stand.liar), stand.liar), ageMs: 0, isGone: true },
      ],
      suspicions: [{ peerId: stand.liar.peerId, incarnation: 1, seq: 1 }],
    },
  }),
  () => ({ kind: 'probe', peerId: stand.liar.peerId, nonce: 'x'.repeat(32) }),
  () => ({ kind: 'members-digest', digest: 'x'.repeat(43) }),
  () => ({
    kind: 'exchange',
    records: [
      { signed: signed('member', memberOf(stand.liar), stand.liar), ageMs: 0, isGone: true },
    ],
  }),
  () => ({
    kind: 'ask',
    ask: { v: 1, rid: 'x'.repeat(36), question: { kind: 'have', roots: [rootOf('a')] } },
  }),
  () => ({
    kind: 'ask',
    ask: { v: 1, rid: 'x'.repeat(36), question: { kind: 'pin', hash: rootOf('a') } },
  }),
  () => ({
    kind: 'answer',
    rid: 'x'.repeat(36),
    answer: { haves: [mapOf(rootOf('a'))], pin: goodPin() },
  }),
  () => ({ kind: 'pin-digest', total: '0'.repeat(16) }),
  () => ({ kind: 'pin-stamps', bucket: 0, after: '' }),
  () => ({ kind: 'pins-get', roots: [rootOf('a')] }),
  () => ({ kind: 'pins-put', made: [signedBatch([goodPinText()], stand.liar)] }),
  () => ({ kind: 'pins-give', pins: [goodPin()] }),
  () => ({ kind: 'roster', digest: 'x'.repeat(43) }),
  () => ({ kind: 'roster-get', ids: ['x'.repeat(43)] }),
  () => ({ kind: 'roster-put', records: [signedGenesis()] }),
];

/** A swarm of the liar's own. */
const signedGenesis = (): { [name: string]: Json } => {
  const payload = textOf({
    v: 1,
    kind: 'genesis',
    by: stand.liar.peerId,
    recovery: stand.liar.peerId,
    atMs: 1,
    nonce: 'n',
  });
  const text = Buffer.from(`shoal-roster-v1\n${payload}`);
  return { payload, signature: sign(null, text, stand.liar.key).toString('base64url') };
};

const stampOf = (): Json => ({
  root: rootOf('a'),
  epoch: 1,
  deleted: false,
  deletedAtMs: 1,
  clock: 1,
  origin: stand.liar.peerId,
});
const replies: Readonly<Record<keyof typeof REPLIES, () => { [name: string]: Json }>> = {
  ping: () => ({
    signed: signed('member', memberOf(stand.liar), stand.liar),
    news: {
      records: [
        { signed: signed('member', memberOf(stand.liar), stand.liar), ageMs: 0, isGone: true },
      ],
      suspicions: [{ peerId: stand.liar.peerId, incarnation: 1, seq: 1 }],
    },
  }),
  probe: () => ({ signed: signed('member', memberOf(stand.liar), stand.liar) }),
  'members-digest': () => ({ isEqual: true }),
  exchange: () => ({
    records: [
      { signed: signed('member', memberOf(stand.liar), stand.liar), ageMs: 0, isGone: true },
    ],
  }),
  ask: () => ({ haves: [mapOf(rootOf('a'))], pin: goodPin() }),
  answer: () => ({}),
  'pin-digest': () => ({ buckets: Array.from({ length: 256 }, () => '0'.repeat(16)) }),
  'pin-stamps': () => ({ stamps: [stampOf()], isLast: true }),
  'pins-get': () => ({ pins: [goodPin()] }),
  'pins-put': () => ({}),
  'pins-give': () => ({}),
  roster: () => ({ ids: ['x'.repeat(43)] }),
  'roster-get': () => ({ records: [signedGenesis()] }),
  'roster-put': () => ({}),
};

const messageReaders: readonly Reader[] = [
  ...requests.map((sample): Reader => ({ name: 'a request', sample, read: request })),
  {
    name: 'questions by gossip',
    sample: () => ({
      v: 1,
      rid: 'x'.repeat(36),
      question: { kind: 'have', roots: [rootOf('a')] },
    }),
    read: (message) => broadcast('asks', message),
  },
  {
    name: 'holdings by gossip',
    sample: () => ({ v: 1, haves: [mapOf(rootOf('lie'))], gone: [rootOf('b')] }),
    read: (message) => broadcast('holdings', message),
  },
  ...Object.entries(replies).map(([kind, sample]): Reader => ({
    name: `an answer to ${kind}`,
    sample,
    async read(message) {
      stand.answer({ [kind]: message });
      // The samples of requests come in every kind; the answer alone matters here.
      const asked = requests.map((each) => each()).find((each) => each['kind'] === kind);
      await quiet(stand.wire.request(stand.liar.peerId, Request.parse(asked)));
    },
  })),
  {
    name: 'have-maps of a file whose health is asked for',
    sample: () => ({ haves: [mapOf(rootOf('honest'))] }),
    async read(message) {
      revive();
      stand.answer({ ask: message });
      FileHealth.parse(await stand.health.examine(rootOf('honest'), signal));
    },
  },
];

/** Everything that is told to users still is what the contract says. */
async function expectSound(): Promise<void> {
  stand.answer({ ask: { haves: [] } });
  const peers = stand.membership.list();
  PeersReply.parse({ self: stand.me.peerId, disks: 1, peers });
  for (const { http } of peers)
    for (const origin of Object.values(http)) validateHeaderValue('link', `<${origin}>`);
  toRecords(peers, {}, 0);
  const { files } = await stand.health.list({ limit: 1000 }, signal);
  for (const file of files) {
    encodeURIComponent(FileEntry.parse(file).name);
    expect(file.name).not.toContain('\u001b');
  }
  expect(files.map(({ cid }) => cid)).toContain(rootOf('honest'));
  expect(process.memoryUsage().rss - rssAtStart).toBeLessThan(MEMORY_MAX_BYTES);
}
let rssAtStart = 0;

const counted = { fields: new Set<string>(), pairs: 0, cases: 0 };
const show = (path: Path): string => path.filter((part) => part !== 0).join('.');

/** Puts each extreme into each field; answers what was taken without a word and no field takes. */
async function exhaust({ name, sample, read }: Reader): Promise<string[]> {
  const taken: string[] = [];
  revive();
  for (const path of pathsOf(sample())) {
    counted.fields.add(`${name}: ${show(path)}`);
    counted.pairs += 1;
    for (const [what, value] of Object.entries(NEVER)) {
      counted.cases += 1;
      const before = stand.notes.length;
      let isThrown = false;
      try {
        await read(replaced(sample(), path, value));
      } catch {
        isThrown = true;
      }
      const noted = stand.notes.slice(before);
      if (noted.length === 0 && !isThrown) taken.push(`${what} as ${show(path)}`);
    }
    for (const value of [...Object.values(SOMETIMES), undefined]) {
      counted.cases += 1;
      await read(replaced(sample(), path, value));
    }
  }
  return taken;
}

describe('what comes from outside', () => {
  beforeAll(async () => {
    broadcast('members', signed('member', memberOf(stand.liar), stand.liar));
    const honest = pinOf(stand.liar, { root: rootOf('honest') });
    await request({ kind: 'pins-put', made: [signedBatch([honest], stand.liar)] });
    rssAtStart = process.memoryUsage().rss;
    await expectSound();
  });

  const received: Readonly<Record<string, z.ZodType>> = {
    MemberRecord,
    Pin,
    HaveMap,
    Signed,
    SignedPin,
    SignedBatch,
    AgedRecord,
    Stamp,
    Request,
    Ask,
    Holdings,
    SwarmEvent,
    ReplicateProgress,
    ...Object.fromEntries(Object.entries(REPLIES).map(([kind, schema]) => [`to ${kind}`, schema])),
    ...Object.fromEntries(
      Object.entries(QUEUES).map(([name, { payload }]) => [`queue ${name}`, payload]),
    ),
  };
  it.each(Object.entries(received))('has a bound on every field of %s', (_, schema) => {
    expect(unboundedIn(schema)).toEqual([]);
  });

  it.each([
    ['a member', MemberRecord, () => memberOf(stand.liar)],
    ['a pin', Pin, () => pinOf(stand.liar)],
    ['a have-map', HaveMap, () => mapOf(rootOf('a'))],
  ] as const)('is tried in every field of %s', (_, schema, sample) => {
    const tried = pathsOf(sample()).map(show);
    // Of a record by service each key is a field of the sample.
    for (const field of fieldsOf(schema)) expect(tried).toContain(field);
  });

  it.each(signedReaders.map((reader) => [reader.name, reader] as const))(
    'is bounded as %s',
    async (_, reader) => {
      expect(await exhaust(reader)).toEqual([]);
      await expectSound();
    },
  );

  it.each(messageReaders.map((reader, index) => [index, reader.name, reader] as const))(
    'is bounded as message %i: %s',
    async (_, __, reader) => {
      expect(await exhaust(reader)).toEqual([]);
      await expectSound();
    },
  );

  it('is kept when something else in its batch is not', async () => {
    const root = rootOf('beside a bad one');
    const good = pinOf(stand.liar, { root });
    const bad = pinOf(stand.liar, { blocks: 2 ** 53 - 1 });
    const together = rootOf('signed with a bad one');
    await request({
      kind: 'pins-put',
      made: [signedBatch([bad, pinOf(stand.liar, { root: together })], stand.liar)],
    });
    expect(stand.reader.find(together)?.root).toBe(together);
    const before = stand.notes.length;
    await request({
      kind: 'pins-give',
      pins: [signedPin(bad, stand.liar), { payload: 1 }, signedPin(good, stand.liar)],
    });
    expect(stand.reader.find(root)?.root).toBe(root);
    expect(stand.notes.slice(before)).toMatchObject([
      { what: 'pin', reason: expect.stringContaining('payload') },
      { what: 'pin', name: rootOf('lie'), reason: expect.stringContaining('blocks') },
    ]);
    const other = createPeer();
    const record = signed('member', memberOf(other), other);
    await request({
      kind: 'exchange',
      records: [{ signed: record, ageMs: -1 }, 1, { signed: record, ageMs: 0 }],
    });
    expect(stand.membership.list().map(({ peerId }) => peerId)).toContain(other.peerId);
  });

  const FUTURE = ['epoch', 'clock', 'createdAtMs', 'deletedAtMs'] as const;
  it.each(FUTURE)('is refused with a %s past 7 days ahead, a tombstone too', async (field) => {
    const root = rootOf(`future ${field}`);
    const at = (days: number, deleted: boolean) =>
      request({
        kind: 'pins-give',
        pins: [
          signedPin(
            pinOf(stand.liar, { root, deleted, [field]: Date.now() + days * DAY_MS }),
            stand.liar,
          ),
        ],
      });
    for (const deleted of [false, true]) {
      const before = stand.notes.length;
      await at(7.1, deleted);
      expect(stand.notes.slice(before)).toMatchObject([
        { what: 'pin', name: root, reason: `${field}: is 7 days ahead of this peer's clock` },
      ]);
      expect(stand.reader.find(root)).toBeUndefined();
    }
    await at(6.9, false);
    expect(stand.reader.find(root)?.root).toBe(root);
  });

  it('of a deletion is a date only as far as what was seen here bears it out', async () => {
    const nowMs = Date.now();
    const leftOf = async (days: number, name: string): Promise<number | undefined> => {
      const root = rootOf(`deleted ${name}`);
      const { expiresAtMs: _, ...pin } = pinOf(stand.liar, {
        root,
        deleted: true,
        deletedAtMs: nowMs + days * DAY_MS,
      });
      await request({ kind: 'pins-give', pins: [signedPin(pin, stand.liar)] });
      const found = stand.reader
        .recoverable({ limit: 1000 })
        .files.find((each) => each.pin.root === root);
      return found && Math.round((found.purgeAtMs - nowMs) / DAY_MS);
    };
    expect(await leftOf(6, 'ahead')).toBe(7); // not after we heard of it
    expect(await leftOf(-300, 'while all else is known')).toBe(7); // just now
    stand.setCurrent(false);
    try {
      expect(await leftOf(6, 'ahead, while we catch up')).toBe(7);
      expect(await leftOf(-2, 'while we were away')).toBe(5);
      expect(await leftOf(-8, 'long ago')).toBeUndefined();
    } finally {
      stand.setCurrent(true);
    }
  });

  it('is named in the log once, not with every message', () => {
    const lines: unknown[] = [];
    const { metrics } = stand;
    const refusals = createRefusals({
      clock: () => performance.now(),
      metrics,
      log: { warn: (line: unknown) => lines.push(line) } as never,
    });
    const from = stand.liar.peerId;
    for (let index = 0; index < 1000; index += 1)
      refusals.note({ what: 'pin', from, name: 'x', reason: 'blocks: too many' });
    expect(lines).toHaveLength(1);
    for (let index = 0; index < 1000; index += 1)
      refusals.note({ what: 'pin', from, name: `x${index}`, reason: 'blocks: too many' });
    expect(lines).toHaveLength(100);
  });
});

describe('jobs of a queue', () => {
  const lease = '0'.repeat(8) + '-0000-4000-8000-000000000000';
  const jobs: Readonly<Record<QueueName, () => Json>> = {
    replicate: () => ({ v: 1, lease, cids: [rootOf('a')], replicas: 3 }),
    settle: () => ({ v: 2, roots: [rootOf('a')] }),
    release: () => ({ v: 1, lease, keep: false }),
  };
  it.each(Object.entries(jobs))('of %s are bounded', async (name, sample) => {
    expect(readJob(name as QueueName, sample())).toEqual(sample());
    for (const path of pathsOf(sample())) {
      counted.pairs += 1;
      for (const value of Object.values(NEVER)) {
        counted.cases += 1;
        expect(() => readJob(name as QueueName, replaced(sample(), path, value))).toThrow(
          /the job is refused: \w+/,
        );
      }
    }
  });
});

describe('routes', () => {
  const self = createPeer().peerId;
  const prover = createProver(new Uint8Array(32), self, new Uint8Array(64));
  const app = createServer({
    service: 'discovery',
    log,
    registry: createRegistry('discovery'),
    whyNotReady: () => undefined,
    hostNames: [],
  });
  const all = [
    chunkerRoutes,
    discoveryRoutes,
    rosterRoutes,
    routingRoutes,
    storageRoutes,
    transferRoutes,
  ]
    .flatMap((routes): Route[] => Object.values(routes))
    .filter(({ path }) => !path.includes('*') && !path.includes('.'));
  beforeAll(async () => {
    // One method and path may belong to two services: each has a prefix of its own here.
    for (const route of all)
      mountRaw(
        { app, prover, self },
        // There is no TLS here: its bounds are the same for whoever calls.
        {
          ...route,
          path: `/${route.service}${route.path}`,
          audience: route.audience === 'any-peer' ? 'public' : route.audience,
        },
        async ({ reply }) => reply.code(204).send(),
      );
    await app.ready();
  });
  afterAll(async () => {
    await app.close();
  });

  const samples: Readonly<Record<string, Json>> = {
    cid: rootOf('a'),
    hash: rootOf('a'),
    peerId: self,
    lease: '00000000-0000-4000-8000-000000000000',
    token: '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5',
    name: 'x',
    id: 'x',
    cids: [rootOf('a')],
    roots: [rootOf('a')],
    replicas: 2,
    copies: 2,
    neededBytes: 1,
    isDraining: true,
    isAll: false,
    codec: 'raw',
    nonce: 'x'.repeat(22),
    asker: self,
    holder: self,
    places: [{ root: rootOf('a'), index: 0 }],
    reports: [{ peerId: self, proved: 1, failed: [rootOf('a')], unanswered: 1 }],
  };
  const bodies: Readonly<Record<string, Json>> = {
    '/discovery/pins': {
      drafts: [
        {
          root: rootOf('a'),
          kind: 'file',
          name: 'x',
          sizeBytes: 1,
          sha256: 'a'.repeat(64),
          blocks: 1,
          replicas: 2,
          expiresAtMs: 1,
        },
      ],
    },
    '/discovery/pins/find': { hashes: [rootOf('a')] },
    '/storage/blocks/keep': { blocks: [{ cid: rootOf('a'), replicas: 2 }] },
    '/discovery/files/:hash': { name: 'x', replicas: 2, expiresAt: '2099-01-01T00:00:00Z' },
    '/discovery/meetings': { nonce: 'x'.repeat(32), record: { payload: 'x', signature: 'x' } },
    '/discovery/roster': { records: [{ payload: 'x', signature: 'x' }] },
    '/discovery/invitations': { forMs: 1000, uses: 1 },
    '/discovery/join': { invite: self, proof: 'x', name: 'x' },
    '/discovery/wants': { roots: [rootOf('a')], enough: 1, timeoutMs: 1000 },
    '/chunker/pins': {
      cid: rootOf('a'),
      name: 'x',
      replicas: 2,
      copies: 2,
      expiresAt: '2099-01-01T00:00:00Z',
      gateways: ['http://127.0.0.1'],
    },
  };
  /** What a query must have, where it has to have something. */
  const queries: Readonly<Record<string, Record<string, string>>> = {
    '/storage/blocks': { codec: 'raw' },
    '/chunker/kubo/import': { as: 'car', pin: 'false' },
    '/transfer/copies/small': { replicas: '2', copies: '1' },
    '/transfer/replicas/small': { replicas: '2', nonce: 'x'.repeat(22) },
  };
  const send = async (
    { method, service, path }: Route,
    params: Readonly<Record<string, unknown>>,
    query: Readonly<Record<string, unknown>>,
    body: Json | undefined,
  ): Promise<number> => {
    const url = routePath(`/${service}${path}`, params, query);
    const payload = body === undefined ? undefined : textOf(body);
    const answer = await app.inject({
      method,
      url,
      headers: {
        ...prover.prove(self, { method, path: url, body: payload }),
        ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(payload === undefined ? {} : { payload }),
    });
    return answer.statusCode;
  };
  const keysOf = (schema: z.ZodObject) => Object.keys(schema.shape);

  it.each(all.map((route) => [route.service, route.method, route.path, route] as const))(
    'of %s are bounded: %s %s',
    async (_, __, ___, route) => {
      const sampled = (schema: z.ZodObject) =>
        Object.fromEntries(
          keysOf(schema).flatMap((key) =>
            Object.hasOwn(samples, key) ? [[key, samples[key]]] : [],
          ),
        ) as { [name: string]: Json };
      const params = sampled(route.params);
      const query = {};
      const hasJson = route.body !== undefined && route.body !== BYTES;
      const body: Json | undefined = hasJson
        ? (bodies[`/${route.service}${route.path}`] ?? sampled(route.body as z.ZodObject))
        : undefined;
      const required = queries[`/${route.service}${route.path}`] ?? {};
      expect(await send(route, params, { ...query, ...required }, body)).toBe(204);
      for (const path of body === undefined ? [] : pathsOf(body)) {
        counted.pairs += 1;
        for (const value of Object.values(NEVER)) {
          counted.cases += 1;
          const status = await send(route, params, required, replaced(body ?? null, path, value));
          expect([400, 413, 422]).toContain(status);
        }
        for (const value of [...Object.values(SOMETIMES), undefined]) {
          counted.cases += 1;
          const status = await send(route, params, required, replaced(body ?? null, path, value));
          expect(status).toBeLessThan(500);
        }
      }
      const texts = [...Object.values(NEVER), ...Object.values(SOMETIMES)]
        .filter((value) => typeof value === 'string' || typeof value === 'number')
        .map((value) => String(value).slice(0, 4000).toWellFormed());
      for (const key of keysOf(route.query)) {
        counted.pairs += 1;
        for (const text of texts) {
          counted.cases += 1;
          expect(await send(route, params, { ...required, [key]: text }, body)).toBeLessThan(500);
        }
      }
      for (const key of keysOf(route.params)) {
        counted.pairs += 1;
        for (const text of texts) {
          counted.cases += 1;
          expect(await send(route, { ...params, [key]: text }, required, body)).toBeLessThan(500);
        }
      }
    },
  );
});

afterAll(() => {
  const { fields, pairs, cases } = counted;
  process.stdout.write(
    `extreme values: ${pairs} fields × readers (${fields.size} of records and messages), ${cases} cases\n`,
  );
});
