import { randomBytes } from 'node:crypto';
import type { PeerRun } from '@shoal/protocol';

/** Which run of this peer this process is, as its records say: what tells it from a twin. */
export class OwnRun {
  readonly id = randomBytes(12).toString('base64url');
  /** The incarnation that this run began with. */
  readonly sinceMs: number;
  /** Whether this process stands aside for another one: see twins.ts. */
  isAside = false;

  constructor(sinceMs: number) {
    this.sinceMs = sinceMs;
  }

  read(): PeerRun {
    return { id: this.id, sinceMs: this.sinceMs, isAside: this.isAside };
  }
}
