/**
 * A swarm with one member that lies about the others, as much as it can: it has kept each record of one that is dead, also some
 * that nobody else saw, and says each second to all of them that it lives; and that others don't answer, or are gone.
 */
import type { PeerId } from '@shoal/protocol';
import type { Random } from '@shoal/testkit';
import type { AgedRecord, Suspicion } from '../../src/network/messages.ts';
import type { Signed } from '../../src/network/signed.ts';
import { type SimulatedMember, startMember } from './member.ts';
import { Network } from './network.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Members that others are told to begin with; the first of them lies. */
const SEEDS = 3;
const CALM_MS = 30_000;
const LYING_MS = 300_000;
/** Records that the dead member signed before its end and that the liar alone has. */
const KEPT_BACK = 20;
const LIE_EVERY_MS = 1000;
const NEWCOMER_AT_MS = 120_000;

export interface LiesReport {
  readonly members: number;
  readonly seed: string;
  /** The longest time that a member took the dead one for up since its end; of one that joined later, since then. */
  readonly deadBelievedMs: number;
  readonly newcomerBelievedMs: number;
  /** Members that took it for up once more after they knew better. */
  readonly revivals: number;
  /** Times that a member that lives was taken for down, or suspected, by one that doesn't lie and knew it. */
  readonly falseDeaths: number;
  readonly falseSuspicions: number;
  /** The longest time that the one that joined took one for down of which it had heard that first. */
  readonly newcomerMissedMs: number;
  /** Messages that a member sent in a second while one lied. */
  readonly messages: number;
}

export async function simulateLies({
  time,
  random,
  seed,
  members,
  folder,
}: {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly seed: string;
  readonly members: number;
  readonly folder: string;
}): Promise<LiesReport> {
  const network = new Network(time, random.fork('network'));
  const all: SimulatedMember[] = [];
  const wrong = { down: 0, suspect: 0, revivals: 0 };
  let dead: SimulatedMember | undefined;
  const start = async (index: number): Promise<SimulatedMember> => {
    const seeds = [0, 1, 2].filter((each) => each !== index);
    const member = await startMember(network, { seed, index, seeds, folder, time });
    const states = new Map<PeerId, string>();
    member.swarm.membership.onChange((peerId, state) => {
      const before = states.get(peerId);
      states.set(peerId, state);
      if (dead === undefined || member === dead) return;
      if (peerId === dead.peerId) {
        if (before === 'down' && state === 'alive') wrong.revivals += 1;
      } else if (before !== undefined && (state === 'down' || state === 'suspect'))
        wrong[state] += 1;
    });
    all.push(member);
    return member;
  };
  for (let index = 0; index < members; index += 1) {
    await start(index);
    await time.run(index < SEEDS ? 0 : 50);
  }
  await time.run(CALM_MS);

  const [liar] = all as [SimulatedMember];
  dead = random.fork('dead').pick(all.slice(SEEDS));
  const kept: Signed[] = [dead.swarm.membership.presence.own().signed];
  network.stop(dead.peerId); // what it says from now on nobody hears but the liar
  for (let time = 0; time < KEPT_BACK; time += 1) {
    dead.swarm.membership.presence.announce();
    kept.push(dead.swarm.membership.presence.own().signed);
  }
  network.kill(dead.peerId);

  const honest = () => all.filter((each) => each !== liar && each !== dead);
  const believed = new Map<SimulatedMember, number>();
  const missed = new Map<PeerId, number>();
  const sentBefore = network.sent().messages;
  for (let passedMs = 0; passedMs < LYING_MS; passedMs += LIE_EVERY_MS) {
    if (passedMs === NEWCOMER_AT_MS) await start(members);
    lie({ network, liar, dead, kept, victims: honest(), turn: passedMs / LIE_EVERY_MS });
    await time.run(LIE_EVERY_MS);
    for (const each of honest()) {
      const state = each.swarm.membership.table.get(dead.peerId)?.state;
      if (state === 'alive' || state === 'suspect')
        believed.set(each, (believed.get(each) ?? 0) + LIE_EVERY_MS);
    }
    const joined = all[members]?.swarm.membership.table.all() ?? [];
    for (const { record, downAtMs } of joined)
      if (downAtMs !== undefined && record.peerId !== dead.peerId)
        missed.set(record.peerId, (missed.get(record.peerId) ?? 0) + LIE_EVERY_MS);
  }
  const newcomer = all.at(-1);
  const times = [...believed].flatMap(([each, ms]) => (each === newcomer ? [] : [ms]));
  return {
    members,
    seed,
    deadBelievedMs: Math.max(0, ...times),
    newcomerBelievedMs: (newcomer && believed.get(newcomer)) ?? 0,
    revivals: wrong.revivals,
    falseDeaths: wrong.down,
    falseSuspicions: wrong.suspect,
    newcomerMissedMs: Math.max(0, ...missed.values()),
    messages: ((network.sent().messages - sentBefore) * 1000) / (LYING_MS * members),
  };
}

/** All that one member can say to the others in one turn. */
function lie({
  network,
  liar,
  dead,
  kept,
  victims,
  turn,
}: {
  readonly network: Network;
  readonly liar: SimulatedMember;
  readonly dead: SimulatedMember;
  readonly kept: readonly Signed[];
  readonly victims: readonly SimulatedMember[];
  readonly turn: number;
}): void {
  // A newer one each few seconds, and all that came before.
  const alive: AgedRecord[] = kept
    .slice(0, 1 + Math.floor(turn / 5))
    .map((signed) => ({ signed, ageMs: 0 }));
  const eight = Array.from({ length: 8 }, (_, at) => victims[(turn * 8 + at) % victims.length]);
  const gone: AgedRecord[] = [];
  const suspicions: Suspicion[] = [];
  for (const victim of eight) {
    if (victim === undefined) continue;
    const { record, signed } = victim.swarm.membership.presence.own();
    const { peerId, incarnation, seq } = record;
    gone.push({ signed, ageMs: 10 ** 9, isGone: true });
    suspicions.push({ peerId, incarnation, seq: turn % 2 === 0 ? seq : seq + 1000 });
  }
  const say = (to: PeerId, request: unknown) => {
    const events = network.hosts.get(to)?.events;
    if (events === undefined || events.waitMs(liar.peerId) > 0) return; // it is not read
    events.request(liar.peerId, Buffer.from(JSON.stringify(request))).catch(() => {});
  };
  const host = network.hosts.get(liar.peerId);
  for (const peerId of host?.neighbours ?? []) {
    say(peerId, { kind: 'exchange', records: [...gone, ...alive] });
    say(peerId, { kind: 'ping', news: { records: alive.slice(-8), suspicions } });
  }
  // Broadcasts of the dead one, as gossip would pass them on once more.
  const last = alive.at(-1)?.signed;
  for (const { peerId } of victims)
    network.hosts
      .get(peerId)
      ?.events.broadcast('members', dead.peerId, Buffer.from(JSON.stringify(last)));
}
