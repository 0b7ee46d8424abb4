/** A member's libp2p port as strangers find it: real sockets, and real peers of other swarms and versions. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { noise } from '@libp2p/noise';
import { preSharedKey } from '@libp2p/pnet';
import { tcp } from '@libp2p/tcp';
import { lpStream } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLog, identityOf, type SwarmKeys } from '@shoal/chassis';
import { eventually } from '@shoal/testkit';
import { createLibp2p } from 'libp2p';
import { createMetrics } from '../../src/metrics.ts';
import { hostOf } from '../../src/network/addresses.ts';
import type { Engine } from '../../src/network/engine.ts';
import { createHandshake, WIRE_VERSION } from '../../src/network/handshake.ts';
import { startLibp2p } from '../../src/network/libp2p-engine.ts';

const LINK = '/shoal/control/2.0.0';
const EARLIER = 'a peer of an earlier version of Shoal, or none at all';
const OTHER_KEY = 'the other peer has another swarm key, or broke off the handshake';
const swarmKey = randomBytes(32);
const ends: (() => unknown)[] = [];
const soon = () => AbortSignal.timeout(10_000);

/** A peer of this version, with all that it says in its log and all that it was asked. */
interface Member {
  readonly engine: Engine;
  readonly address: string;
  readonly port: number;
  readonly log: () => string;
  readonly asked: string[];
  refusals(reason: 'version' | 'proof'): Promise<number>;
}

async function open(key: SwarmKeys = swarmKey): Promise<Member> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const metrics = createMetrics();
  const asked: string[] = [];
  let log = '';
  const engine = await startLibp2p({
    privateKeyRaw: identityOf(privateKey).privateKeyRaw,
    swarmKeys: key,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    mdns: false,
    audience: () => [],
    metrics,
    log: createLog('discovery', 'debug', {}, (line) => (log += line)),
    events: {
      connected: () => {},
      disconnected: () => {},
      discovered: () => {},
      waitMs: () => 0,
      broadcast: (topic) => asked.push(topic) > 0,
      request: async (_, bytes) => {
        asked.push('request');
        return bytes;
      },
    },
  });
  ends.push(() => engine.stop());
  const [address = ''] = engine.addresses();
  return {
    engine,
    address,
    port: Number(hostOf(address)?.port),
    log: () => log,
    asked,
    async refusals(reason) {
      const { values } = await metrics.handshakesRefused.get();
      return values.find(({ labels }) => labels.reason === reason)?.value ?? 0;
    },
  };
}

type Parts = Pick<
  Parameters<typeof createLibp2p>[0] & object,
  'connectionProtector' | 'connectionEncrypters'
>;

const outcomeOf = (dialling: Promise<unknown>) =>
  dialling.then(
    () => 'let in',
    () => 'refused',
  );

/** A libp2p node that begins as it likes. */
async function openStranger(parts: Parts) {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
    ...parts,
  });
  ends.push(() => node.stop());
  return { node, address: String(node.getMultiaddrs()[0]) };
}

/** As this version begins, but with a Noise that proves nothing. */
const greetingAlone = (): Parts => {
  const [metrics, log] = [createMetrics(), createLog('test', 'silent')];
  const { connectionProtector } = createHandshake({ swarmKeys: swarmKey, metrics, log });
  return { connectionProtector, connectionEncrypters: [noise()] };
};

const asBefore = (key: Uint8Array): Parts => {
  const psk = Buffer.from(`/key/swarm/psk/1.0.0/\n/base16/\n${Buffer.from(key).toString('hex')}\n`);
  return { connectionProtector: preSharedKey({ psk }), connectionEncrypters: [noise()] };
};

async function knock(port: number): Promise<{ socket: Socket; closed: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  ends.push(() => socket.destroy());
  const closed = new Promise((resolve) => socket.on('close', resolve)); // also after a reset
  await new Promise((resolve) => socket.on('connect', resolve));
  return { socket, closed };
}

let member: Member;
beforeEach(async () => {
  member = await open();
});
afterEach(async () => {
  await Promise.all(ends.splice(0).map(async (end) => await end()));
});

describe('a member', () => {
  it('lets in a peer that has the key', async () => {
    const other = await open();
    const peerId = await other.engine.dial([member.address], { signal: soon() });
    const answer = await other.engine.request(peerId, Buffer.from('hello'), { signal: soon() });
    expect(Buffer.from(answer).toString()).toBe('hello');
    expect(await member.refusals('proof')).toBe(0);
  });

  it.each([
    ['no key', () => greetingAlone()],
    [
      'another key',
      () => {
        const [metrics, log] = [createMetrics(), createLog('test', 'silent')];
        return createHandshake({ swarmKeys: randomBytes(32), metrics, log });
      },
    ],
  ])('refuses a stranger with %s both ways, before anything is asked', async (_, parts) => {
    const stranger = await openStranger(parts());
    const inside: string[] = [];
    await stranger.node.handle(LINK, (stream) => {
      inside.push('the member opened a link');
      stream.abort(new Error('no'));
    });
    const calling = async () => {
      const connection = await stranger.node.dial(multiaddr(member.address), { signal: soon() });
      const stream = await connection.newStream(LINK, { signal: soon() });
      return await lpStream(stream).read({ signal: soon() });
    };
    expect(await outcomeOf(calling())).toBe('refused');
    await eventually('it says so', () => member.log().includes(OTHER_KEY));
    expect(await outcomeOf(member.engine.dial([stranger.address], { signal: soon() }))).toBe(
      'refused',
    );
    expect(await member.refusals('proof')).toBeGreaterThan(1);
    expect(member.engine.connected()).toEqual([]);
    expect([...member.asked, ...inside]).toEqual([]);
  });

  it('and a peer with another key say on both sides why they do not meet', async () => {
    const other = await open(randomBytes(32));
    expect(await outcomeOf(other.engine.dial([member.address], { signal: soon() }))).toBe(
      'refused',
    );
    for (const { log } of [member, other])
      await eventually('it says so', () => log().includes(OTHER_KEY));
    expect(other.engine.connected()).toEqual([]);
  });

  it('refuses a peer of before wire versions at once, both ways, and says that it is one', async () => {
    const before = await openStranger(asBefore(swarmKey));
    const sinceMs = performance.now();
    const dialling = before.node.dial(multiaddr(member.address), { signal: soon() });
    expect(await outcomeOf(dialling)).toBe('refused');
    await eventually('it says so', () => member.log().includes(EARLIER));
    expect(await outcomeOf(member.engine.dial([before.address], { signal: soon() }))).toBe(
      'refused',
    );
    expect(performance.now() - sinceMs).toBeLessThan(4000);
    expect(await member.refusals('version')).toBe(2);
    expect(member.engine.connected()).toEqual([]);
  });

  it('refuses a peer of a later version that has the key, and names both versions', async () => {
    const [metrics, log] = [createMetrics(), createLog('test', 'silent')];
    const wireVersion = WIRE_VERSION + 1;
    const later = await openStranger(
      createHandshake({ swarmKeys: swarmKey, wireVersion, metrics, log }),
    );
    expect(await outcomeOf(later.node.dial(multiaddr(member.address), { signal: soon() }))).toBe(
      'refused',
    );
    const sentence = `speaks version ${wireVersion} of the wire, this one ${WIRE_VERSION}`;
    await eventually('it says so', () => member.log().includes(sentence));
  });

  it('goes on while the key is turned, whichever of two keys each peer shows', async () => {
    const [old, next] = [swarmKey, randomBytes(32)];
    const stages = [old, [old, next], [next, old]] as const;
    for (const before of stages)
      for (const after of stages) {
        const called = await open(before);
        const caller = await open(after);
        await caller.engine.dial([called.address], { signal: soon() });
      }
    // The last stage no longer takes the old one, and the first does not know the new one.
    const turned = await open(next);
    await (await open([next, old])).engine.dial([turned.address], { signal: soon() });
    expect(
      await outcomeOf((await open(old)).engine.dial([turned.address], { signal: soon() })),
    ).toBe('refused');
  });

  it('does not take a key for proved that was derived for another version', async () => {
    const [metrics, log] = [createMetrics(), createLog('test', 'silent')];
    const options = { swarmKeys: swarmKey, metrics, log };
    const { connectionProtector } = createHandshake(options);
    const { connectionEncrypters } = createHandshake({ ...options, wireVersion: WIRE_VERSION + 1 });
    const liar = await openStranger({ connectionProtector, connectionEncrypters });
    expect(await outcomeOf(liar.node.dial(multiaddr(member.address), { signal: soon() }))).toBe(
      'refused',
    );
    await eventually('it says so', () => member.log().includes(OTHER_KEY));
  });

  it('cuts off whatever speaks another protocol, and logs a host once', async () => {
    for (let index = 0; index < 20; index += 1) {
      const { socket, closed } = await knock(member.port);
      socket.write('GET / HTTP/1.1\r\n\r\n');
      await closed;
    }
    expect(await member.refusals('version')).toBe(20);
    expect(member.log().split(EARLIER)).toHaveLength(2);
  });

  it('outlasts more silent sockets than it lets in, and lets a member in after them', async () => {
    const sinceMs = performance.now();
    const silent = await Promise.all(Array.from({ length: 300 }, () => knock(member.port)));
    const half = await Promise.all(Array.from({ length: 5 }, () => knock(member.port)));
    for (const { socket } of half) socket.write('shoal');
    await Promise.all([...silent, ...half].map(({ closed }) => closed));
    expect(performance.now() - sinceMs).toBeLessThan(9000);
    const other = await open();
    await other.engine.dial([member.address], { signal: soon() });
    expect(member.log()).not.toContain('refused');
  }, 30_000);

  it('gives up a peer that takes its greeting and never goes on', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.write(Buffer.concat([Buffer.from('shoal\n'), Buffer.from([0, WIRE_VERSION])]));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    ends.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as { port: number }; // it listens on TCP
    const sinceMs = performance.now();
    const address = `/ip4/127.0.0.1/tcp/${port}`;
    expect(await outcomeOf(member.engine.dial([address], { signal: soon() }))).toBe('refused');
    expect(performance.now() - sinceMs).toBeLessThan(8000);
  }, 20_000);
});
