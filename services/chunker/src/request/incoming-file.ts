import type { Attributes } from '@shoal/blocks';
import type { Sha256 } from '@shoal/protocol';

/** A file that is about to come in. */
export interface IncomingFile {
  readonly name: string;
  /** Copies of each block to keep. */
  readonly replicas: number;
  /** Copies to wait for. */
  readonly copies: number;
  /** Expiry (wall clock, ms); undefined: never. */
  readonly expiresAtMs: number | undefined;
  readonly expectedSha256: Sha256 | undefined;
  readonly attributes?: Attributes | undefined;
  /** Its bytes, until `signal` fires. */
  readonly body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
}
