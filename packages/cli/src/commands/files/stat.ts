import { discoveryRoutes, type FileHealth } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { standingText, whyText } from '../../files/file-state.ts';
import {
  formatAge,
  formatBytes,
  formatFields,
  formatTable,
  formatTime,
  plural,
  shortPeerId,
} from '../../terminal/format.ts';
import { readHash } from '../../options.ts';

/** Tells what the swarm holds of a file, from answers that were given just now. */
export const stat = askingCommand({
  usage: `shoal stat <hash> [options]    tell how safe a file is: every member is asked now
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answer`,
  options: {},
  takesWords: true,
  async run({ words, client, stop, print }) {
    const hash = readHash(words);
    const health = await client.call(discoveryRoutes.fileHealth, { params: { hash } }, stop);
    print(health, healthReport(health, Date.now()));
    return 0;
  },
});

/** A file's health for people: the facts, then who holds how much. */
export function healthReport(health: FileHealth, nowMs: number): string {
  const { expiresAtMs, checkedAtMs } = health;
  const why = whyText(health, nowMs);
  const ago = (atMs: number) => `${formatAge(Math.max(0, nowMs - atMs))} ago`;
  const facts = formatFields([
    ['name', health.name],
    ['cid', health.cid],
    ...(health.sha256 === undefined ? [] : [['sha-256', health.sha256] as const]),
    ['size', `${formatBytes(health.sizeBytes)} in ${plural(health.blocks, 'block')}`],
    ['state', standingText(health)],
    ...(why === '' ? [] : [['', why] as const]),
    ['proved', `${health.proved} of ${health.claimed} copies that peers say they hold`],
    ['survives', survives(health)],
    ['expires', expiresAtMs === undefined ? 'never' : formatTime(expiresAtMs)],
    ['verified', ago(health.verifiedAtMs)],
    ['re-hashed', checkedAtMs === undefined ? 'not known of all holders' : ago(checkedAtMs)],
  ]);
  if (health.holders.length === 0) return facts;
  const holders = health.holders.map(({ peerId, blocks, share, proof }) => [
    shortPeerId(peerId),
    String(blocks),
    `${Math.floor(share * 100)} %${proof === 'failed' ? ', could not prove it' : ''}`,
  ]);
  return `${facts}\n${formatTable(['PEER', 'BLOCKS', 'SHARE'], holders)}`;
}

/** The losses before which no block is lost: copies on one disk are one accident. */
function survives({ copies, survivesPeers, disks, machines }: FileHealth): string {
  if (copies === 0) return 'nothing: a block has no copy at a peer that is up';
  const peers =
    survivesPeers === 0
      ? 'not the loss of any peer'
      : `the loss of any ${plural(survivesPeers, 'peer')}`;
  if (disks > 1)
    return `${peers}; copies on ${plural(disks, 'disk')} of ${plural(machines, 'machine')}`;
  if (disks === 0) return `${peers}, but not of power: copies are in memory only`;
  return survivesPeers === 0 ? peers : `${peers}, but not of their one disk`;
}
