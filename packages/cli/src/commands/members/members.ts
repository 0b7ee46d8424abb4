import { rosterRoutes, type RosterReply } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { formatAge, formatTable, shortPeerId } from '../../terminal/format.ts';
import { asTyped, PROGRAM } from '../../terminal/program-name.ts';

/** Lists who belongs to the swarm, whether it is up or not. */
export const members = askingCommand({
  usage: `shoal members [options]        list who belongs to the swarm: owners, members, removed ones, invitations
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answer`,
  options: {},
  async run({ client, stop, print, context }) {
    const reply = await client.call(rosterRoutes.show, {}, stop);
    print(reply, asTyped(rosterText(reply, Date.now()), context.program ?? PROGRAM));
    return 0;
  },
});

function rosterText(roster: RosterReply, nowMs: number): string {
  if (roster.swarm === undefined)
    return 'this swarm has no owner: who knows its key belongs to it\nto give it one, and close it: shoal own --data-dir <of a peer that runs>\n';
  const { owners, members: all, removed, invites } = roster;
  const nameOf = (key: string) =>
    owners.find((owner) => owner.key === key)?.name ??
    all.find(({ peerId }) => peerId === key)?.name ??
    shortPeerId(key);
  const ago = (atMs: number) => `${formatAge(Math.max(0, nowMs - atMs))} ago`;
  const tables = [
    formatTable(
      ['MEMBER', 'NAME', 'MAY CHANGE', 'SINCE', 'ADDED BY'],
      all.map(({ peerId, name = '', mayChange, sinceMs, addedBy }) => [
        shortPeerId(peerId),
        name,
        mayChange === 'any' ? 'all files' : 'its own files',
        ago(sinceMs),
        nameOf(addedBy),
      ]),
    ),
    formatTable(
      ['OWNER', 'NAME', 'SINCE'],
      owners.map(({ key, name = '', sinceMs }) => [shortPeerId(key), name, ago(sinceMs)]),
    ),
  ];
  if (removed.length > 0)
    tables.push(
      formatTable(
        ['REMOVED', 'WHEN', 'BY', 'WHY'],
        removed.map(({ peerId, atMs, by, reason = '' }) => [
          shortPeerId(peerId),
          ago(atMs),
          nameOf(by),
          reason,
        ]),
      ),
    );
  const open = invites.filter(
    ({ inviter, isClosed, used, uses, expiresAtMs }) =>
      all.some(({ peerId }) => peerId === inviter) &&
      !isClosed &&
      used < uses &&
      expiresAtMs > nowMs,
  );
  if (open.length > 0)
    tables.push(
      formatTable(
        ['INVITATION', 'AT', 'USED', 'ENDS'],
        open.map(({ key, inviter, used, uses, expiresAtMs }) => [
          shortPeerId(key),
          nameOf(inviter),
          `${used} of ${uses}`,
          `in ${formatAge(expiresAtMs - nowMs)}`,
        ]),
      ),
    );
  const doubt = roster.isCompared
    ? ''
    : '\nthis peer has compared its roster with nobody since it started: no other member was there\n';
  return `${tables.join('\n')}${doubt}`;
}
