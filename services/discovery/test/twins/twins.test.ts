import { afterEach, describe, expect, it } from '@jest/globals';
import { createLog, createLoops } from '@shoal/chassis';
import { DOMAIN_UNKNOWN, type MemberRecord, type PeerId, type PeerRun } from '@shoal/protocol';
import { eventually } from '@shoal/testkit';
import { createMetrics } from '../../src/metrics.ts';
import { OwnRun } from '../../src/twins/own-run.ts';
import { Twins } from '../../src/twins/twins.ts';

const A = 'a' as PeerId;
const MINUTE_MS = 60_000;
const STARTED_AT_MS = 1_800_000_000_000;
const HEARTBEAT_MS = 20;

const log = createLog('discovery', 'silent');
const running: Disposable[] = [];
afterEach(() => {
  for (const each of running.splice(0)) each[Symbol.dispose]();
});

/** What a run of the peer says of itself. */
function recordOf(run: PeerRun, part: Partial<MemberRecord> = {}): MemberRecord {
  const origin = 'http://127.0.0.1:9';
  return {
    v: 1,
    peerId: A,
    incarnation: run.sinceMs,
    seq: 1,
    atMs: STARTED_AT_MS,
    libp2p: [],
    http: {
      gateway: origin,
      chunker: origin,
      storage: origin,
      transfer: origin,
      discovery: `${origin}/${run.id}`,
    },
    domain: { host: DOMAIN_UNKNOWN, disk: DOMAIN_UNKNOWN },
    version: '0',
    capacityBytes: 0,
    usedBytes: 0,
    freeBytes: 0,
    blocks: 0,
    leaving: false,
    draining: false,
    tls: true,
    run,
    ...part,
  };
}

/** A run that began at 100, whose twins answer nobody. */
function start() {
  const time = { nowMs: STARTED_AT_MS };
  let called = 0;
  let changes = 0;
  const ownRun = new OwnRun(100);
  const twins = new Twins({
    self: A,
    ownRun,
    client: {
      call: () => {
        called += 1;
        return Promise.reject(new Error('nobody is there'));
      },
    },
    own: () => ({
      record: recordOf(ownRun.read()),
      signed: { peerId: A, payload: '', signature: '' } as never, // nobody reads it
    }),
    members: () => [],
    learn: () => undefined,
    outbid: async () => undefined,
    onChange: () => (changes += 1),
    setAside: () => undefined,
    reconnect: () => undefined,
    heartbeatMs: () => HEARTBEAT_MS,
    clock: () => performance.now(),
    nowMs: () => time.nowMs,
    metrics: createMetrics(),
    log,
  });
  running.push(twins.start(createLoops({ log })));
  return { twins, ownRun, time, called: () => called };
}

describe('a twin that was first, and was missed', () => {
  const first: PeerRun = { id: 'first', sinceMs: 50, isAside: false };
  const missed = async () => {
    const all = start();
    // Dated well after our start, or it could be of an earlier run of ours.
    const atMs = STARTED_AT_MS + 6 * MINUTE_MS;
    all.twins.see(recordOf(first, { atMs }));
    expect(all.ownRun.isAside).toBe(true);
    expect(() => all.twins.check()).toThrow(/identity/i);
    all.time.nowMs = atMs + 1000;
    await eventually('the name is taken', () => !all.ownRun.isAside);
    return all;
  };

  it('is not there again for what it said before', async () => {
    const { twins, ownRun, time, called } = await missed();
    const before = called();
    twins.see(recordOf(first, { seq: 7, atMs: time.nowMs - 500 }));
    expect(ownRun.isAside).toBe(false);
    expect(() => twins.check()).not.toThrow();
    await eventually('it was asked for, all the same', () => called() > before);
  });

  it('is there again when it says something long after', async () => {
    const { twins, ownRun, time } = await missed();
    twins.see(recordOf(first, { seq: 8, atMs: time.nowMs + 6 * MINUTE_MS }));
    expect(ownRun.isAside).toBe(true);
  });
});
