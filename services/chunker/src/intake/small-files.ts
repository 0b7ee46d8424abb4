/**
 * Files of one small block take no lease, no job and no wait for health: those that are in flight at one moment go
 * together to this peer's transfer service, which stores each where it belongs and answers how many peers have made
 * it durable. A failure between that and the pin leaves blocks that no pin reaches, for the sweep.
 */
import { codecOf } from '@shoal/blocks';
import { Gather, type Log, type PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  encodeFrames,
  KiB,
  MiB,
  transferRoutes,
} from '@shoal/protocol';
import type * as z from 'zod';

/** A file up to this size is small. Past it: it is stored under a lease, and copied by jobs. */
export const SMALL_FILE_MAX_BYTES = 64 * KiB;
/** Bytes of files that go together. Past it: the others go in the next batch. */
const BATCH_SIZE_MAX_BYTES = MiB;
/** Longest wait of a file for others while some are under way. Past it: it goes without waiting for more. */
const WAIT_MAX_MS = 50;
/** Batches of one kind under way at once: one waits for the slowest of its holders. Past it: files wait for a batch. */
const BATCHES_MAX = 2;
/** Longest wait for copies. Past it: they are stored here, and copied by jobs. */
const SPREAD_TIMEOUT_MS = 15_000;

interface SmallFile {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

/**
 * Hands small blocks to this peer's transfer service, as whole files or under a lease. Answers for each how many peers
 * made it durable and proved it, 0 for none that is known.
 * @throws Problem when transfer can't, or does not answer.
 */
export async function sendSmall(
  blocks: readonly SmallFile[],
  query: z.input<typeof transferRoutes.spreadBlocks.query>,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<number[]> {
  const frames = blocks.map(({ cid, bytes }) => ({ codec: codecOf(cid), bytes }));
  const reply = await client.send(
    client.own('transfer'),
    transferRoutes.spreadBlocks,
    { query, bytes: encodeFrames(frames) },
    { signal, timeoutMs: SPREAD_TIMEOUT_MS },
  );
  return blocks.map(({ cid }, at) => {
    const said = reply.blocks[at];
    return said?.cid === cid ? said.copies : 0;
  });
}

export class SmallFiles {
  readonly #client: PeerClient;
  readonly #log: Log;
  readonly #stopping: AbortSignal;
  /** By replicas and copies to wait for: few people ask for anything but the defaults. */
  readonly #kinds = new Map<string, Gather<SmallFile, number>>();

  constructor({
    client,
    log,
    stopping,
  }: {
    readonly client: PeerClient;
    readonly log: Log;
    readonly stopping: AbortSignal;
  }) {
    this.#client = client;
    this.#log = log;
    this.#stopping = stopping;
  }

  /** Has copies made; answers how many peers have one, or undefined when that could not be done this way. */
  async spread(
    file: SmallFile,
    wishes: { readonly replicas: number; readonly copies: number },
  ): Promise<number | undefined> {
    try {
      const copies = await this.#kindOf(wishes).add(file);
      return copies > 0 ? copies : undefined;
    } catch (err) {
      this.#stopping.throwIfAborted();
      this.#log.debug({ err, cid: file.cid }, 'small file not spread, storing it here');
      return undefined;
    }
  }

  #kindOf({ replicas, copies: asked }: { readonly replicas: number; readonly copies: number }) {
    const copies = Math.min(asked, replicas);
    const name = `${replicas}/${copies}`;
    const known = this.#kinds.get(name);
    if (known !== undefined) return known;
    const kind = new Gather<SmallFile, number>((files) => this.#send(files, { replicas, copies }), {
      itemsMax: CIDS_PER_BATCH_MAX,
      sizeMaxBytes: BATCH_SIZE_MAX_BYTES,
      sizeOf: ({ bytes }) => bytes.length,
      waitMaxMs: WAIT_MAX_MS,
      batchesMax: BATCHES_MAX,
    });
    this.#kinds.set(name, kind);
    return kind;
  }

  async #send(
    files: readonly SmallFile[],
    query: { readonly replicas: number; readonly copies: number },
  ): Promise<number[]> {
    return await sendSmall(files, query, this.#client, { signal: this.#stopping });
  }
}
