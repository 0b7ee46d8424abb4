/** The life of a simulated swarm: a storm of joins, rest, a join, a pin, a want, deaths, loss, a cut. */
import { hashBlock } from '@shoal/blocks';
import type { PeerId } from '@shoal/protocol';
import type { Random } from '@shoal/testkit';
import { type SimulatedMember, startMember } from './member.ts';
import { Network, type Sent } from './network.ts';
import type { VirtualTime } from './virtual-time.ts';

/** All start within this time. */
const STORM_MS = 10_000;
/** How often it is looked whether all know something. */
const LOOK_MS = 100;
/** Longest wait for anything: more than a member that hangs takes to be found out. */
const KNOWN_WITHIN_MS = 300_000;
/** Until joins are old news, and the tables are compared rarely. */
const CALM_MS = 120_000;
const REST_MS = 120_000;
const LOSS_MS = 180_000;
const LOSS_SHARE = 0.05;
const CUT_MS = 60_000;
/** Of those times the brief form takes this share. */
const BRIEF_SHARE = 0.25;
/** Members that others are told to begin with. */
const SEEDS = 3;

export interface SimulationReport {
  readonly members: number;
  readonly seed: string;
  /** From the last start until every member knows every other. Times are undefined when it took too long. */
  readonly stormMs: number | undefined;
  /** Messages and bytes that a member sent by then, on average. */
  readonly stormMessages: number;
  readonly stormBytes: number;
  /** At rest, for each member and second. */
  readonly restMessages: number;
  readonly restBytes: number;
  readonly restByKind: Readonly<Record<string, number>>;
  /** Until all know… a member that joins, a pin, that a member was killed, that one hangs. */
  readonly joinMs: number | undefined;
  readonly pinMs: number | undefined;
  readonly deathMs: number | undefined;
  readonly hangMs: number | undefined;
  /** Until the peer that asks who holds a file has heard of all three. */
  readonly wantMs: number;
  readonly wantFound: number;
  /** Members that were up and taken for down by some other, under loss; and suspected. */
  readonly falseDeaths: number;
  readonly falseSuspicions: number;
  /** From the end of a cut in two until all know all again. */
  readonly mendMs: number | undefined;
  /** Times that a member asked another one for more than its share. */
  readonly putAside: number;
}

export interface SimulateOptions {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly seed: string;
  readonly members: number;
  readonly folder: string;
  readonly isBrief: boolean;
  readonly say: (line: string) => void;
}

export async function simulate(options: SimulateOptions): Promise<SimulationReport> {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulateOptions;
  readonly #network: Network;
  readonly #all: SimulatedMember[] = [];
  /** Those that are up and can be reached. */
  #up: SimulatedMember[] = [];
  /** Changes that some member saw in another that is up. */
  readonly #wrong = { down: 0, suspect: 0 };

  constructor(options: SimulateOptions) {
    this.#options = options;
    this.#network = new Network(options.time, options.random.fork('network'));
  }

  async run(): Promise<SimulationReport> {
    const { time, random, members, seed, isBrief, say } = this.#options;
    const [calmMs, restMs, lossMs, cutMs] = [CALM_MS, REST_MS, LOSS_MS, CUT_MS].map((ms) =>
      isBrief ? ms * BRIEF_SHARE : ms,
    ) as [number, number, number, number]; // as many
    const starts = Array.from({ length: members }, (_, index) =>
      index < SEEDS ? 0 : random.fork(`start ${index}`).share() * STORM_MS,
    ).toSorted((one, other) => one - other);
    for (const [index, atMs] of starts.entries()) {
      if (atMs > time.nowMs) await time.run(atMs - time.nowMs);
      await this.#start(index);
    }
    const stormMs = await this.#untilAll(() => this.#knowsAllOthers());
    const storm = this.#network.sent();
    say(`all know all after ${stormMs} ms, ${storm.messages} messages`);

    await time.run(calmMs);
    const before = this.#network.sentByKind();
    await time.run(restMs);
    const rest = differenceOf(before, this.#network.sentByKind());
    const perSecond = (members * restMs) / 1000;
    say(`at rest ${(totalOf(rest).messages / perSecond).toFixed(2)} messages a second each`);

    const joined = await this.#start(members);
    const joinMs = await this.#untilAll((each) => stateOf(each, joined.peerId) === 'alive');
    say(`a join: ${joinMs} ms`);

    const { root, ...draft } = draftOf(seed);
    const [maker, ...holders] = random.fork('pin').sample(this.#up, 4);
    if (maker === undefined) throw new Error('there is nobody');
    const madeAtMs = time.nowMs;
    const putting = maker.files.pins.put([{ root, ...draft }]); // it may wait for time to pass
    const heardMs = await this.#untilAll((each) => each.files.reader.findAny(root) !== undefined);
    const pinMs = heardMs === undefined ? undefined : time.nowMs - madeAtMs;
    await putting;
    say(`a pin: ${pinMs} ms`);

    for (const { held } of holders) held.set(root, { root, blocks: 1, bits: 'gA' });
    const { signal } = new AbortController();
    const askedAtMs = time.nowMs;
    let wantMs = 0;
    let wantFound = 0;
    void maker.files
      .want([root], { enough: holders.length, timeoutMs: 5000, signal })
      .then(({ answers }) => {
        wantMs = time.nowMs - askedAtMs;
        wantFound = answers.length;
      });
    await time.run(6000);
    say(`a want: ${wantMs} ms, ${wantFound} found`);

    const deathMs = await this.#lose((peerId) => this.#network.kill(peerId), 'kill');
    say(`a death: ${deathMs} ms`);
    const hangMs = await this.#lose((peerId) => this.#network.stop(peerId), 'stop');
    say(`one that hangs: ${hangMs} ms`);

    this.#wrong.down = 0;
    this.#wrong.suspect = 0;
    this.#network.lossShare = LOSS_SHARE;
    await time.run(lossMs);
    this.#network.lossShare = 0;
    const { down: falseDeaths, suspect: falseSuspicions } = { ...this.#wrong };
    say(`under loss: ${falseDeaths} false deaths, ${falseSuspicions} suspicions`);
    await time.run(calmMs);

    const sides = new Map(this.#up.map(({ peerId }, index) => [peerId, index % 2]));
    this.#network.cut((peerId) => sides.get(peerId) ?? 0);
    await time.run(cutMs);
    this.#network.mend();
    const mendMs = await this.#untilAll(() => this.#knowsAllOthers());
    say(`after a cut: ${mendMs} ms`);

    const putAside = await Promise.all(this.#all.map((each) => each.putAside()));
    return {
      members,
      seed,
      putAside: putAside.reduce((sum, each) => sum + each, 0),
      stormMs,
      stormMessages: storm.messages / members,
      stormBytes: storm.bytes / members,
      restMessages: totalOf(rest).messages / perSecond,
      restBytes: totalOf(rest).bytes / perSecond,
      restByKind: Object.fromEntries(
        [...rest].map(([kind, { messages }]) => [kind, Number((messages / perSecond).toFixed(4))]),
      ),
      joinMs,
      pinMs,
      deathMs,
      hangMs,
      wantMs,
      wantFound,
      falseDeaths,
      falseSuspicions,
      mendMs,
    };
  }

  async #start(index: number): Promise<SimulatedMember> {
    const { seed, folder, time } = this.#options;
    const seeds = Array.from({ length: SEEDS }, (_, each) => each).filter((each) => each !== index);
    const member = await startMember(this.#network, { seed, index, seeds, folder, time });
    this.#all.push(member);
    this.#up.push(member);
    member.swarm.membership.onChange((peerId, state) => {
      if (state !== 'down' && state !== 'suspect') return;
      if (!this.#up.includes(member)) return; // it is cut off from all of them
      if (this.#up.some((each) => each.peerId === peerId)) this.#wrong[state] += 1;
    });
    return member;
  }

  /** Takes one away. Answers how long it takes until all others take it for down. */
  async #lose(how: (peerId: PeerId) => void, name: string): Promise<number | undefined> {
    const { random } = this.#options;
    const lost = random.fork(name).pick(this.#up.slice(SEEDS));
    this.#up = this.#up.filter((each) => each !== lost);
    how(lost.peerId);
    return this.#untilAll((each) => stateOf(each, lost.peerId) === 'down');
  }

  #knowsAllOthers(): boolean {
    return this.#up.every((each) => {
      const known = each.swarm.membership.table.all().filter(({ state }) => state === 'alive');
      return known.length === this.#up.length - 1;
    });
  }

  #untilAll(isSo: (each: SimulatedMember) => boolean): Promise<number | undefined> {
    return this.#options.time.until(() => this.#up.every(isSo), {
      atMostMs: KNOWN_WITHIN_MS,
      everyMs: LOOK_MS,
    });
  }
}

const stateOf = ({ peerId: self, swarm }: SimulatedMember, peerId: PeerId) =>
  self === peerId ? 'alive' : swarm.membership.table.get(peerId)?.state;

function draftOf(seed: string) {
  const root = hashBlock('raw', Buffer.from(seed));
  return { root, kind: 'file', name: 'a file', sizeBytes: 4, blocks: 1, replicas: 3 } as const;
}

function differenceOf(
  before: ReadonlyMap<string, Sent>,
  after: ReadonlyMap<string, Sent>,
): Map<string, Sent> {
  return new Map(
    [...after].map(([kind, { messages, bytes }]) => {
      const { messages: m = 0, bytes: b = 0 } = before.get(kind) ?? {};
      return [kind, { messages: messages - m, bytes: bytes - b }];
    }),
  );
}

function totalOf(sent: ReadonlyMap<string, Sent>): Sent {
  const sum = { messages: 0, bytes: 0 };
  for (const { messages, bytes } of sent.values()) {
    sum.messages += messages;
    sum.bytes += bytes;
  }
  return sum;
}
