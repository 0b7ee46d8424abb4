import type { MemberRecord, PeerId, Service } from '@shoal/protocol';

/** Where and to whom a call goes: an origin, and the peer that must be there. */
export interface Target {
  readonly peerId: PeerId;
  readonly origin: string;
  /** Whether that peer speaks TLS, as its record says; undefined for our own services, and where no record is known. */
  readonly hasTls?: boolean;
}

/** Where a service of another member answers, by its record. */
export const targetAt = (
  { peerId, http, tls }: Pick<MemberRecord, 'peerId' | 'http' | 'tls'>,
  service: Service,
): Target => ({ peerId, origin: http[service], hasTls: tls });
