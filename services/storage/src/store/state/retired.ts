/** Blocks that are about to be dropped: served still, but confirmed to nobody. In memory alone. */
import type { Digest } from '../../disk/block-record.ts';
import type { Exclusive } from '../../index/commit-queue.ts';

export class Retired {
  readonly #digests = new Set<Digest>();

  has(digest: Digest): boolean {
    return this.#digests.has(digest);
  }

  add(exclusive: Exclusive, digest: Digest): void {
    exclusive.assertHeld();
    this.#digests.add(digest);
  }

  /** Confirms the block again, or forgets one that is gone. */
  delete(exclusive: Exclusive, digest: Digest): void {
    exclusive.assertHeld();
    this.#digests.delete(digest);
  }

  get size(): number {
    return this.#digests.size;
  }
}
