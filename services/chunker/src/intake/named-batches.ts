/**
 * Blocks whose names are known, which are nodes and small files, joined into batches: a request for each
 * would cost more than the block. One batch is sent at a time, while the next one fills.
 */
import type { Cid } from '@shoal/protocol';
import { MiB } from '@shoal/protocol';

/** A batch is closed before it grows past this: storage has most buffers of that size. */
const BATCH_SIZE_BYTES = MiB;
/** Added to a block by its frame (frames.ts). */
const FRAME_OVERHEAD_BYTES = 5;

/** A block that was hashed already. Its bytes must not change before the batch is sent. */
export interface NamedBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

export class NamedBatches {
  readonly #send: (blocks: readonly NamedBlock[]) => Promise<void>;
  readonly #track: (batch: Promise<void>) => void;
  readonly #blocksMax: number;
  #open: NamedBlock[] = [];
  #openSizeBytes = 0;
  /** Settles with the last batch that was sent, after all before it. */
  #sent: Promise<void> = Promise.resolve();

  /** @param track Called with each batch on its way, so that its failure is handled. */
  constructor(
    send: (blocks: readonly NamedBlock[]) => Promise<void>,
    track: (batch: Promise<void>) => void,
    { blocksMax }: { readonly blocksMax: number },
  ) {
    this.#send = send;
    this.#track = track;
    this.#blocksMax = blocksMax;
  }

  async put(blocks: readonly NamedBlock[]): Promise<void> {
    for (const block of blocks) {
      const sizeBytes = block.bytes.length + FRAME_OVERHEAD_BYTES;
      // Checked again: concurrent callers may have filled the next batch meanwhile.
      while (this.#isFullFor(sizeBytes)) await this.#flush();
      this.#open.push(block);
      this.#openSizeBytes += sizeBytes;
    }
  }

  /** Waits until every block is durable. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#sent;
  }

  #isFullFor(sizeBytes: number): boolean {
    const blocks = this.#open.length;
    return (
      blocks >= this.#blocksMax ||
      (blocks > 0 && this.#openSizeBytes + sizeBytes > BATCH_SIZE_BYTES)
    );
  }

  /** Queues the open batch behind those before; waits for those alone, so that one more fills. */
  async #flush(): Promise<void> {
    if (this.#open.length === 0) return;
    const full = this.#open;
    this.#open = [];
    this.#openSizeBytes = 0;
    const before = this.#sent;
    this.#sent = before.then(() => this.#send(full));
    this.#track(this.#sent);
    await before;
  }
}
