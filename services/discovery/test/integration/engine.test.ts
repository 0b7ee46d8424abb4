import { randomBytes } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { noise } from '@libp2p/noise';
import { preSharedKey } from '@libp2p/pnet';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLog, openIdentity } from '@shoal/chassis';
import { eventually, openTemporaryFolder } from '@shoal/testkit';
import { createLibp2p } from 'libp2p';
import { join } from 'node:path';
import { startLibp2p } from '../../src/network/libp2p-engine.ts';

const SWARM_KEY = randomBytes(32);
const signal = AbortSignal.timeout(50_000);

it('takes a connection that takes no more streams for none, though its socket stays open', async () => {
  await using folder = await openTemporaryFolder();
  const events: string[] = [];
  const engine = await startLibp2p({
    privateKeyRaw: openIdentity(join(folder.path, 'identity.key')).privateKeyRaw,
    swarmKey: SWARM_KEY,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    mdns: false,
    audience: () => [],
    events: {
      connected: () => void events.push('connected'),
      disconnected: () => void events.push('disconnected'),
      discovered: () => undefined,
      broadcast: () => true,
      request: (_, bytes) => Promise.resolve(bytes),
    },
    log: createLog('test', 'silent'),
  });
  const psk = Buffer.from(`/key/swarm/psk/1.0.0/\n/base16/\n${SWARM_KEY.toString('hex')}\n`);
  const other = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionProtector: preSharedKey({ psk }),
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
