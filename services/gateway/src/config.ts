import { PeerConfig, portSetting } from '@shoal/chassis';
import * as z from 'zod';

const count = () => z.coerce.number().int();

/** The settings of the gateway. It owns no state, so nothing here names a folder. */
export const GatewayConfig = PeerConfig.extend({
  /** Port of the front door; 0 lets the system choose. */
  GATEWAY_PORT: portSetting(7100),
  /** Proxied requests at once, shared by clients; the next one is refused with a 503. */
  GATEWAY_REQUESTS_MAX: count().min(1).max(100_000).default(1024),
  /** Longest wait for a service to begin its answer to a read: above every deadline that it keeps itself. */
  GATEWAY_ANSWER_TIMEOUT_MS: count().min(100).max(3_600_000).default(60_000),
  /** The same for an upload, from the last byte of its body: the chunker then waits for copies. */
  GATEWAY_UPLOAD_ANSWER_TIMEOUT_MS: count().min(100).max(3_600_000).default(600_000),
  /** Longest wait for a request's body to begin; from then on the service that it goes to watches it. */
  GATEWAY_BODY_BEGIN_TIMEOUT_MS: count().min(100).max(3_600_000).default(20_000),
  /** Longest silence in the middle of an answer; a client that reads slowly doesn't count as silence. */
  GATEWAY_BODY_IDLE_TIMEOUT_MS: count().min(100).max(3_600_000).default(120_000),
  /** Listeners of `/events` at once, shared by clients. */
  GATEWAY_EVENTS_CLIENTS_MAX: count().min(0).max(10_000).default(100),
  /** How often the files of the certificate are looked at for a renewed one. */
  GATEWAY_TLS_LOOK_MS: count().min(50).max(86_400_000).default(60_000),
  /**
   * For how many seconds browsers remember that this host speaks nothing but HTTPS (HSTS), on all its ports: those of the
   * other services, too, are then closed to them. 0 says nothing.
   */
  GATEWAY_HSTS_SECONDS: count().min(0).max(63_072_000).default(0),
  /** How often a quiet `/events` says that it lives: below the idle limit of common proxies. */
  GATEWAY_EVENTS_HEARTBEAT_MS: count().min(10).max(60_000).default(15_000),
});
export type GatewayConfig = z.infer<typeof GatewayConfig>;
