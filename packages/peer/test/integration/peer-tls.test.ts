/** Two whole peers, with PEER_TLS on at both, off at both, and at one of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { PeersReply } from '@shoal/protocol';
import {
  download,
  eventually,
  type RunningPeer,
  seededStream,
  sha256Of,
  startSwarm,
  upload,
} from '@shoal/testkit';

const FILE = { name: 'one.bin', seed: 'by TLS', sizeBytes: 3_000_000 };

async function startTwo(first: 'on' | 'off', second: 'on' | 'off') {
  const swarm = await startSwarm(2, {
    processes: 'per peer',
    optionsOf: (index) => ({ env: { PEER_TLS: index === 0 ? first : second } }),
  });
  const [one, two] = swarm.peers as [RunningPeer, RunningPeer]; // as many as were asked for
  return { swarm, one, two };
}

const logOf = ({ dataDir }: RunningPeer, service: string): string =>
  readFileSync(join(dataDir, 'logs', `${service}.log`), 'utf8');

/** Which of all members have TLS, as a peer says it to a user. */
async function toldBy({ gateway }: RunningPeer): Promise<boolean[]> {
  const reply = await fetch(`${gateway}/peers`);
  return PeersReply.parse(await reply.json()).peers.map(({ tls }) => tls);
}

/** Handshakes of members at a service. */
async function handshakes(origin: string): Promise<number> {
  const text = await fetch(`${origin}/metrics`).then((reply) => reply.text());
  const line = text.split('\n').find((each) => /_tls_handshakes_total\{.*"member"/.test(each));
  return Number(line?.split(' ').at(-1) ?? 0);
}

describe('two peers', () => {
  it.each(['on', 'off'] as const)(
    'that have TLS %s give each other blocks',
    async (setting) => {
      const { swarm, one, two } = await startTwo(setting, setting);
      await using _ = swarm;
      const { status, reply } = await upload(one.chunker, FILE, { query: 'copies=2' });
      expect([status, reply.copies]).toEqual([201, 2]);
      const sha256 = await sha256Of(seededStream(FILE.seed, FILE.sizeBytes));
      expect(await download(two.transfer, reply.cid)).toMatchObject({ status: 200, sha256 });
      const isOn = setting === 'on';
      expect(await toldBy(one)).toEqual([isOn, isOn]);
      // One pulled the blocks from the other, after an offer.
      expect((await handshakes(one.storage)) > 0).toBe(isOn);
      expect((await handshakes(two.transfer)) > 0).toBe(isOn);
      expect(logOf(one, 'storage').includes('PEER_TLS is off')).toBe(!isOn);
      expect(logOf(one, 'discovery')).not.toContain('this member has PEER_TLS');
    },
    120_000,
  );

  it('of which one has it off give each other none, and both say why', async () => {
    const { swarm, one, two } = await startTwo('on', 'off');
    await using _ = swarm;
    expect((await toldBy(one)).filter((isTold) => isTold)).toHaveLength(1);
    for (const [here, there] of [
      [one, two],
      [two, one],
    ] as const) {
      const { status, reply } = await upload(
        here.chunker,
        { ...FILE, seed: here.peerId },
        {
          query: 'copies=1',
        },
      );
      expect([status, reply.copies]).toEqual([201, 1]);
      expect((await download(there.transfer, reply.cid)).status).not.toBe(200);
    }
    await eventually('one says so', () =>
      logOf(one, 'discovery').includes('this member has PEER_TLS=off'),
    );
    await eventually('two says so', () =>
      logOf(two, 'discovery').includes('this member has PEER_TLS=on'),
    );
  }, 120_000);
});
