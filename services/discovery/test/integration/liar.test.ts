/** Real discovery processes, and a member that has the swarm's key and signs what no honest one would. */
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLog, identityOf, readSwarmKey } from '@shoal/chassis';
import { ClockWrong, discoveryRoutes, type PeerId } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { createMetrics } from '../../src/metrics.ts';
import type { Engine } from '../../src/network/engine.ts';
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
    swarmKey: readSwarmKey(peers.keyFile),
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
