import { createClient, type PeersReply } from '../client.ts';
import type { Command } from '../context.ts';
import { EXIT_FAILURE } from '../failure.ts';
import { formatAge, formatBytes, formatTable, shortPeerId } from '../format.ts';
import { readOptions, refusePositionals } from '../options.ts';
import { readPeerUrl } from '../peer-url.ts';
import { watchStop } from '../watch-stop.ts';

export const USAGE = `shoal peers [options]          list the members of the swarm
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
  --json             print the peer's answer`;

/** Lists the members as one peer sees them. */
export const peers: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    peer: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  refusePositionals(positionals);
  await using client = createClient(readPeerUrl(values.peer, context));
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  const reply = await client.listPeers(stop);
  context.out(values.json ? `${JSON.stringify(reply)}\n` : peersTable(reply));
  return 0;
};

function peersTable({ peers: members, disks }: PeersReply): string {
  const up = members.filter(({ state }) => state === 'alive' || state === 'suspect').length;
  return `${membersTable(members)}\n${summarise(up, disks)}\n`;
}

/** What the swarm survives, in a sentence: two peers on one disk are one accident. */
export function summarise(peersUp: number, disks: number): string {
  const counted = `${plural(peersUp, 'peer')}, ${plural(disks, 'disk')}`;
  return disks === 1 && peersUp > 1 ? `${counted}: survives crashes, not disk loss` : counted;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function membersTable(members: PeersReply['peers']): string {
  return formatTable(
    ['PEER', 'STATE', 'BLOCKS', 'HOLDS', 'FREE', 'SEEN', 'GATEWAY'],
    members.map(({ peerId, isSelf, state, blocks, usedBytes, freeBytes, seenMsAgo, http }) => [
      shortPeerId(peerId),
      isSelf ? `${state} (asked)` : state,
      String(blocks),
      formatBytes(usedBytes),
      formatBytes(freeBytes),
      isSelf ? 'now' : `${formatAge(seenMsAgo)} ago`,
      http.gateway,
    ]),
  );
}
