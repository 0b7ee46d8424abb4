import { storageRoutes, type UpkeepReport } from '@shoal/protocol';
import { createClient } from '../../call/client.ts';
import type { Command } from '../../context.ts';
import { EXIT_FAILURE } from '../../failure.ts';
import { formatAge, formatBytes, formatFields, plural } from '../../terminal/format.ts';
import { readOptions, refusePositionals } from '../../options.ts';
import { readPeerUrl } from '../../call/peer-url.ts';
import { watchStop } from '../../terminal/watch-stop.ts';
import { describeSweep } from './sweep.ts';

export const USAGE = `shoal upkeep [options]         tell how a peer looks after its blocks: scrub and sweep
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
  --json             print the peer's answer`;

/** Tells what scrub and sweep of one peer found and did, and when. */
export const upkeep: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    peer: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  refusePositionals(positionals);
  await using client = createClient(readPeerUrl(values.peer, context));
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  const report = await client.call(storageRoutes.upkeep, {}, stop);
  context.out(values.json ? `${JSON.stringify(report)}\n` : upkeepReport(report, Date.now()));
  return 0;
};

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
