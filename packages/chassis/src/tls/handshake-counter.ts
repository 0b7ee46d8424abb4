import { Counter, type Registry } from 'prom-client';

/** How a handshake ended; `stranger`: with a sound certificate, and without proof that it is a member's. */
export type HandshakeOutcome =
  | 'member'
  | 'stranger'
  | 'no-certificate'
  | 'failed'
  | 'late'
  | 'crowded';

export type HandshakeCounter = Pick<Counter<'outcome'>, 'inc'>;

/** The figure of a service's TLS. */
export function createHandshakeCounter(service: string, register: Registry): HandshakeCounter {
  return new Counter({
    name: `shoal_${service}_tls_handshakes_total`,
    help: 'Connections by TLS, by how their handshake ended: of a member, of a peer that did not prove to be one (stranger), without the certificate of a peer, failed, too late, or ended because too many were under way (crowded).',
    labelNames: ['outcome'] as const, // HandshakeOutcome
    registers: [register],
  });
}
