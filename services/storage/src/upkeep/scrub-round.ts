/**
 * A round of the scrub. The cursor may be anywhere when it begins: the round goes from there to the last digest,
 * then from the first one to where it began.
 */
import assert from 'node:assert';
import type { ScrubReport } from '@shoal/protocol';
import type { CheckState, Digest } from '../disk/block-record.ts';

/** `whole` was asked for, and checks every block; `due` checks those whose last check is too old. */
export type RoundKind = 'due' | 'whole';

/** The rest of a round. */
type Leg =
  | { readonly name: 'to the last'; readonly thenTo: Digest | undefined }
  | { readonly name: 'to where it began'; readonly to: Digest };

export class ScrubRound {
  readonly kind: RoundKind;
  readonly #startedAtMs: number;
  #leg: Leg;
  #passedOver = 0;
  #checkedBlocks = 0;
  #checkedBytes = 0;
  #damagedBlocks = 0;

  /** @param cursor The last digest before the round; undefined when it begins with the first one. */
  constructor(
    kind: RoundKind,
    { cursor, nowMs }: { readonly cursor: Digest | undefined; readonly nowMs: number },
  ) {
    this.kind = kind;
    this.#startedAtMs = nowMs;
    this.#leg = { name: 'to the last', thenTo: cursor };
  }

  /** True when this digest is behind where the round began: it was looked at already. */
  isOverBefore(digest: Digest): boolean {
    return this.#leg.name === 'to where it began' && digest > this.#leg.to;
  }

  /** There is no digest left; false when the round goes on with the first one. */
  endLeg(): boolean {
    if (this.#leg.name === 'to where it began' || this.#leg.thenTo === undefined) return true;
    this.#leg = { name: 'to where it began', to: this.#leg.thenTo };
    return false;
  }

  /** Notes a block that was not checked, since it was not due or could not be looked at. */
  passOver(): void {
    this.#passedOver += 1;
  }

  note(state: CheckState, sizeBytes: number): void {
    if (state === 'absent') return; // deleted meanwhile
    this.#checkedBlocks += 1;
    this.#checkedBytes += sizeBytes;
    if (state === 'corrupt') this.#damagedBlocks += 1;
  }

  /** True when every block was checked. */
  get isWhole(): boolean {
    return this.#passedOver === 0;
  }

  /** True once there is something to say of it. */
  get hasNews(): boolean {
    return this.kind === 'whole' || this.#checkedBlocks > 0;
  }

  get report(): ScrubReport {
    assert(this.#damagedBlocks <= this.#checkedBlocks, 'what is damaged was checked');
    return {
      startedAtMs: this.#startedAtMs,
      checkedBlocks: this.#checkedBlocks,
      checkedBytes: this.#checkedBytes,
      damagedBlocks: this.#damagedBlocks,
    };
  }
}
