import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { MemberState } from '@shoal/protocol';
import { HEARTBEAT_MS, Network, type Node, PING_MS } from './network.ts';

jest.setTimeout(60_000);
const HEARTBEAT_TURNS = HEARTBEAT_MS / PING_MS;

let network: Network;
beforeEach(() => {
  network = new Network();
  // Wall clocks go as fast as the others.
  jest.spyOn(Date, 'now').mockImplementation(() => network.nowMs);
});
afterEach(() => {
  jest.restoreAllMocks();
  for (const { detector } of network.nodes.values()) detector.stop();
});

const stateOf = ({ membership }: Node, { peerId }: Node): MemberState | undefined =>
  membership.table.get(peerId)?.state;
const statesOf = (of: Node, all: readonly Node[]) => [
  ...new Set(all.filter((each) => each !== of).map((each) => stateOf(each, of))),
];
const sentOf = (all: readonly Node[], kind: string) =>
  all.reduce((sum, { sent }) => sum + (sent.get(kind) ?? 0), 0);

describe('a peer at rest', () => {
  it.each([
    [3, 2],
    [5, 4],
    [20, 19],
    [70, 24],
  ])('of %i members sends at most one message a turn', async (count, degree) => {
    const all = await network.addMany(count, degree);
    await network.turns(40); // by then all has been told
    for (const { sent } of all) sent.clear();
    await network.turns(20);
    for (const { sent } of all) {
      expect([...sent.keys()].filter((kind) => kind !== 'ping')).toEqual([]);
      expect(sent.get('ping') ?? 0).toBeLessThanOrEqual(20);
    }
    expect(sentOf(all, 'ping')).toBeGreaterThan(count * 5);
    for (const each of all) expect(statesOf(each, all)).toEqual(['alive']);
  });
});

describe('a member that hangs', () => {
  it.each([5, 20])('is suspected by all of %i soon, and down in time', async (count) => {
    const all = await network.addMany(count);
    await network.turns(count);
    const [hung, ...others] = all as [Node, ...Node[]];
    hung.state = 'frozen';
    let turns = 0;
    for (; turns < 12 && others.some((each) => stateOf(each, hung) === 'alive'); turns += 1)
      await network.turns(1);
    expect(turns).toBeLessThan(12);
    expect(statesOf(hung, others)).toEqual(['suspect']);
    await network.turns(2 * HEARTBEAT_TURNS + 10);
    expect(statesOf(hung, others)).toEqual(['down']);
    for (const each of others) expect(statesOf(each, others)).toEqual(['alive']);
  });

  it('is cleared of it when it wakes in time', async () => {
    const all = await network.addMany(5);
    const [hung, ...others] = all as [Node, ...Node[]];
    hung.state = 'frozen';
    await network.turns(7);
    expect(statesOf(hung, others)).toEqual(['suspect']);
    hung.state = 'up';
    await network.turns(8);
    expect(statesOf(hung, others)).toEqual(['alive']);
  });
});

describe('a member that one can not reach', () => {
  it('lives by the answers that it signs for helpers, and by nothing else', async () => {
    const [one, far, ...rest] = (await network.addMany(5)) as [Node, Node, ...Node[]];
    network.cut(one, far);
    await network.turns(60);
    expect(stateOf(one, far)).toBe('alive');
    expect(one.sent.get('probe')).toBeGreaterThan(0);
    expect(sentOf(rest, 'probe')).toBe(0);
    far.state = 'frozen';
    await network.turns(2 * HEARTBEAT_TURNS + 14);
    expect(stateOf(one, far)).toBe('down');
  });

  it.each([
    ['the record that all know', false],
    ['its answer to another probe', true],
  ])('is not alive for a helper that brings %s', async (_, isSigned) => {
    const [one, far, liar] = (await network.addMany(3)) as [Node, Node, Node];
    const { own } = far.membership.introduce('an earlier nonce');
    const signed = isSigned ? own : far.membership.presence.own().signed;
    liar.wire.handle('probe', () => ({ signed }));
    far.state = 'frozen';
    await network.turns(6);
    expect(one.sent.get('probe')).toBeGreaterThan(0);
    expect(stateOf(one, far)).toBe('suspect');
    await network.turns(2 * HEARTBEAT_TURNS + 4);
    expect(stateOf(one, far)).toBe('down');
  });
});

describe('in a swarm that is too large for all to watch all', () => {
  it('a member that is killed is down soon for those too that are not connected to it', async () => {
    const all = await network.addMany(70, 24);
    await network.turns(5);
    const [killed, ...others] = all as [Node, ...Node[]];
    expect(others.some(({ links }) => !links.has(killed.peerId))).toBe(true);
    network.kill(killed);
    await wait(500); // those who were connected call back before they believe it
    for (let turn = 0; turn < 25; turn += 1) await network.turns(1);
    expect(statesOf(killed, others)).toEqual(['down']);
    for (const each of others) expect(statesOf(each, others)).toEqual(['alive']);
  });

  it('a member that connects is alive, however long ago it was heard of before', async () => {
    const all = await network.addMany(70, 24);
    const [one, ...others] = all as [Node, ...Node[]];
    await network.turns(300); // longer than the silence for which a member that is watched counts as down
    const afar = others.find(({ links }) => !links.has(one.peerId)) as Node; // each has 24 of 69
    expect(stateOf(afar, one)).toBe('alive');
    network.nowMs += PING_MS;
    network.connect(one, afar);
    for (const { detector } of [one, afar]) detector.turn(); // before a word came
    expect([stateOf(afar, one), stateOf(one, afar)]).toEqual(['alive', 'alive']);
  });
});

describe('a liar', () => {
  it('makes no suspect of a member that we watch: it is probed, and answers', async () => {
    const all = await network.addMany(5);
    const [liar, victim, ...others] = all as [Node, Node, ...Node[]];
    const { incarnation, seq } = victim.membership.presence.own().record;
    const suspicions = [{ peerId: victim.peerId, incarnation, seq }];
    for (let time = 0; time < 5; time += 1) {
      for (const { peerId } of others)
        await liar.wire.request(peerId, { kind: 'ping', news: { records: [], suspicions } });
      await network.settle();
      expect(statesOf(victim, others)).toEqual(['alive']);
    }
  });

  /** One that lies, one that hears it, and one that this does not watch. */
  const liarNear = async () => {
    const all = await network.addMany(70, 24);
    const [liar, ...others] = all as [Node, ...Node[]];
    const near = others.find(({ links }) => links.has(liar.peerId)) as Node;
    const victim = others.find(
      ({ links, peerId }) => !links.has(near.peerId) && peerId !== near.peerId,
    ) as Node;
    return { all, liar, near, victim };
  };

  it.each([
    ['its newest record', 0],
    ['a record that it never signed', 2 ** 40],
  ])('makes no suspect of one that we do not watch, by suspicions under %s', async (_, ahead) => {
    const { all, liar, near, victim } = await liarNear();
    for (let time = 0; time < 20; time += 1) {
      const { incarnation, seq } = victim.membership.presence.own().record;
      const suspicions = [{ peerId: victim.peerId, incarnation: incarnation + ahead, seq }];
      await liar.wire.request(near.peerId, { kind: 'ping', news: { records: [], suspicions } });
      await network.turns(5);
      expect(statesOf(victim, all)).toEqual(['alive']);
    }
  });

  it('with another makes a suspect of one that we do not watch, until that signs a newer record', async () => {
    const { all, liar, near, victim } = await liarNear();
    const other = all.find(
      ({ links, peerId }) => links.has(near.peerId) && peerId !== liar.peerId,
    ) as Node;
    const { incarnation, seq } = victim.membership.presence.own().record;
    const suspicions = [{ peerId: victim.peerId, incarnation, seq }];
    for (const { wire } of [liar, other])
      await wire.request(near.peerId, { kind: 'ping', news: { records: [], suspicions } });
    expect(stateOf(near, victim)).toBe('suspect');
    await network.turns(30);
    expect(statesOf(victim, all)).toEqual(['alive']);
    expect(victim.membership.presence.own().record.seq).toBeGreaterThan(seq);
  });

  it('makes its victim sign a few records more, and not one for each lie', async () => {
    const all = await network.addMany(5);
    const [liar, victim] = all as [Node, Node];
    const before = victim.membership.presence.own().record.seq;
    for (let turn = 0; turn < 100; turn += 1) {
      const { incarnation, seq } = victim.membership.presence.own().record;
      const suspicions = [{ peerId: victim.peerId, incarnation, seq }];
      await liar.wire.request(victim.peerId, { kind: 'ping', news: { records: [], suspicions } });
      await network.turns(1);
    }
    expect(victim.membership.presence.own().record.seq - before).toBeLessThanOrEqual(8);
  });

  it('keeps no dead member alive by a record of it that it kept back, or by its broadcasts', async () => {
    const all = await network.addMany(5);
    const [liar, dead, ...others] = all as [Node, Node, ...Node[]];
    await network.turns(10);
    for (const each of others) network.cut(each, dead);
    const kept = [];
    for (let turn = 0; turn < 5; turn += 1) {
      await network.turns(1);
      dead.membership.presence.announce();
      kept.push(dead.membership.presence.own().signed);
    }
    network.kill(dead);
    const { incarnation } = dead.membership.presence.own().record;
    for (const { membership } of others) membership.declareDown(dead.peerId, incarnation);
    await network.turns(60);
    for (const signed of kept)
      for (const { peerId, wire } of others) {
        await liar.wire.request(peerId, { kind: 'exchange', records: [{ signed, ageMs: 0 }] });
        wire.events.broadcast('members', dead.peerId, Buffer.from(JSON.stringify(signed)));
        expect(statesOf(dead, others)).toEqual(['down']);
      }
    expect(others.map(({ membership }) => membership.table.get(dead.peerId)?.record.seq)).toEqual(
      others.map(() => dead.membership.presence.own().record.seq),
    );
  });

  it('keeps a dead member alive no longer at one that starts again than a first word lasts', async () => {
    const all = await network.addMany(4);
    const [liar, dead, teller] = all as [Node, Node, Node];
    network.kill(dead);
    await network.turns(60);
    const fresh = network.add();
    const signed = dead.membership.presence.own().signed;
    fresh.membership.restore([{ signed, seenAtMs: network.nowMs - 1000 }]);
    network.connect(fresh, liar);
    network.connect(fresh, teller);
    let turns = 0;
    for (let turn = 0; turn < 200; turn += 1) {
      const records = [{ signed, ageMs: 0 }];
      await liar.wire.request(fresh.peerId, { kind: 'exchange', records });
      await network.turns(1);
      if (stateOf(fresh, dead) !== 'down') turns += 1;
    }
    expect(turns).toBeLessThanOrEqual(3 * HEARTBEAT_TURNS + 2);
  });

  it('keeps no dead member alive by repeating its record', async () => {
    const all = await network.addMany(5);
    const [liar, dead, ...others] = all as [Node, Node, ...Node[]];
    const { record, signed } = dead.membership.presence.own();
    dead.state = 'dead';
    for (const each of all) if (each !== dead) network.disconnect(each, dead);
    for (const { membership } of others)
      membership.table.declareDown(dead.peerId, record.incarnation, network.nowMs);
    for (let time = 0; time < 10; time += 1) {
      network.nowMs += HEARTBEAT_MS;
      for (const { peerId } of others)
        await liar.wire.request(peerId, {
          kind: 'exchange',
          records: [{ signed, ageMs: 0 }],
        });
      expect(statesOf(dead, others)).toEqual(['down']);
    }
  });
});

describe('a member that one takes for gone by mistake', () => {
  it('hears of it from the others, and comes back with a newer record', async () => {
    const [one, far, ...rest] = (await network.addMany(4)) as [Node, Node, ...Node[]];
    const { record } = far.membership.presence.own();
    network.cut(one, far);
    one.membership.table.declareDown(far.peerId, record.incarnation, network.nowMs);
    await network.turns(20);
    await one.membership.compare((rest[0] as Node).peerId);
    // Each probe of its own fails, so it is a suspect for a moment, until a helper answers.
    let turns = 0;
    for (; turns < 30 && stateOf(one, far) !== 'alive'; turns += 1) await network.turns(1);
    expect(turns).toBeLessThan(30);
    expect(far.membership.presence.own().record.seq).toBeGreaterThan(record.seq);
  });
});
