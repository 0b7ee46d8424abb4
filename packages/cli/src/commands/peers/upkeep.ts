import { type LoopReport, storageRoutes, type UpkeepReport } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import {
  formatAge,
  formatBytes,
  formatFields,
  formatTable,
  plural,
} from '../../terminal/format.ts';
import { describeSweep } from './sweep.ts';

/** Tells what scrub and sweep of one peer found and did, and when, and lists its background loops. */
export const upkeep = askingCommand({
  usage: `shoal upkeep [options]         tell how a peer looks after its blocks, and list its background loops
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
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
  return `${blocksReport(report, nowMs)}${loopsTable(report.loops, nowMs)}`;
}

function blocksReport(report: UpkeepReport, nowMs: number): string {
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

/** Every background loop of the peer's services; empty for a peer of an earlier version, which lists none. */
function loopsTable(services: UpkeepReport['loops'], nowMs: number): string {
  if (services.length === 0) return '';
  const rows = services.flatMap(({ service, loops }) =>
    loops.map((loop) => [loop.name, service, ...cellsOf(loop, nowMs)]),
  );
  const silent = services
    .filter(({ isSilent }) => isSilent)
    .map(({ service }) => `${service} does not answer, so its loops are not listed\n`);
  const heading = ['LOOP', 'SERVICE', 'EVERY', 'LAST RUN', 'TOOK', 'ERROR'];
  return `\n${formatTable(heading, rows)}${silent.join('')}`;
}

function cellsOf(
  { everyMs, isRunning, lastRunAtMs, tookMs, lastError }: LoopReport,
  nowMs: number,
): string[] {
  const ago = (atMs: number) => `${formatAge(Math.max(0, nowMs - atMs))} ago`;
  const lastRun = lastRunAtMs === undefined ? 'not yet' : ago(lastRunAtMs);
  return [
    everyMs === undefined ? 'when needed' : formatSpan(everyMs),
    isRunning ? `${lastRun}, running` : lastRun,
    tookMs === undefined ? '' : formatSpan(tookMs),
    lastError === undefined ? '' : `${ago(lastError.atMs)}: ${lastError.what}`,
  ];
}

/** A time span, in milliseconds below two seconds. */
const formatSpan = (spanMs: number): string =>
  spanMs < 2000 ? `${Math.round(spanMs)} ms` : formatAge(spanMs);
