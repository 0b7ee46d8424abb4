/**
 * The swarm that all tests share, as conformance suites ask it: at the peer where its fixtures came in,
 * and at another one. What a suite adds is taken out in the end.
 */
import { ImportReply } from '@shoal/protocol';
import { type Peer, type TestFile, upload, type UploadAnswer } from '@shoal/testkit';
import { Additions, sharedSwarm } from '../shared-swarm/shared-swarm.ts';
import { ask, type Answer } from './ask.ts';
import { type Fixture, type FixtureName, readFixture } from '../fixtures/fixture.ts';

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
  readonly importer: Peer;
  readonly other: Peer;
  readonly third: Peer;
  originOf(door: Door): string;
  fixture(name: FixtureName): Fixture;
  /** Imports a CAR at the first peer, until the suite ends. */
  importCar(car: Uint8Array): Promise<Answer>;
  /** The same for one raw block. */
  importBlock(block: Uint8Array): Promise<Answer>;
  /** Uploads a file there with one copy, until the suite ends. */
  upload(file: TestFile): Promise<UploadAnswer>;
  /** Has a root deleted when the suite ends. */
  owns(root: string): void;
}

/** Finds the shared swarm, and reads these of the fixtures that are in it. */
export async function openRig(names: readonly FixtureName[]): Promise<Rig> {
  const [importer, other, third] = await sharedSwarm();
  const fixtures = new Map<FixtureName, Fixture>();
  for (const name of names) fixtures.set(name, await readFixture(name));
  const additions = new Additions();
  const owns = (root: string): void => additions.add(root, importer);
  const taken = (answer: Answer): Answer => {
    if (answer.status < 300)
      for (const { cid } of ImportReply.parse(JSON.parse(answer.body.toString())).pinned) owns(cid);
    return answer;
  };
  return {
    importer,
    other,
    third,
    originOf: (door) => (door === DOORS[0] ? importer.gateway : other.transfer),
    fixture(name) {
      const found = fixtures.get(name);
      if (found === undefined) throw new Error(`${name} was not named when the rig was opened`);
      return found;
    },
    importCar: async (car) => taken(await importCar(importer.gateway, car)),
    importBlock: async (block) => taken(await importBlock(importer.gateway, block)),
    async upload(file) {
      const answer = await upload(importer.chunker, file, { query: 'replicas=1&copies=1' });
      owns(answer.reply.cid);
      return answer;
    },
    owns,
    [Symbol.asyncDispose]: () => additions[Symbol.asyncDispose](),
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

/** A peer as a router names it. */
export interface PeerRecord {
  readonly Schema: string;
  readonly ID: string;
  readonly Addrs: readonly string[];
  readonly Protocols: readonly string[];
}

/** The peers that a router’s JSON names. */
export const providersIn = ({ body }: Answer): PeerRecord[] =>
  (JSON.parse(body.toString()) as { Providers: PeerRecord[] }).Providers;

/** Their ids. */
export const providerIds = (answer: Answer): string[] => providersIn(answer).map(({ ID }) => ID);
