import { createHandshakeCounter, createLoopMetrics, createRegistry } from '@shoal/chassis';
import type { MemberState } from '@shoal/protocol';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** All figures of the discovery service. */
export function createMetrics() {
  const registry: Registry = createRegistry('discovery');
  const registers = [registry];
  return {
    registry,
    loops: createLoopMetrics('discovery', registry),
    tlsHandshakes: createHandshakeCounter('discovery', registry),
    members: new Gauge({
      name: 'shoal_discovery_members',
      help: 'Members of the swarm as this peer sees them, itself included.',
      labelNames: ['state'] as const,
      registers,
    }),
    connections: new Gauge({
      name: 'shoal_discovery_connections',
      help: 'Peers connected over libp2p.',
      registers,
    }),
    pins: new Gauge({
      name: 'shoal_discovery_pins',
      help: 'Pins stored here: of files (live), of deleted files that can be brought back (recoverable), and of files that are purged (deleted).',
      labelNames: ['kind'] as const,
      registers,
    }),
    pinsExpired: new Counter({
      name: 'shoal_discovery_pins_expired_total',
      help: 'Pins that ended while this peer ran.',
      registers,
    }),
    pinsPurged: new Counter({
      name: 'shoal_discovery_pins_purged_total',
      help: 'Deleted files that were purged while this peer ran: on request here or at another peer (asked), because they were kept for as long as is set (time), or because this peer needed their room (room).',
      labelNames: ['why'] as const,
      registers,
    }),
    recoverableBytes: new Gauge({
      name: 'shoal_discovery_recoverable_bytes',
      help: 'Total size of the deleted files that can be brought back; every peer reports the same sum for the whole swarm.',
      registers,
    }),
    draining: new Gauge({
      name: 'shoal_discovery_draining',
      help: '1 while this peer hands over what it holds, to leave for good.',
      registers,
    }),
    transitions: new Counter({
      name: 'shoal_discovery_member_transitions_total',
      help: 'Changes of a member to a state.',
      labelNames: ['state'] as const,
      registers,
    }),
    messages: new Counter({
      name: 'shoal_discovery_messages_total',
      help: 'Messages from other peers, by kind and outcome.',
      labelNames: ['kind', 'outcome'] as const,
      registers,
    }),
    refusals: new Counter({
      name: 'shoal_discovery_refusals_total',
      help: 'Records and messages of other peers that were refused because a field is out of bounds; the log names them.',
      labelNames: ['what'] as const,
      registers,
    }),
    putAside: new Counter({
      name: 'shoal_discovery_put_aside_total',
      help: 'Times that a member had asked for more than one member may in a second, by what it asked for, and was read no further until it had waited.',
      labelNames: ['kind'] as const,
      registers,
    }),
    handshakesRefused: new Counter({
      name: 'shoal_discovery_handshakes_refused_total',
      help: 'Connections that ended in the handshake: the other side speaks another version of the wire (version), did not prove that it has the swarm key (proof), or is not on the roster (roster).',
      labelNames: ['reason'] as const,
      registers,
    }),
    rosterRecords: new Gauge({
      name: 'shoal_discovery_roster_records',
      help: 'Records of the roster that count; 0 in a swarm without an owner.',
      registers,
    }),
    clockAhead: new Gauge({
      name: 'shoal_discovery_clock_ahead_seconds',
      help: "How far this peer's clock is ahead of the median of its members' clocks.",
      registers,
    }),
    twins: new Gauge({
      name: 'shoal_discovery_twins',
      help: "Other processes that run under this peer's identity: its data folder was copied.",
      registers,
    }),
    twinAside: new Gauge({
      name: 'shoal_discovery_twin_aside',
      help: '1 while this peer keeps out of the swarm and takes no writes, because another process was first under its identity.',
      registers,
    }),
    asks: new Histogram({
      name: 'shoal_discovery_ask_duration_seconds',
      help: 'Time from a question to all members to the end of waiting for answers.',
      labelNames: ['kind'] as const,
      buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 10],
      registers,
    }),
    transactions: new Counter({
      name: 'shoal_discovery_transactions_total',
      help: 'Writes to the state of this peer, of which some share a sync.',
      registers,
    }),
    pinMerges: new Counter({
      name: 'shoal_discovery_pin_merges_total',
      help: 'Pins received or made, by outcome.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    files: new Gauge({
      name: 'shoal_discovery_files',
      help: 'Files that this peer watches, by state; "unknown" are those about which a peer that is up does not answer. Each file is watched by one peer, so the sum over peers counts each once.',
      labelNames: ['state'] as const,
      registers,
    }),
    surveyedAt: new Gauge({
      name: 'shoal_discovery_files_surveyed_timestamp_seconds',
      help: 'When the round began that the figures about files, and about bytes below target, are from.',
      registers,
    }),
    belowTarget: new Gauge({
      name: 'shoal_discovery_below_target_bytes',
      help: 'Sizes of the watched files that are known to have fewer copies than they should.',
      registers,
    }),
    belowTargetAge: new Gauge({
      name: 'shoal_discovery_below_target_age_seconds',
      help: 'Longest time that a watched file has been below its target.',
      registers,
    }),
    routingLookups: new Counter({
      name: 'shoal_discovery_routing_lookups_total',
      help: 'Questions of IPFS clients for providers of a block, by what answered them and whether the swarm has it.',
      labelNames: ['by', 'outcome'] as const,
      registers,
    }),
    proofs: new Counter({
      name: 'shoal_discovery_proofs_total',
      help: 'Blocks that members were asked to prove, by outcome; denied: the member says that it does not have the block.',
      labelNames: ['outcome'] as const, // 'proved' | 'failed' | 'denied' | 'unanswered'
      registers,
    }),
    unprovedBlocks: new Gauge({
      name: 'shoal_discovery_unproved_blocks',
      help: 'Blocks that a member said it holds and failed to prove to this peer since its start. Only members that failed are named, at most 16.',
      labelNames: ['peer'] as const,
      registers,
    }),
    distrusted: new Gauge({
      name: 'shoal_discovery_distrusted_members',
      help: 'Members whose copies this peer does not count, because they failed to prove them.',
      registers,
    }),
    settlesWaiting: new Gauge({
      name: 'shoal_discovery_settles_waiting',
      help: 'Settle jobs that wait for Redis to come back.',
      registers,
    }),
  };
}
export type Metrics = ReturnType<typeof createMetrics>;

/** Sets the gauge of every state, so that an empty one reads 0. */
export function countMembers(metrics: Metrics, states: readonly MemberState[]): void {
  for (const state of ['alive', 'suspect', 'down', 'out'] as const)
    metrics.members.set({ state }, states.filter((each) => each === state).length);
}
