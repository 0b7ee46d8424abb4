import { storageRoutes, type UpkeepReport } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { formatAge, formatBytes, formatFields, plural } from '../../terminal/format.ts';
import { describeSweep } from './sweep.ts';

/** Tells what scrub and sweep of one peer found and did, and when. */
export const upkeep = askingCommand({
  usage: `shoal upkeep [options]         tell how a peer looks after its blocks: scrub and sweep
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
  --json             print the peer's answer`,
  options: {},
  async run({ client, stop, print }) {
    const report = await client.call(storageRoutes.upkeep, {}, stop);
    print(report, upkeepReport(report, Date.now()));
    return 0;
  },
});

/** The upkeep of a peer for people. */
export function upkeepReport(report: UpkeepReport, nowMs: number): string {
  const { scrub, damaged, healedBlocks, sweep } = report;
  const ago = (atMs: number) => `${formatAge(Math.max(0, nowMs - atMs))} ago`;
  const { oldestCheckAtMs, overdueBlocks, round, lastWhole } = scrub;
  return formatFields([
    [
      'scrub',
      `every ${formatAge(scrub.intervalMs)}, at most ${formatBytes(scrub.bytesPerSecondMax)}/s`,
    ],
    ['', `oldest check ${oldestCheckAtMs === undefined ? 'none' : ago(oldestCheckAtMs)}`],
    ['', `${plural(overdueBlocks, 'block')} overdue`],
    ...(round === undefined || round.endedAtMs !== undefined
      ? []
      : [['', `a round is under way: ${plural(round.checkedBlocks, 'block')} checked`] as const]),
    [
      '',
      lastWhole?.endedAtMs === undefined
        ? 'no whole round yet'
        : `last whole round ended ${ago(lastWhole.endedAtMs)}: ${plural(lastWhole.checkedBlocks, 'block')}, ${lastWhole.damagedBlocks} damaged`,
    ],
    ['damaged', `${plural(damaged.blocks, 'block')} now, ${healedBlocks} healed since the start`],
    ...damaged.cids.map((cid) => ['', cid] as const),
    ['sweep', `every ${formatAge(sweep.intervalMs)}, spares the last ${formatAge(sweep.graceMs)}`],
    [
      '',
      sweep.last === undefined
        ? 'none yet'
        : `last ${ago(sweep.last.startedAtMs)}: ${describeSweep(sweep.last)}`,
    ],
  ]);
}
