/** Several discovery processes of one test, in a folder of their own. */
import type { PeerId } from '@shoal/protocol';
import { eventually, openTemporaryFolder } from '@shoal/testkit';
import { startPeer, type TestPeer, writeKey } from './peer.ts';

type Options = Partial<Parameters<typeof startPeer>[0]>;

export interface Peers extends AsyncDisposable {
  readonly folder: string;
  readonly keyFile: string;
  /** Starts a peer, or the same again under its name. */
  start(name: string, options?: Options): Promise<TestPeer>;
  /** Starts a peer that was stopped on the port that the others know. */
  restart(name: string, before: TestPeer, options?: Options): Promise<TestPeer>;
  startThree(options?: Options): Promise<[TestPeer, TestPeer, TestPeer]>;
  stopAll(): Promise<void>;
}

export async function openPeers(): Promise<Peers> {
  const folder = await openTemporaryFolder();
  const keyFile = await writeKey(folder.path, 'swarm.key');
  const all: TestPeer[] = [];
  const start: Peers['start'] = async (name, options = {}) => {
    const peer = await startPeer({ folder: folder.path, keyFile, name, ...options });
    all.push(peer);
    return peer;
  };
  const stopAll = async (): Promise<void> => {
    for (const peer of all.splice(0)) await peer[Symbol.asyncDispose]();
  };
  return {
    folder: folder.path,
    keyFile,
    start,
    restart: (name, { libp2pPort }, options) => start(name, { libp2pPort, ...options }),
    async startThree(options = {}) {
      const a = await start('a', options);
      const seeds = seedOf(a);
      const [b, c] = await Promise.all([
        start('b', { ...options, seeds }),
        start('c', { ...options, seeds }),
      ]);
      await seeEachOther([a, b, c]);
      return [a, b, c];
    },
    stopAll,
    async [Symbol.asyncDispose]() {
      await stopAll();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export const seedOf = ({ libp2pPort }: TestPeer) => `127.0.0.1:${libp2pPort}`;

/** A member that was called too early is called again after up to ten seconds. */
const SEE_TIMEOUT_MS = 40_000;

export async function seeEachOther(all: readonly TestPeer[]): Promise<void> {
  for (const peer of all)
    for (const other of all)
      await eventually('all alive', () => isIn(peer, other.peerId, 'alive'), {
        timeoutMs: SEE_TIMEOUT_MS,
      });
}

export async function isIn(peer: TestPeer, other: PeerId, state: string): Promise<boolean> {
  return (await peer.stateOf(other)) === state;
}
