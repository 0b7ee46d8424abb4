/** What a small file costs a swarm in messages, and that none of them is lost. Counts don't depend on the machine. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  change,
  eventually,
  type HostedSwarm,
  listFiles,
  metric,
  type Peer,
  remove,
  seededBytes,
  startHostedSwarm,
  upload,
} from '@shoal/testkit';
import { Agent, request } from 'undici';

const FILES = 128;
const IN_FLIGHT = 16;
const FILE_SIZE_BYTES = 4096;
const REPLICAS = 3;

type Counts = Readonly<Record<string, number>>;

/** What one peer was asked and told so far. */
async function countsOf(peer: Peer): Promise<Counts> {
  const services = { chunker: peer.chunker, storage: peer.storage, transfer: peer.transfer };
  const counts: Record<string, number> = {};
  const add = (name: string, value: number) => {
    counts[name] = (counts[name] ?? 0) + value;
  };
  for (const [service, origin] of Object.entries({ ...services, discovery: peer.discovery })) {
    const { body } = await request(`${origin}/metrics`);
    for (const line of (await body.text()).split('\n')) {
      const [, name, labels = '', value] = /^(shoal_[a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === 'shoal_http_request_duration_seconds_count') {
        if (!/route="\/(?:metrics|healthz|readyz|members|loops)"/.test(labels))
          add(`${service} calls`, Number(value));
      }
      if (name === 'shoal_storage_commit_blocks_count') add('storage commits', Number(value));
      if (name === 'shoal_discovery_transactions_total') add('discovery writes', Number(value));
      if (
        name === 'shoal_discovery_messages_total' &&
        /kind="(?:pins|ask|answer|holdings)/.test(labels)
      )
        add('discovery messages', Number(value));
    }
  }
  return counts;
}

describe('small files', () => {
  let swarm: HostedSwarm;
  const dispatcher = new Agent({ connections: IN_FLIGHT });
  beforeAll(async () => {
    swarm = await startHostedSwarm(5);
  });
  afterAll(async () => {
    await dispatcher.close();
    await swarm[Symbol.asyncDispose]();
  });

  it('cost a call each, and a share of what their batch costs', async () => {
    const { peers } = swarm;
    const [uploader] = peers;
    if (uploader === undefined) throw new Error('a swarm has a peer');
    const before = await Promise.all(peers.map(countsOf));
    let next = 0;
    const send = async (): Promise<void> => {
      for (let index = next++; index < FILES; index = next++) {
        const { statusCode, body } = await request(`${uploader.chunker}/files/small-${index}`, {
          method: 'PUT',
          body: seededBytes(`small ${index}`, FILE_SIZE_BYTES),
          dispatcher,
        });
        expect([statusCode, await body.json()]).toMatchObject([201, { replicas: REPLICAS }]);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, send));
    await eventually('all are settled everywhere', async () => {
      const settled = await Promise.all(
        peers.map(({ transfer }) => metric(transfer, 'shoal_transfer_files_settled_total')),
      );
      return settled.every((count) => count >= FILES);
    });
    const after = await Promise.all(peers.map(countsOf));
    const costs = after.map((counts, at) =>
      Object.fromEntries(
        Object.entries(counts).map(([name, count]) => [name, count - (before[at]?.[name] ?? 0)]),
      ),
    );
    for (const [at, cost] of costs.entries()) {
      const of = (what: string): number => cost[what] ?? 0;
      // One transaction in each index, and one message of pins, for several files each.
      expect(of('discovery writes')).toBeLessThan(FILES / 2);
      expect(of('storage commits')).toBeLessThan(FILES / 2);
      expect(of('discovery messages')).toBeLessThan(FILES / 2);
      expect(of('chunker calls')).toBe(at === 0 ? FILES : 0);
      const others = of('storage calls') + of('transfer calls') + of('discovery calls');
      expect(others).toBeLessThan(at === 0 ? 2 * FILES : FILES);
    }
    for (const peer of peers) {
      const files = await listFiles(peer.discovery);
      expect(files.filter(({ copies }) => copies === REPLICAS)).toHaveLength(FILES);
    }
  });

  it('are never given as they were before a change at the same peer, though reads ask nobody', async () => {
    const { peers } = swarm;
    const [peer, other] = peers;
    if (peer === undefined || other === undefined) throw new Error('a swarm has peers');
    const read = async (cid: string) => {
      const { statusCode, headers, body } = await request(`${peer.transfer}/files/${cid}`);
      await body.dump();
      return { status: statusCode, named: String(headers['content-disposition']) };
    };
    for (let at = 0; at < 20; at += 1) {
      const file = { name: `first ${at}`, seed: `changes ${at}`, sizeBytes: 4096 };
      const { reply } = await upload(at % 2 === 0 ? peer.chunker : other.chunker, file);
      expect(await read(reply.cid)).toMatchObject({ status: 200 });
      expect(await read(reply.cid)).toMatchObject({ status: 200 });
      await change(peer.discovery, reply.cid, { name: `second ${at}` });
      expect((await read(reply.cid)).named).toContain(`second ${at}`);
      await upload(peer.chunker, { ...file, name: `third ${at}` });
      expect((await read(reply.cid)).named).toContain(`third ${at}`);
      await remove(peer.discovery, reply.cid);
      expect(await read(reply.cid)).toMatchObject({ status: 410 });
    }
  });
});
