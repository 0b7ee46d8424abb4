import { PeerConfig, portSetting } from '@shoal/chassis';
import * as z from 'zod';
import { parseSeeds } from './members/seeds.ts';

const milliseconds = (min: number, max: number, fallback: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);

export const DiscoveryConfig = PeerConfig.extend({
  /** Port of this service's HTTP server. */
  DISCOVERY_PORT: portSetting(7104),
  /** Port on which libp2p listens for other peers. */
  DISCOVERY_LIBP2P_PORT: portSetting(7105),
  /** Peers to join through, comma-separated: `host:port` (a DNS name may have several addresses) or multiaddrs. */
  DISCOVERY_SEEDS: z
    .string()
    .max(8192)
    .default('')
    .transform((text, context) => {
      try {
        return parseSeeds(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
        return z.NEVER;
      }
    }),
  /** Whether to look for peers on the local network by multicast DNS. */
  DISCOVERY_MDNS: z.stringbool().default(true),
  /** Shortest time between two records of this peer of which figures alone are new; longer in large swarms, so that it costs the same. Three of them without a sign of life, and a member is down. */
  DISCOVERY_HEARTBEAT_MS: milliseconds(200, 120_000, 5000),
  /** Time between two probes, of one member each; half as much again is how long an answer may take. */
  DISCOVERY_PING_MS: milliseconds(200, 60_000, 1000),
  /** Time between two rounds of asking members to prove a few of the blocks that they say they hold; longer in large swarms. */
  DISCOVERY_PROOF_INTERVAL_MS: milliseconds(500, 24 * 3_600_000, 10_000),
  /** Time after which a peer that is down is no longer placed on. */
  MEMBER_OUT_AFTER_MS: milliseconds(1000, 30 * 24 * 3_600_000, 600_000),
  /** Time for which blocks of an ended pin are kept all the same: more than any peer's clock is likely to be wrong. */
  DISCOVERY_EXPIRY_SLACK_MS: milliseconds(0, 365 * 24 * 3_600_000, 24 * 3_600_000),
  /** Time for which a deleted file can be brought back, the same at every peer; 0 purges it at once. */
  DISCOVERY_UNDELETE_MS: milliseconds(0, 365 * 24 * 3_600_000, 7 * 24 * 3_600_000),
});
export type DiscoveryConfig = z.infer<typeof DiscoveryConfig>;
