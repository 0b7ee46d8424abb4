import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import {
  download,
  eventually,
  isRunning,
  listChildren,
  type RunningPeer,
  seededStream,
  sha256Of,
  startHostedSwarm,
  startPeer,
  upload,
} from '@shoal/testkit';

const FILE = { name: 'one.bin', seed: 'one process', sizeBytes: 3_000_000 };

describe('a peer in one process', () => {
  let peer: RunningPeer;
  beforeAll(async () => {
    peer = await startPeer({ processes: 'per peer' });
  });
  afterAll(async () => {
    await peer[Symbol.asyncDispose]();
  });

  it('has its five services in it, each on its port and with its log, and a Redis of its own', async () => {
    const programs = listChildren(peer.launcherId).map(({ command }) => command);
    expect(programs.filter((command) => command.includes('node'))).toEqual([]);
    expect(programs.filter((command) => command.includes('-server unixsocket:'))).toHaveLength(1);
    for (const service of SERVICES) {
      const { ok } = await fetch(`${peer[service]}/readyz`);
      expect([service, ok]).toEqual([service, true]);
      expect(existsSync(join(peer.dataDir, 'logs', `${service}.log`))).toBe(true);
    }
    expect(() => peer.killOne('chunker')).toThrow('no process of its own');
  });

  it('keeps its files over a stop and a kill, and leaves nothing running', async () => {
    const { peerId } = peer;
    const { reply } = await upload(peer.gateway, FILE);
    const sha256 = await sha256Of(seededStream(FILE.seed, FILE.sizeBytes));
    const running = () => [peer.launcherId, ...Object.values(peer.processIds())];
    const before = running();
    expect(await peer.stop()).toBe(0);
    await eventually('nothing is left of it', () => !before.some(isRunning));
    await peer.start();
    expect(peer.peerId).toBe(peerId);
    expect(await download(peer.gateway, reply.cid)).toMatchObject({ status: 200, sha256 });
    await peer.kill();
    await peer.start();
    expect(await download(peer.gateway, reply.cid)).toMatchObject({ status: 200, sha256 });
  });

  it('says why it can not start', async () => {
    const other = startPeer({
      processes: 'per peer',
      dataDir: peer.dataDir,
      keyFile: peer.keyFile,
    });
    await expect(other).rejects.toThrow('is in use by another shoal');
  });
});

describe('several peers in one process', () => {
  it('are a swarm: what comes in at one goes out at another', async () => {
    await using swarm = await startHostedSwarm(3);
    const [first, , third] = swarm.peers;
    if (first === undefined || third === undefined) throw new Error('a swarm of three');
    const { status, reply } = await upload(first.chunker, FILE);
    expect([status, reply.replicas]).toEqual([201, 3]);
    const sha256 = await sha256Of(seededStream(FILE.seed, FILE.sizeBytes));
    expect(await download(third.transfer, reply.cid)).toMatchObject({ status: 200, sha256 });
  });
});
