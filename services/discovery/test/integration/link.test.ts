import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { createLog, identityOf } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { createMetrics } from '../../src/metrics.ts';
import { hostOf, tcpAddress } from '../../src/network/addresses.ts';
import type { Engine, Topic } from '../../src/network/engine.ts';
import { startLibp2p } from '../../src/network/libp2p-engine.ts';
import { framesOf } from '../../src/network/link.ts';
import { Uint8ArrayList } from 'uint8arraylist';

/** An engine of a real network, and what it was told. */
interface Node {
  readonly engine: Engine;
  readonly news: { topic: Topic; from: PeerId; text: string }[];
  readonly asked: string[];
  audience: PeerId[];
  /** What it answers with, and when. */
  answer: (body: Uint8Array) => Promise<Uint8Array>;
}

const swarmKey = randomBytes(32);
const nodes: Node[] = [];
const deadline = () => AbortSignal.timeout(10_000);

async function open(): Promise<Node> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const node: Omit<Node, 'engine'> & { engine?: Engine } = {
    news: [],
    asked: [],
    audience: [],
    answer: async (body) => body,
  };
  node.engine = await startLibp2p({
    privateKeyRaw: identityOf(privateKey).privateKeyRaw,
    swarmKeys: swarmKey,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    mdns: false,
    audience: () => node.audience,
    metrics: createMetrics(),
    log: createLog('discovery', 'silent'),
    events: {
      connected: () => {},
      disconnected: () => {},
      discovered: () => {},
      waitMs: () => 0,
      broadcast: (topic, from, bytes) => {
        node.news.push({ topic, from, text: Buffer.from(bytes).toString() });
        return true;
      },
      request: async (_, body) => {
        node.asked.push(Buffer.from(body).toString());
        return await node.answer(body);
      },
    },
  });
  nodes.push(node as Node);
  return node as Node;
}

let one: Node;
let two: Node;
let idOfTwo: PeerId;
beforeEach(async () => {
  [one, two] = [await open(), await open()];
  idOfTwo = await one.engine.dial(two.engine.addresses(), { signal: deadline() });
  one.audience = [idOfTwo];
  await eventually('there is a link', () => one.engine.reachesAll());
});
afterEach(async () => {
  for (const { engine } of nodes.splice(0)) await engine.stop();
});

describe('a link', () => {
  it('carries many questions at once, and each answer to its question, in any order', async () => {
    two.answer = async (body) => {
      const number = Number(Buffer.from(body).toString());
      if (number % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
      return Buffer.from(String(number * 2));
    };
    const asked = Array.from({ length: 60 }, (_, index) => index);
    const answers = await Promise.all(
      asked.map((index) =>
        one.engine.request(idOfTwo, Buffer.from(String(index)), { signal: deadline() }),
      ),
    );
    expect(answers.map((answer) => Number(Buffer.from(answer).toString()))).toEqual(
      asked.map((index) => index * 2),
    );
  });

  it('carries the largest message both ways, and none at all', async () => {
    for (const sizeBytes of [0, 1, 4 * 1024 * 1024]) {
      const body = randomBytes(sizeBytes);
      const answer = await one.engine.request(idOfTwo, body, { signal: deadline() });
      expect(Buffer.compare(answer, body)).toBe(0);
    }
  });

  it('tells a question that failed, one that is too much, and goes on', async () => {
    two.answer = async () => {
      throw new Error('no');
    };
    await expect(
      one.engine.request(idOfTwo, Buffer.from('a'), { signal: deadline() }),
    ).rejects.toThrow('not answered');
    const held = Promise.withResolvers<Uint8Array>();
    two.answer = () => held.promise;
    const many = Array.from({ length: 65 }, () =>
      one.engine.request(idOfTwo, Buffer.from('b'), { signal: deadline() }),
    );
    await expect(many[64]).rejects.toThrow('not answered');
    held.resolve(Buffer.from('c'));
    for (const answer of await Promise.all(many.slice(0, 64)))
      expect(Buffer.from(answer).toString()).toBe('c');
  });

  it('gives up a question when its asker does, and leaves the others alone', async () => {
    const held = Promise.withResolvers<Uint8Array>();
    two.answer = (body) => (body.byteLength === 0 ? held.promise : Promise.resolve(body));
    const stop = new AbortController();
    const given = one.engine.request(idOfTwo, new Uint8Array(0), { signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    held.resolve(Buffer.from('late'));
    const answer = await one.engine.request(idOfTwo, Buffer.from('d'), { signal: deadline() });
    expect(Buffer.from(answer).toString()).toBe('d');
  });

  it('rejects what is under way when the connection breaks', async () => {
    two.answer = () => new Promise(() => {});
    const given = one.engine.request(idOfTwo, Buffer.from('e'), { signal: deadline() });
    const failed = given.then(
      () => 'answered',
      () => 'rejected',
    );
    await eventually('it was asked', () => two.asked.includes('e'));
    await two.engine.stop();
    expect(await failed).toBe('rejected');
    await eventually('the link is gone', () => !one.engine.reachesAll());
  });

  it('takes one frame on the wire for a question, and one for its answer', async () => {
    const [near, far] = [await open(), await open()];
    const port = hostOf(far.engine.addresses()[0] ?? '')?.port ?? 0;
    let [asked, answered] = [0, 0];
    const proxy = createServer((socket) => {
      const onward = connect(port, '127.0.0.1');
      for (const each of [socket, onward]) each.on('error', () => {});
      socket.on('data', (bytes) => (asked += bytes.byteLength)).pipe(onward);
      onward.on('data', (bytes) => (answered += bytes.byteLength)).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    try {
      const address = tcpAddress('127.0.0.1', (proxy.address() as AddressInfo).port); // it listens on TCP
      const peerId = await near.engine.dial([address], { signal: deadline() });
      const ask = () => near.engine.request(peerId, Buffer.from('?'), { signal: deadline() });
      for (let index = 0; index < 20; index += 1) await ask(); // links both ways stand by then
      [asked, answered] = [0, 0];
      for (let index = 0; index < 100; index += 1) await ask();
      // A body of one byte, 9 of ours, 12 of yamux, 18 of Noise; with an answer to each frame 70.
      expect(Math.max(asked, answered) / 100).toBeLessThan(50);
    } finally {
      proxy.close();
    }
  });

  it('brings a broadcast straight to a member that is linked, and says whose it is', async () => {
    await one.engine.broadcast('pins', Buffer.from('news'));
    await eventually('it came', () => two.news.length === 1);
    expect(two.news).toEqual([{ topic: 'pins', from: expect.any(String), text: 'news' }]);
    expect(one.engine.listeners('pins')).toEqual([idOfTwo]);
    expect(two.engine.connected()).toEqual([two.news[0]?.from]);
  });

  it('leaves it to gossip when a member is not connected here, and reaches it through others', async () => {
    const three = await open();
    const idOfThree = await two.engine.dial(three.engine.addresses(), { signal: deadline() });
    one.audience = [idOfTwo, idOfThree];
    expect(one.engine.reachesAll()).toBe(false);
    await eventually('it came by way of another', async () => {
      await one.engine.broadcast('members', Buffer.from(`far ${three.news.length}`));
      return three.news.length > 0;
    });
    expect(three.news[0]?.topic).toBe('members');
    expect(two.engine.connected()).toContain(three.news[0]?.from);
  });
});

describe('frames', () => {
  it('are read from pieces of any size', () => {
    const whole = new Uint8Array([0, 0, 0, 7, 1, 0, 0, 0, 9, 65, 66]);
    const received = new Uint8ArrayList();
    const found = [];
    for (const byte of [...whole, ...whole]) {
      received.append(new Uint8Array([byte]));
      found.push(...framesOf(received));
    }
    const frame = { kind: 'answer', number: 9, body: new Uint8Array([65, 66]) };
    expect(found).toEqual([frame, frame]);
    expect(received.byteLength).toBe(0);
  });

  it.each([
    ['a length that is too small', [0, 0, 0, 4, 1, 0, 0, 0]],
    ['a length past the largest message', [0x7f, 0xff, 0xff, 0xff]],
    ['a kind that nobody knows', [0, 0, 0, 5, 9, 0, 0, 0, 0]],
  ])('are refused for %s', (_, bytes) => {
    expect(() => [...framesOf(new Uint8ArrayList(new Uint8Array(bytes)))]).toThrow('a frame of');
  });
});
