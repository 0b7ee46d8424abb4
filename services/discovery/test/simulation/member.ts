/**
 * A member of a simulated swarm: the product's own wiring of discovery (start.ts) on a simulated network, with its
 * state in LMDB on a real disk. What it holds is stated here; there are no services beside it.
 */
import { createHash, createPrivateKey, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { createLog, createLoops, identityOf, type PeerClient } from '@shoal/chassis';
import {
  type Cid,
  type HaveMap,
  type PeerId,
  SERVICES,
  ServiceUnavailable,
  transferRoutes,
} from '@shoal/protocol';
import { DiscoveryConfig } from '../../src/config.ts';
import { createMetrics } from '../../src/metrics.ts';
import { OwnAddress } from '../../src/network/own-address.ts';
import { createRefusals } from '../../src/network/refusals.ts';
import { createSigner } from '../../src/network/signed.ts';
import { createWire } from '../../src/network/wire.ts';
import {
  createSwarm,
  type Files,
  type Ground,
  startFiles,
  startSpeaking,
  type Swarm,
} from '../../src/start.ts';
import { RosterKeeper } from '../../src/roster/roster-keeper.ts';
import type { PinStore } from '../../src/state/pin-store.ts';
import { openState } from '../../src/state/state.ts';
import { createWallTime } from '../../src/wall-time.ts';
import type { Network } from './network.ts';
import type { VirtualTime } from './virtual-time.ts';

const LIBP2P_PORT = 4001;
/** Before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const log = createLog('discovery', 'silent');

export interface SimulatedMember extends AsyncDisposable {
  readonly peerId: PeerId;
  readonly swarm: Swarm;
  readonly files: Files;
  /** What it says that it holds. */
  readonly held: Map<Cid, HaveMap>;
  /** How often others asked it for more than their share. */
  putAside(): Promise<number>;
}

export interface MemberOptions {
  readonly seed: string;
  /** Its number: one host an address. */
  readonly index: number;
  readonly seeds: readonly number[];
  readonly folder: string;
  readonly time: VirtualTime;
}

export const addressOf = (index: number): string =>
  `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;

/** Starts one; it is in the network from now on. */
export async function startMember(
  network: Network,
  { seed, index, seeds, folder, time }: MemberOptions,
): Promise<SimulatedMember> {
  await using stack = new AsyncDisposableStack();
  const { peerId: self, privateKeyRaw } = identityOf(keyOf(`${seed}/${index}`));
  const host = addressOf(index);
  const own = endpointsOf(host);
  const config = DiscoveryConfig.parse({
    ...Object.fromEntries(SERVICES.map((each) => [`${each.toUpperCase()}_URL`, own[each]])),
    PEER_ID: self,
    PEER_DATA_DIR: folder,
    SWARM_KEY_FILE: join(folder, 'swarm.key'),
    REDIS_SOCKET: join(folder, 'redis.sock'),
    BIND_HOST: host,
    DISCOVERY_LIBP2P_PORT: LIBP2P_PORT,
    DISCOVERY_SEEDS: seeds.map((each) => `${addressOf(each)}:${LIBP2P_PORT}`).join(','),
    DISCOVERY_MDNS: 'false',
  });
  const metrics = createMetrics();
  const clock = () => performance.now();
  const refusals = createRefusals({ clock, metrics, log });
  const state = stack.use(openState(join(folder, self)));
  waitForDisk(state.pins, time);
  const held = new Map<Cid, HaveMap>();
  const keeper = new RosterKeeper({ self, peerDataDir: folder, metrics, log }); // there is none
  const ground: Omit<Ground, 'prover' | 'tls'> = {
    config,
    log,
    self,
    privateKeyRaw,
    swarmKeys: [Buffer.alloc(32)],
    signer: createSigner(privateKeyRaw),
    metrics,
    loops: createLoops({ log }),
    clock,
    wallTimeOf: createWallTime({ clock, nowMs: Date.now }),
    refusals,
    state,
    client: NOBODY as PeerClient,
    events: { publish: () => {}, [Symbol.dispose]: () => {} },
    producer: {
      add: async () => '',
      depth: async () => 0,
      [Symbol.asyncDispose]: async () => {},
    },
    keeper,
    roster: keeper.roster,
    wire: createWire({ metrics, refusals, log }),
    address: new OwnAddress(config, own),
    storage: {
      losses: { count: 1 },
      readHaveMap: async (root) => ({ haveMap: held.get(root), readAtMs: Date.now() }),
      space: () => ({
        domain: { host, disk: host },
        capacityBytes: 2 ** 40,
        usedBytes: 0,
        freeBytes: 2 ** 40,
        blocks: held.size,
      }),
      watch: () => ({ [Symbol.asyncDispose]: async () => {} }),
      [Symbol.dispose]: () => {},
    },
    incarnation: await state.nextIncarnation(Date.now()),
  };
  const whole = ground as Ground; // nothing that is started here serves HTTP
  const swarm = createSwarm(whole);
  const files = startFiles(whole, swarm, stack);
  const engine = network.add({
    peerId: self,
    address: `/ip4/${host}/tcp/${LIBP2P_PORT}`,
    events: ground.wire.events,
    audience: () =>
      swarm.membership.table
        .all()
        .filter((each) => each.state === 'alive')
        .map(({ record }) => record.peerId),
  });
  ground.wire.attach(engine);
  await startSpeaking(whole, swarm, files, stack);
  const running = stack.move();
  return {
    peerId: self,
    swarm,
    files,
    held,
    async putAside() {
      const { values } = await metrics.putAside.get();
      return values.reduce((sum, { value }) => sum + value, 0);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** No other service answers; pins are cached by none. */
const NOBODY: Pick<PeerClient, 'own' | 'call'> = {
  own: (service) => ({ origin: `http://${service}`, peerId: '' as PeerId, service }) as never,
  call: async (_, route) => {
    if ((route as unknown) === transferRoutes.forgetPins) return {} as never;
    throw new ServiceUnavailable({ service: 'storage' });
  },
};

/** Origins of services that are not there. */
const endpointsOf = (host: string) =>
  Object.fromEntries(SERVICES.map((each) => [each, `http://${host}:1`])) as Record<
    (typeof SERVICES)[number], // one key for each
    string
  >;

/** Time stands still while pins are written: how long a disk takes is not what is asked here. */
function waitForDisk(pins: PinStore, time: VirtualTime): void {
  const updateAll = pins.updateAll.bind(pins);
  pins.updateAll = (changes, deps) => time.whileBusy(updateAll(changes, deps));
}

function keyOf(name: string): KeyObject {
  const seed = createHash('sha256').update(name).digest();
  return createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, seed]),
    format: 'der',
    type: 'pkcs8',
  });
}
