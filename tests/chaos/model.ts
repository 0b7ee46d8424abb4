/**
 * What must be true of the swarm: every file that was acknowledged is readable with these bytes, every
 * file that was deleted is gone. It knows nothing of blocks or peers; what it says is compared with
 * what the peers answer.
 */
import type { UploadReply } from '@shoal/protocol';
import {
  download,
  listFiles,
  type RunningPeer,
  seededStream,
  sha256Of,
  type TestFile,
} from '@shoal/testkit';
import type { Ledger } from './ledger.ts';

const READ_TIMEOUT_MS = 60_000;

/** A file that a peer acknowledged. */
export interface KnownFile extends TestFile {
  readonly cid: string;
  readonly sha256: string;
  readonly replicas: number;
}

export interface Model {
  /** Takes in a file as acknowledged; blames the reply when it names other bytes. */
  acknowledge(file: TestFile, reply: UploadReply, ledger: Ledger): Promise<KnownFile>;
  /** A deletion was acknowledged. */
  forget(file: KnownFile): void;
  live(): KnownFile[];
  gone(): KnownFile[];
}

export function createModel(): Model {
  const live = new Map<string, KnownFile>();
  const gone = new Map<string, KnownFile>();
  return {
    async acknowledge(file, reply, ledger) {
      const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
      if (reply.sha256 !== sha256) ledger.blame('corrupt', `${file.name} was stored as another`);
      const known = { ...file, cid: reply.cid, sha256, replicas: reply.replicas };
      live.set(reply.cid, known);
      gone.delete(reply.cid);
      return known;
    },
    forget(file) {
      live.delete(file.cid);
      gone.set(file.cid, file);
    },
    live: () => [...live.values()],
    gone: () => [...gone.values()],
  };
}

/** Reads every live file at each of these peers, and asks each for what should be gone. */
export async function compare(
  model: Model,
  peers: readonly RunningPeer[],
  ledger: Ledger,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  for (const peer of peers) {
    for (const file of model.live()) await checkReadable(file, peer, ledger, { signal });
    const listed = new Set((await listFiles(peer.discovery)).map(({ cid }) => String(cid)));
    for (const { cid, name } of model.live())
      if (!listed.has(cid)) ledger.blame('lost', `${name} is not listed by ${nameOf(peer)}`);
    for (const { cid, name } of model.gone()) {
      ledger.tried('deleted files');
      if (listed.has(cid)) ledger.blame('broken', `${name} is back at ${nameOf(peer)}`);
    }
  }
}

/** One full read, which must give the file's bytes. Answers how long it took, undefined when it was not right. */
export async function checkReadable(
  file: KnownFile,
  peer: RunningPeer,
  ledger: Ledger,
  { signal }: { signal: AbortSignal },
): Promise<number | undefined> {
  ledger.tried('reads');
  const startedAtMs = performance.now();
  try {
    const got = await download(peer.transfer, file.cid, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(READ_TIMEOUT_MS)]),
    });
    const tookMs = performance.now() - startedAtMs;
    if (got.status !== 200)
      ledger.blame('lost', `${file.name} at ${nameOf(peer)}: ${got.status} ${got.problem?.type}`);
    else if (got.sha256 !== file.sha256)
      ledger.blame('corrupt', `${file.name} at ${nameOf(peer)}: other bytes`);
    else return tookMs;
  } catch (error) {
    signal.throwIfAborted();
    ledger.blame('lost', `${file.name} at ${nameOf(peer)}: ${String(error)}`);
  }
  return undefined;
}

/** The end of a peer's id, which tells it from the others. */
export function nameOf({ peerId }: RunningPeer): string {
  return `peer …${peerId.slice(-6)}`;
}
