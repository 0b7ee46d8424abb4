/** Real discovery processes, and a member that has the swarm's key and signs what no honest one would. */
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLog, identityOf, readSwarmKey } from '@shoal/chassis';
import { ClockWrong, discoveryRoutes, type PeerId, WANT_ROOTS_MAX } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { createMetrics } from '../../src/metrics.ts';
import { RATES, type Spending } from '../../src/network/budget.ts';
import type { Engine, Topic } from '../../src/network/engine.ts';
import { startLibp2p } from '../../src/network/libp2p-engine.ts';
import { draft, haveMap, type TestPeer } from './peer.ts';
import { openPeers, type Peers, seedOf, seeEachOther } from './peers.ts';

const DAY_MS = 24 * 3_600_000;
const signal = new AbortController().signal;

let peers: Peers;
beforeEach(async () => {
  peers = await openPeers();
});
afterEach(async () => {
  await peers[Symbol.asyncDispose]();
});

interface Liar extends AsyncDisposable {
  readonly peerId: PeerId;
  readonly engine: Engine;
  sign(kind: 'member' | 'pin', content: unknown): { payload: string; signature: string };
}

async function startLiar(target: TestPeer): Promise<Liar> {
  const { privateKey: key } = generateKeyPairSync('ed25519');
  const { peerId, privateKeyRaw } = identityOf(key);
  const engine = await startLibp2p({
    privateKeyRaw,
    swarmKeys: readSwarmKey(peers.keyFile),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    audience: () => [],
    mdns: false,
    metrics: createMetrics(),
    log: createLog('discovery', 'silent'),
    events: {
      connected: () => {},
      disconnected: () => {},
      discovered: () => {},
      waitMs: () => 0,
      broadcast: () => true,
      request: async () => Buffer.from('{}'),
    },
  });
  await engine.dial([`/ip4/127.0.0.1/tcp/${target.libp2pPort}`], { signal });
  return {
    peerId,
    engine,
    sign(kind, content) {
      const payload = JSON.stringify(content);
      const text = Buffer.from(`shoal-${kind}-v1\n${payload}`);
      return { payload, signature: sign(null, text, key).toString('base64url') };
    },
    [Symbol.asyncDispose]: () => engine.stop(),
  };
}

const tell = async ({ engine }: Liar, to: TestPeer, request: unknown) => {
  const bytes = Buffer.from(JSON.stringify(request));
  const answer = await engine.request(to.peerId, bytes, { signal: AbortSignal.timeout(10_000) });
  return JSON.parse(Buffer.from(answer).toString()) as unknown;
};

describe('a member that lies', () => {
  it('is refused by name at every peer, and stops neither lists, health nor the pins of others', async () => {
    const a = await peers.start('a');
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    const honest = await a.put(draft('honest'));
    for (const peer of [a, b]) peer.held.set(honest.root, haveMap(honest.root, 3, [0, 1, 2]));
    await using liar = await startLiar(a);
    await liar.engine.dial([`/ip4/127.0.0.1/tcp/${b.libp2pPort}`], { signal });
    const now = Date.now();
    const pin = (name: string, part: object) =>
      liar.sign('pin', {
        ...draft(name),
        v: 1,
        createdAtMs: now,
        epoch: now,
        deleted: false,
        clock: now,
        origin: liar.peerId,
        ...part,
      });
    const lies: Readonly<Record<string, object>> = {
      blocks: { blocks: 2 ** 53 - 1 },
      epoch: { deleted: true, epoch: 2 ** 53 - 1 },
      clock: { clock: now + 8 * DAY_MS },
      name: { name: '\u001b]0;owned\u0007' },
      sizeBytes: { sizeBytes: 2 ** 53 - 1 },
    };
    const origin = 'http://127.0.0.1:1';
    const member = (part: object) =>
      liar.sign('member', {
        v: 1,
        peerId: liar.peerId,
        incarnation: now,
        seq: 1,
        libp2p: ['/ip4/127.0.0.1/tcp/1'],
        http: {
          gateway: origin,
          chunker: origin,
          storage: origin,
          transfer: origin,
          discovery: origin,
        },
        domain: { host: 'l', disk: 'l' },
        version: '0',
        capacityBytes: 1,
        usedBytes: 0,
        freeBytes: 0,
        blocks: 0,
        leaving: false,
        ...part,
      });
    const unsound = [
      member({ http: { gateway: 'http://exämple\u001b', chunker: origin } }),
      member({ libp2p: ['/ip4/127.0.0.1/tcp/7105\u0000'] }),
      member({ incarnation: 2 ** 53 - 1 }),
    ].map((signed) => ({ signed, ageMs: 0 }));
    for (const peer of [a, b]) {
      const good = pin(`beside ${peer.peerId}`, {});
      const pins = Object.entries(lies).map(([name, part]) => pin(name, part));
      expect(await tell(liar, peer, { kind: 'pins-give', pins: [...pins, good] })).toEqual({});
      await tell(liar, peer, {
        kind: 'exchange',
        records: [
          ...unsound,
          { signed: member({}), ageMs: 1e300 },
          { signed: member({}), ageMs: 0 },
        ],
      });
      const padded = { ...haveMap(honest.root, 3, [0]), bits: '4A==' };
      await tell(liar, peer, { kind: 'answer', rid: randomUUID(), answer: { haves: [padded] } });
    }
    // Both ports are no ports: whoever calls back must not fall over them.
    const bad = liar.sign('member', {
      ...(JSON.parse(member({}).payload) as object),
      seq: 2,
      libp2p: ['/ip4/127.0.0.1/tcp/99999'],
    });
    await tell(liar, a, { kind: 'exchange', records: [{ signed: bad, ageMs: 0 }] });
    for (const peer of [a, b]) {
      for (const field of Object.keys(lies))
        await eventually(`${field} is named`, async () =>
          peer
            .log()
            .split('\n')
            .some(
              (line) =>
                line.includes('"msg":"record refused"') &&
                line.includes(liar.peerId) &&
                line.includes(`"reason":"${field}: `),
            ),
        );
      const kept = async () => {
        const listed = (await peer.ask('GET', '/files')).body as { files: { name: string }[] };
        return listed.files.map(({ name }) => name);
      };
      await eventually('the honest pins', async () => {
        const names = await kept();
        return names.includes('honest') && names.includes(`beside ${peer.peerId}`);
      });
      for (const name of Object.keys(lies)) expect(await kept()).not.toContain(name);
      expect((await peer.ask('GET', `/files/${honest.root}/health`)).status).toBe(200);
      expect((await peer.members()).map(({ peerId }) => peerId)).toContain(liar.peerId);
    }
    await liar.engine.hangUp(a.peerId);
    await eventually('both live', async () => {
      const states = await Promise.all([a.stateOf(b.peerId), b.stateOf(a.peerId)]);
      return states.every((state) => state === 'alive');
    });
    expect([a, b].map(({ process }) => process.exitCode)).toEqual([null, null]);
  });
});

/** What a member that floods says: requests, or broadcasts on a topic, without end. */
interface Flood {
  /** What it is put aside for. */
  readonly kind: Spending;
  /** How much of that one is. */
  readonly price: number;
  readonly topic?: Topic;
  readonly next: (turn: number) => unknown;
}

describe('a member that floods', () => {
  /** Requests under way at once. */
  const IN_FLIGHT = 32;
  const RSS_GROWTH_MAX_BYTES = 256 * 1024 * 1024;

  const putAside = async (peer: TestPeer, kind: string): Promise<number> => {
    const text = await (await fetch(`${peer.origin}/metrics`)).text();
    const line = new RegExp(`^shoal_discovery_put_aside_total\\{kind="${kind}".*\\} (\\d+)$`, 'm');
    return Number(line.exec(text)?.[1] ?? 0);
  };
  const rssBytes = ({ process }: TestPeer): number => {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${process.pid}/status`, 'utf8'));
    return Number(line?.[1]) * 1024;
  };
  /** Says it until stopped, as fast as it is taken; answers how often it was taken, as far as that can be told. */
  const flood = async (
    { engine }: Liar,
    to: TestPeer,
    { topic, next }: Flood,
    stop: AbortSignal,
  ) => {
    let turn = 0;
    let taken = 0;
    const say = async (): Promise<void> => {
      while (!stop.aborted) {
        const bytes = Buffer.from(JSON.stringify(next((turn += 1))));
        if (topic === undefined) {
          await engine.request(to.peerId, bytes, { signal: stop });
          taken += 1;
        }
        // What is not read piles up here, and so we wait for the other side now and then.
        else if (turn % 100 !== 0) await engine.broadcast(topic, bytes);
        else await engine.request(to.peerId, Buffer.from('{"kind":"ping"}'), { signal: stop });
      }
    };
    await Promise.allSettled(Array.from({ length: topic === undefined ? IN_FLIGHT : 1 }, say));
    return taken;
  };

  it('of each kind is read slowly, while the pins and wants of others go through', async () => {
    const a = await peers.start('a');
    const b = await peers.start('b', { seeds: seedOf(a) });
    await seeEachOther([a, b]);
    const nonce = 'n'.repeat(20);
    const origin = 'http://127.0.0.1:1';
    const roots = Array.from({ length: WANT_ROOTS_MAX }, (_, at) => draft(`root ${at}`).root);
    const victim = (await a.members()).find(({ peerId }) => peerId === b.peerId);
    const suspicion = { peerId: b.peerId, incarnation: victim?.incarnation, seq: victim?.seq };
    const record = (liar: Liar, seq: number) =>
      liar.sign('member', {
        v: 1,
        peerId: liar.peerId,
        incarnation: 1,
        seq,
        libp2p: ['/ip4/127.0.0.1/tcp/1'],
        http: Object.fromEntries(
          ['gateway', 'chunker', 'storage', 'transfer', 'discovery'].map((each) => [each, origin]),
        ),
        domain: { host: 'l', disk: 'l' },
        version: '0',
        capacityBytes: 1,
        usedBytes: 0,
        freeBytes: 0,
        blocks: 0,
        leaving: false,
      });
    const pinsOf = (liar: Liar) =>
      Array.from({ length: 256 }, (_, at) =>
        liar.sign('pin', {
          ...draft(`flood ${at}`),
          v: 1,
          createdAtMs: 1,
          epoch: 1,
          deleted: false,
          clock: 1,
          origin: liar.peerId,
        }),
      );
    const floodsOf = (liar: Liar): Flood[] => {
      const pins = pinsOf(liar);
      const news = { records: [], suspicions: Array.from({ length: 8 }, () => suspicion) };
      const versions = (turn: number) =>
        Array.from({ length: 8 }, (_, at) => ({ signed: record(liar, turn * 8 + at), ageMs: 0 }));
      return [
        { kind: 'suspicions', price: 8, next: () => ({ kind: 'ping', news }) },
        { kind: 'proofs', price: 1, next: () => ({ kind: 'ping', nonce }) },
        { kind: 'probes', price: 1, next: () => ({ kind: 'probe', peerId: b.peerId, nonce }) },
        { kind: 'exchanges', price: 1, next: () => ({ kind: 'exchange', records: [] }) },
        { kind: 'exchanges', price: 1, next: () => ({ kind: 'members-digest', digest: '' }) },
        {
          kind: 'versions',
          price: 1, // of eight at once, of which some come too late
          next: (turn) => ({ kind: 'ping', news: { records: versions(turn), suspicions: [] } }),
        },
        { kind: 'versions', price: 1, topic: 'members', next: (turn) => record(liar, turn) },
        { kind: 'pages', price: 1, next: () => ({ kind: 'pin-stamps', bucket: 1, after: '' }) },
        { kind: 'pages', price: 1, next: () => ({ kind: 'pin-digest', total: '' }) },
        { kind: 'pins', price: 256, next: () => ({ kind: 'pins-give', pins }) },
        { kind: 'roots', price: WANT_ROOTS_MAX, next: () => ({ kind: 'pins-get', roots }) },
        {
          kind: 'roots',
          price: WANT_ROOTS_MAX,
          topic: 'asks',
          next: () => ({ v: 1, rid: randomUUID(), question: { kind: 'have', roots } }),
        },
      ];
    };
    const before = rssBytes(a);
    for (let index = 0; ; index += 1) {
      // One that is put aside waits for itself alone: each flood is of another member.
      await using liar = await startLiar(a);
      const each = floodsOf(liar)[index];
      if (each === undefined) break;
      const { kind } = each;
      const name = `${index} ${kind}`;
      const counted = await putAside(a, kind);
      const stop = new AbortController();
      const startedAtMs = performance.now();
      const flooding = flood(liar, a, each, stop.signal);
      await eventually(`${name} is put aside`, async () => (await putAside(a, kind)) > counted);
      const pin = await b.put(draft(`beside ${name}`));
      await eventually(`the pin beside ${name}`, () => a.find(pin.root, false));
      a.held.set(pin.root, haveMap(pin.root, 3, [0, 1, 2]));
      const body = { roots: [pin.root], enough: 1, timeoutMs: 5000 };
      const { answers } = await b.client.call(b.target, discoveryRoutes.want, { body }, { signal });
      expect(answers.map(({ peerId }) => peerId)).toEqual([a.peerId]);
      expect(await a.stateOf(b.peerId)).toBe('alive');
      expect(await b.stateOf(a.peerId)).toBe('alive');
      stop.abort(new Error('enough'));
      const spent = (await flooding) * each.price;
      const [rate, burstS] = RATES[kind];
      const passedS = (performance.now() - startedAtMs) / 1000;
      expect(spent).toBeLessThanOrEqual(rate * (burstS + passedS) + IN_FLIGHT * each.price);
    }
    expect(rssBytes(a) - before).toBeLessThan(RSS_GROWTH_MAX_BYTES);
  }, 240_000);
});

describe("a peer's clock", () => {
  it('that is more than 7 days from its members keeps writes out, a day does not', async () => {
    const file = join(peers.folder, 'clock');
    const setClock = (shiftMs: number): void => {
      writeFileSync(`${file}.new`, String(shiftMs));
      renameSync(`${file}.new`, file); // never half a number
    };
    setClock(DAY_MS);
    const shifting = new URL('../../../../tests/chaos/shift-clock.ts', import.meta.url).href;
    const a = await peers.start('a');
    const b = await peers.start('b', { seeds: seedOf(a) });
    const env = { NODE_OPTIONS: `--import=${shifting}`, CHAOS_CLOCK_FILE: file };
    const c = await peers.start('c', { seeds: seedOf(a), env });
    await seeEachOther([a, b, c]);
    const told = async () => c.client.call(c.target, discoveryRoutes.listPeers, {}, { signal });
    await eventually('the clock is known', async () => (await told()).clock?.aheadMs !== undefined);
    const early = await c.put(draft('a day ahead'));
    for (const peer of [a, b]) await eventually('it', () => peer.find(early.root, false));

    for (const days of [9, -9]) {
      setClock(days * DAY_MS);
      await eventually('wrong', async () => (await told()).clock?.isWrong === true);
      await expect(c.put(draft(`${days} days`))).rejects.toBeInstanceOf(ClockWrong);
      const refusal = await c.ask('DELETE', `/files/${early.root}`);
      expect(refusal).toMatchObject({ status: 503, body: { type: 'problems/clock-wrong' } });
      expect((await a.ask('GET', '/peers')).body).toMatchObject({ clock: { isWrong: false } });
      expect((await c.pins()).isCurrent).toBe(false);
    }
    setClock(0);
    await eventually('right', async () => (await told()).clock?.isWrong === false);
    const late = await c.put(draft('right again'));
    await eventually('it', () => a.find(late.root, false));
  });
});
