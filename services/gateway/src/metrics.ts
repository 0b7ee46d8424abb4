import { createLoopMetrics } from '@shoal/chassis';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * How a proxied request ended. `answered`: whole, with any status. `client-left`: the caller
 * went first. `unavailable`: no answer began. `broken`: the answer stopped in its middle.
 */
export type ProxyOutcome = 'answered' | 'client-left' | 'unavailable' | 'broken';

export type Metrics = ReturnType<typeof createMetrics>;

/** Everything that the gateway measures. Labels are small closed sets. */
export function createMetrics(register: Registry) {
  const registers = [register];
  return {
    loops: createLoopMetrics('gateway', register),
    requests: new Counter({
      name: 'shoal_gateway_requests_total',
      help: 'Proxied requests, by the service that was asked and how it ended.',
      labelNames: ['upstream', 'outcome'] as const,
      registers,
    }),
    bytes: new Counter({
      name: 'shoal_gateway_body_bytes_total',
      help: 'Bytes of bodies passed on: in from clients, out to clients.',
      labelNames: ['upstream', 'direction'] as const,
      registers,
    }),
    requestsOpen: new Gauge({
      name: 'shoal_gateway_requests_open',
      help: 'Proxied requests at this moment.',
      registers,
    }),
    rpcCalls: new Counter({
      name: 'shoal_gateway_rpc_calls_total',
      help: 'Calls of the Kubo RPC, by command and how they ended.',
      labelNames: ['command', 'outcome'] as const,
      registers,
    }),
    tlsHandshakes: new Counter({
      name: 'shoal_gateway_tls_handshakes_total',
      help: 'Connections by HTTPS, by how their handshake ended: done, failed, too late, or ended because too many were under way (crowded).',
      labelNames: ['outcome'] as const, // 'done' | CutOutcome
      registers,
    }),
    certificateExpires: new Gauge({
      name: 'shoal_gateway_certificate_expires_timestamp_seconds',
      help: 'When the certificate for HTTPS expires; 0 for a gateway without one.',
      registers,
    }),
    certificateRenewals: new Counter({
      name: 'shoal_gateway_certificate_renewals_total',
      help: 'Changes of the files of the certificate: taken, or refused, so that the one before is kept.',
      labelNames: ['outcome'] as const, // 'taken' | 'refused'
      registers,
    }),
    eventsClients: new Gauge({
      name: 'shoal_gateway_events_clients',
      help: 'Listeners of /events at this moment.',
      registers,
    }),
    eventsDropped: new Counter({
      name: 'shoal_gateway_events_clients_dropped_total',
      help: 'Listeners of /events that were cut off, for reading too slowly or to give way to others.',
      registers,
    }),
  };
}
