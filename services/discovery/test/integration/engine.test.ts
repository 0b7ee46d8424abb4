import { randomBytes } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLog, openIdentity } from '@shoal/chassis';
import { eventually, openTemporaryFolder } from '@shoal/testkit';
import { createLibp2p } from 'libp2p';
import { join } from 'node:path';
import { createMetrics } from '../../src/metrics.ts';
import { createHandshake } from '../../src/network/handshake.ts';
import { startLibp2p } from '../../src/network/libp2p-engine.ts';

const SWARM_KEY = randomBytes(32);
const signal = AbortSignal.timeout(50_000);

it('takes a connection that takes no more streams for none, though its socket stays open', async () => {
  await using folder = await openTemporaryFolder();
  const events: string[] = [];
  const [metrics, log] = [createMetrics(), createLog('test', 'silent')];
  const engine = await startLibp2p({
    privateKeyRaw: openIdentity(join(folder.path, 'identity.key')).privateKeyRaw,
    swarmKeys: SWARM_KEY,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    mdns: false,
    audience: () => [],
    events: {
      connected: () => void events.push('connected'),
      disconnected: () => void events.push('disconnected'),
      discovered: () => undefined,
      waitMs: () => 0,
      broadcast: () => true,
      request: (_, bytes) => Promise.resolve(bytes),
    },
    metrics,
    log,
  });
  const other = await createLibp2p({
    transports: [tcp()],
    ...createHandshake({ swarmKeys: SWARM_KEY, metrics, log }),
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
  });
  try {
    const [address = ''] = engine.addresses();
    const connection = await other.dial(multiaddr(address), { signal });
    const [peerId] = await eventually('connected', () => {
      const found = engine.connected();
      return found.length > 0 && found;
    });
    expect(peerId).toBe(other.peerId.toString());
    // As libp2p itself ends it, when a peer that was busy is met by too many streams at once.
    const { muxer } = connection as unknown as { muxer: { abort(reason: Error): void } };
    muxer.abort(new Error('too many early streams'));
    expect(connection.status).toBe('open');

    await eventually('it is gone', () => engine.connected().length === 0);
    await eventually('that is told', () => events.includes('disconnected'));
    await eventually('it is closed', () => connection.status !== 'open');
    await other.dial(multiaddr(address), { signal });
    await eventually('connected again', () => engine.connected().length === 1);
  } finally {
    await other.stop();
    await engine.stop();
  }
}, 60_000);
