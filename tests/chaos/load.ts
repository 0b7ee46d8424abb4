/** Clients that read and write all the time, as long as something else is done to the swarm. */
import { MiB } from '@shoal/protocol';
import { download, type RunningPeer, type TestFile, upload } from '@shoal/testkit';
import { type KnownFile, nameOf } from './model.ts';
import { fileOf, pass, type Rig } from './rig.ts';

const READERS = 3;
const UPLOAD_SIZE_BYTES = 2 * MiB;
/** Uploads fill the disk: they come at this pace. */
const UPLOAD_EVERY_MS = 1000;
const DOWNLOAD_TIMEOUT_MS = 60_000;

export interface Load {
  /** Ends it and waits for what is under way. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  readonly files: readonly KnownFile[];
  /** Peers that clients may turn to now: one that is about to leave is taken off before it does. */
  readonly peers: () => readonly RunningPeer[];
  /** Of the files that are uploaded. */
  readonly uploadSizeBytes?: number;
  /** Told of each download and upload that did not work the first time. */
  readonly onFailure: (kind: 'download' | 'upload', what: string) => void;
}

/** Counts `downloads` and `uploads`; wrong bytes are blamed here, failures are the caller's to judge. */
export function startLoad(
  rig: Rig,
  { files, peers, uploadSizeBytes = UPLOAD_SIZE_BYTES, onFailure }: LoadOptions,
): Load {
  const stopping = new AbortController();
  const signal = AbortSignal.any([rig.signal, stopping.signal]);
  const clients = Array.from({ length: READERS }, async (_, index) => {
    const random = rig.random.fork(`reader-${index}`);
    while (!signal.aborted) {
      const peer = random.pick(peers());
      const isStaying = () => peers().includes(peer);
      await readOnce(rig, random.pick(files), peer, { isStaying, onFailure });
    }
  });
  const writer = async (): Promise<void> => {
    const random = rig.random.fork('writer');
    for (let count = 0; !signal.aborted; count += 1) {
      const peer = random.pick(peers());
      const isStaying = () => peers().includes(peer);
      await writeOnce(rig, fileOf(rig, `load-${count}`, uploadSizeBytes), peer, {
        isStaying,
        onFailure,
      });
      await pass(UPLOAD_EVERY_MS, { signal }).catch(() => undefined); // stopped: the loop's end
    }
  };
  const all = Promise.all([...clients, writer()]);
  all.catch(() => undefined); // it is told by stop()
  return {
    async stop() {
      stopping.abort();
      await all;
    },
  };
}

interface Judge extends Pick<LoadOptions, 'onFailure'> {
  readonly isStaying: () => boolean;
}

async function readOnce(
  { ledger, signal }: Rig,
  file: KnownFile,
  peer: RunningPeer,
  { isStaying, onFailure }: Judge,
): Promise<void> {
  const startedAtMs = performance.now();
  try {
    const { status, sha256, problem } = await download(peer.transfer, file.cid, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]),
    });
    ledger.tried('downloads');
    if (status !== 200)
      onFailure('download', `download from ${nameOf(peer)}: ${status} ${problem?.detail}`);
    else if (sha256 !== file.sha256) ledger.blame('corrupt', `download from ${nameOf(peer)}`);
    else ledger.sample('download', performance.now() - startedAtMs);
  } catch (error) {
    signal.throwIfAborted();
    // A client of the peer that was taken away knows it: resuming elsewhere is another scenario.
    if (!isStaying()) return ledger.tried('cut by their own peer’s end');
    ledger.tried('downloads');
    onFailure('download', `download from ${nameOf(peer)}: ${String(error)}`);
  }
}

async function writeOnce(
  rig: Rig,
  file: TestFile,
  peer: RunningPeer,
  { isStaying, onFailure }: Judge,
): Promise<void> {
  const { ledger, model, signal } = rig;
  try {
    const { reply } = await upload(peer.chunker, file, { query: 'copies=3' });
    await model.acknowledge(file, reply, ledger);
    ledger.tried('uploads');
  } catch (error) {
    signal.throwIfAborted();
    if (!isStaying()) return ledger.tried('cut by their own peer’s end');
    ledger.tried('uploads');
    onFailure('upload', `upload to ${nameOf(peer)}: ${String(error)}`);
  }
}
