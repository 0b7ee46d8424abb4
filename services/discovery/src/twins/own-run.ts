/** Runs of this peer: the one that this process is, as its records say, and the one before it. */
import { randomBytes } from 'node:crypto';
import type { MemberRecord, PeerId, PeerRun } from '@shoal/protocol';
import { isAuthentic, read, type Signed } from '../network/signed.ts';

/** Tells this process from a twin. */
export class OwnRun {
  readonly id = randomBytes(12).toString('base64url');
  /** The incarnation that this run began with. */
  readonly sinceMs: number;
  /** Whether this process stands aside for another one: see twins.ts. */
  isAside = false;
  /** Gateway of the twin that has the name before the others; undefined without one. */
  twin: string | undefined;

  constructor(sinceMs: number) {
    this.sinceMs = sinceMs;
  }

  read(): PeerRun {
    return { id: this.id, sinceMs: this.sinceMs, isAside: this.isAside };
  }
}

/** The record that this folder's last run signed; undefined when there is none, or it is another peer's. */
export function readFormer(signed: Signed | undefined, self: PeerId): MemberRecord | undefined {
  if (signed === undefined) return undefined;
  const record = read('member', signed).content;
  const isOurs = record?.peerId === self && isAuthentic('member', record, signed);
  return isOurs ? record : undefined;
}
