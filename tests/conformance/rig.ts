/**
 * A swarm of three with fixtures in it, as each conformance suite starts it once. The fixtures come in
 * at one peer with one copy of each leaf, so that the others have to ask inside the swarm for most of
 * what they are asked.
 */
import { type RunningPeer, startSwarm } from '@shoal/testkit';
import { ask, type Answer } from './ask.ts';
import { type Fixture, type FixtureName, readFixture } from './fixture.ts';

/** Kubo refuses an answer whose head is larger. */
export const HEAD_SIZE_MAX_BYTES = 2048;
export const IMMUTABLE = 'public, max-age=29030400, immutable';
export const RAW = 'application/vnd.ipld.raw';
export const CAR = 'application/vnd.ipld.car';
/** The CID of no bytes at all, which clients ask a gateway for to see whether it is one. */
export const PROBE = 'bafkqaaa';
/** A CID that holds its bytes itself: `hello`. */
export const HELLO = { cid: 'bafkqabtimvwgy3yk', bytes: 'hello\n' };
/** CIDs of what nobody has, in both versions. */
export const ABSENT = 'bafkreifbvngde7yu3osqoovlv4h6b5ikpnkitbolboj3vxx2fameo3ppoy';
export const ABSENT_V0 = 'QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN';

/** So that copies beyond what was asked for are gone in a second. */
export const SETTLES_SOON = { TRANSFER_SETTLE_DELAY_MS: '500' };

/** The two ways in that every suite asks by. */
export const DOORS = ['the gateway it came in at', 'the transfer of another peer'] as const;
export type Door = (typeof DOORS)[number];

export interface Rig extends AsyncDisposable {
  readonly importer: RunningPeer;
  readonly other: RunningPeer;
  readonly third: RunningPeer;
  originOf(door: Door): string;
  fixture(name: FixtureName): Fixture;
}

/** Starts the swarm and imports these fixtures. */
export async function startRig(
  names: readonly FixtureName[],
  { env = {} }: { readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Rig> {
  await using starting = new AsyncDisposableStack();
  const swarm = starting.use(await startSwarm(3, { env }));
  const [importer, other, third] = swarm.peers;
  if (importer === undefined || other === undefined || third === undefined)
    throw new Error('a swarm of three has three peers');
  const fixtures = new Map<FixtureName, Fixture>();
  for (const name of names) {
    const fixture = await readFixture(name);
    fixtures.set(name, fixture);
    const answer = await importCar(importer.gateway, fixture.car);
    if (answer.status >= 300)
      throw new Error(`${name} was refused: ${answer.status} ${answer.body.toString()}`);
  }
  const running = starting.move();
  return {
    importer,
    other,
    third,
    originOf: (door) => (door === DOORS[0] ? importer.gateway : other.transfer),
    fixture(name) {
      const found = fixtures.get(name);
      if (found === undefined) throw new Error(`${name} was not imported`);
      return found;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** `POST /ipfs` with a CAR. */
export function importCar(origin: string, car: Uint8Array): Promise<Answer> {
  return ask(origin, '/ipfs?replicas=1&copies=1', {
    method: 'POST',
    headers: { 'content-type': CAR },
    body: car,
    timeoutMs: 60_000,
  });
}

/** `POST /ipfs` with one raw block. */
export function importBlock(origin: string, block: Uint8Array): Promise<Answer> {
  return ask(origin, '/ipfs?replicas=1&copies=1', {
    method: 'POST',
    headers: { 'content-type': RAW },
    body: block,
    timeoutMs: 60_000,
  });
}
