/** The swarm that the suites share, and what more than one of them does with it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { MiB } from '@shoal/protocol';
import {
  eventually,
  health,
  openTemporaryFolder,
  type RunningPeer,
  startSwarm,
  type TestFile,
  upload,
  type UploadAnswer,
} from '@shoal/testkit';

const PEERS = 5;
const SPREAD_TIMEOUT_MS = 30_000;
const PROGRAM_TIMEOUT_MS = 60_000;

/** What every write needs: the swarm is one that asks for it. */
export const TOKEN = 'the-token-of-the-interop-tests';
export const AUTHORIZATION = { authorization: `Bearer ${TOKEN}` };

/** How long one test may take; most take a second. */
export const TEST_TIMEOUT_MS = 120_000;

export interface Rig extends AsyncDisposable {
  readonly peers: readonly RunningPeer[];
  /** The peer of this index; past the last one it begins again. */
  readonly peer: (index: number) => RunningPeer;
  /** A file of which no peer has all leaves. */
  readonly striped: StripedFile;
  /** A folder of the tests' own. */
  readonly folder: string;
}

export interface StripedFile extends TestFile {
  readonly cid: string;
}

/** Starts the swarm, and puts a file into it. */
export async function startRig(): Promise<Rig> {
  await using starting = new AsyncDisposableStack();
  const folder = starting.use(await openTemporaryFolder());
  const env = { WRITE_TOKEN: TOKEN, TRANSFER_SETTLE_DELAY_MS: '500' };
  const { peers } = starting.use(
    // The last one's chunker is killed alone.
    await startSwarm(PEERS, {
      env,
      optionsOf: (index) => ({ processes: index === PEERS - 1 ? 'per service' : 'per peer' }),
    }),
  );
  const peer = (index: number): RunningPeer => {
    const found = peers[index % PEERS];
    assert(found !== undefined);
    return found;
  };
  const file = { name: 'striped.bin', seed: 'striped', sizeBytes: 24 * MiB + 5 };
  const { cid } = await uploadSpread(peer(0), file, 1);
  const running = starting.move();
  return {
    peers,
    peer,
    striped: { ...file, cid },
    folder: folder.path,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Uploads with the token. */
export async function uploadFile(
  peer: RunningPeer,
  file: TestFile,
  query = '',
): Promise<UploadAnswer['reply']> {
  const { reply } = await upload(peer.gateway, file, { query, headers: AUTHORIZATION });
  return reply;
}

/** Uploads, and waits until each block is where it belongs and nowhere else. */
export async function uploadSpread(
  peer: RunningPeer,
  file: TestFile,
  replicas: number,
): Promise<UploadAnswer['reply']> {
  const reply = await uploadFile(peer, file, `replicas=${replicas}&copies=${replicas}`);
  await eventually(
    `${file.name} is spread`,
    async () => {
      const { state, holders } = await health(peer.discovery, reply.cid);
      return (
        state === 'safe' && holders.length === PEERS && holders.every(({ share }) => share < 1)
      );
    },
    { timeoutMs: SPREAD_TIMEOUT_MS },
  );
  return reply;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export async function runProgram(
  program: string,
  args: readonly string[],
  { cwd, timeoutMs = PROGRAM_TIMEOUT_MS }: { readonly cwd: string; readonly timeoutMs?: number },
): Promise<Ran> {
  const child = spawn(program, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** The same for one that must succeed; gives what it wrote. */
export async function runWell(
  program: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly timeoutMs?: number },
): Promise<string> {
  const { code, stdout, stderr } = await runProgram(program, args, options);
  assert.equal(code, 0, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
}
