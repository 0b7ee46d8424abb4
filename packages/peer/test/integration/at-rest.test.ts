import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually, type HostedSwarm, startHostedSwarm } from '@shoal/testkit';

let swarm: HostedSwarm;
beforeAll(async () => {
  swarm = await startHostedSwarm(1);
});
afterAll(async () => {
  await swarm[Symbol.asyncDispose]();
});

const peer = () => {
  const [only] = swarm.peers;
  if (only === undefined) throw new Error('a swarm of one has one peer');
  return only;
};

/** What the peer's Redis answers to one command. */
async function askRedis(command: string): Promise<string> {
  const socket = connect(join(peer().dataDir, 'run', 'redis.sock'));
  socket.end(`${command}\r\n`);
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  await once(socket, 'close');
  return answer;
}

describe('a peer at rest', () => {
  it('shares its connections to Redis: one that produces, one for workers, one for each that waits', async () => {
    // The gateway's is there too, and subscribes to nothing while nobody listens to events.
    const waiting = ['bzpopmin', 'bzpopmin', 'bzpopmin', 'xread'];
    let commands: string[] = [];
    await eventually(
      () => `four wait: ${commands.join(' ')}`,
      async () => {
        const lines = (await askRedis('CLIENT LIST')).split('\n');
        const last = lines.flatMap((line) => / cmd=([^ ]+)/.exec(line)?.[1] ?? []);
        commands = last.filter((command) => command !== 'client|list').toSorted();
        return waiting.every(
          (command) =>
            commands.filter((each) => each === command).length ===
            waiting.filter((each) => each === command).length,
        );
      },
    );
    expect(commands).toHaveLength(waiting.length + 3);
    expect(commands).not.toContain('subscribe');
  });

  it('says how long its queues are to those who ask for figures', async () => {
    const text = await (await fetch(`${peer().transfer}/metrics`)).text();
    const queues = text.matchAll(/^shoal_transfer_queue_depth_jobs\{queue="(\w+)"[^}]*\} 0$/gm);
    expect([...queues].map(([, queue = '']) => queue).toSorted()).toEqual([
      'release',
      'replicate',
      'settle',
    ]);
  });
});
