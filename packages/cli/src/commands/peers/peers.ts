import { discoveryRoutes } from '@shoal/protocol';
import type * as z from 'zod';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { formatAge, formatBytes, formatTable, shortPeerId } from '../../terminal/format.ts';

export type PeersReply = z.infer<typeof discoveryRoutes.listPeers.reply>;

/** Lists the members as one peer sees them. */
export const peers = askingCommand({
  usage: `shoal peers [options]          list the members of the swarm
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answer`,
  options: {},
  async run({ client, stop, print }) {
    const reply = await client.call(discoveryRoutes.listPeers, {}, stop);
    print(reply, peersTable(reply));
    return 0;
  },
});

/** The members, and what a file on them survives, as the peer says it. */
export function peersTable({ peers: members, summary, clock, twin, removed }: PeersReply): string {
  const survives = summary === '' ? '' : `\n${summary}\n`;
  return `${membersTable(members)}${survives}${clockLine(clock)}${twinLine(twin)}${twinsOfOthers(members)}${removedLine(removed)}`;
}

/** The fault of the peer's clock, as a line; nothing when it agrees with the others. */
export function clockLine(clock: PeersReply['clock']): string {
  if (clock?.isWrong !== true) return '';
  const { aheadMs = 0 } = clock;
  const where = aheadMs < 0 ? 'behind' : 'ahead of';
  return `this peer's clock is ${formatAge(Math.abs(aheadMs))} ${where} the others': nothing can be written here until it is set right\n`;
}

/** That another process runs under the peer's identity, as a line; nothing without one. */
export function twinLine(twin: PeersReply['twin']): string {
  if (twin === undefined) return '';
  const other = `another process runs under this peer's identity, at ${twin.gateway}: one of the two data folders is a copy`;
  const what = twin.isAside
    ? 'nothing can be written here until one of the two is stopped, or this one is started with --new-identity'
    : 'that one stands aside; stop it, or start it with --new-identity';
  return `${other}; ${what}\n`;
}

/** That the peer was shut out, as a line. */
function removedLine(removed: PeersReply['removed']): string {
  if (removed === undefined) return '';
  const { reason } = removed;
  return `this peer was removed from the swarm${reason === undefined ? '' : ` (${reason})`}: no member talks to it, and nothing can be written here\n`;
}

/** The same of other members, as their own records say it. */
function twinsOfOthers(members: PeersReply['peers']): string {
  return members
    .flatMap(({ isSelf, peerId, twin, http }) =>
      isSelf || twin === undefined
        ? []
        : [
            `another process runs under the identity of ${shortPeerId(peerId)}, which is at ${http.gateway}: it is at ${twin}, and one of the two data folders is a copy\n`,
          ],
    )
    .join('');
}

function membersTable(members: PeersReply['peers']): string {
  const hasNames = members.some(({ name }) => name !== undefined);
  return formatTable(
    ['PEER', ...(hasNames ? ['NAME'] : []), 'STATE', 'BLOCKS', 'HOLDS', 'FREE', 'SEEN', 'GATEWAY'],
    members.map((member) => [
      shortPeerId(member.peerId),
      ...(hasNames ? [member.name ?? ''] : []),
      stateOf(member),
      String(member.blocks),
      formatBytes(member.usedBytes),
      formatBytes(member.freeBytes),
      member.isSelf ? 'now' : `${formatAge(member.seenMsAgo)} ago`,
      member.http.gateway,
    ]),
  );
}

/** A member's state, with what else a person should know: `alive, draining (asked)`. */
export function stateOf({
  state,
  draining,
  isSelf,
  outInMs,
  isDistrusted,
}: Pick<
  PeersReply['peers'][number],
  'state' | 'draining' | 'isSelf' | 'outInMs' | 'isDistrusted'
>): string {
  const proofs = isDistrusted === true ? ', can’t prove its copies' : '';
  const out = outInMs === undefined ? '' : `, replaced in ${formatAge(outInMs)}`;
  return `${state}${draining ? ', draining' : ''}${proofs}${out}${isSelf ? ' (asked)' : ''}`;
}
