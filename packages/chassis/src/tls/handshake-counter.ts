import { Counter, type Registry } from 'prom-client';

/** How a handshake ended; `stranger`: with a sound certificate, and not that of a member. */
export type HandshakeOutcome =
  | 'member'
  | 'stranger'
  | 'removed'
  | 'unsure'
  | 'no-certificate'
  | 'failed'
  | 'late'
  | 'crowded';

export type HandshakeCounter = Pick<Counter<'outcome'>, 'inc'>;

/** The figure of a service's TLS. */
export function createHandshakeCounter(service: string, register: Registry): HandshakeCounter {
  return new Counter({
    name: `shoal_${service}_tls_handshakes_total`,
    help: 'Connections by TLS, by how their handshake ended: of a member, of a peer that is none (stranger) or was removed, of a member before the roster was compared (unsure), without the certificate of a peer, failed, too late, or ended because too many were under way (crowded).',
    labelNames: ['outcome'] as const, // HandshakeOutcome
    registers: [register],
  });
}
