import { storageRoutes, type UpkeepReport } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { CommandFailure, EXIT_FAILURE } from '../../failure.ts';
import { follow } from '../../terminal/follow.ts';
import { formatBytes, plural } from '../../terminal/format.ts';
import { startStatusLine } from '../../terminal/progress.ts';
import { asTyped, PROGRAM } from '../../terminal/program-name.ts';
import { StopRequested } from '../../terminal/watch-stop.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/**
 * After the round, damaged blocks are replaced from other peers: tried for this long while we watch.
 * Past it: exit code 1; it goes on all the same.
 */
const HEAL_WAIT_MAX_MS = 30_000;
/**
 * A round that checks nothing for this long was cut short.
 * Past it: exit code 1; it goes on all the same.
 */
const STILL_MAX_MS = 120_000;

/** Begins a scrub, watches it to its end, and the healing of what it found. */
export const scrub = askingCommand({
  usage: `shoal scrub [options]          re-hash every block of a peer now, at its configured rate;
                               exits 1 when something is damaged and could not be replaced
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's upkeep after the round`,
  options: {},
  async run({ context, client, stop, print }) {
    const { startedAtMs } = await client.call(storageRoutes.scrub, {}, stop);
    try {
      using line = startStatusLine(context);
      const watch = createScrubWatch(startedAtMs);
      const report = await follow(
        (options) => client.call(storageRoutes.upkeep, {}, options),
        {
          isOver: (answer) => watch(answer, performance.now()),
          onAnswer: (answer) => line.show(describeRound(answer)),
        },
        stop,
      );
      line[Symbol.dispose]();
      print(report, `${describeScrub(report)}\n`);
      return report.damaged.blocks === 0 ? 0 : EXIT_FAILURE;
    } catch (error) {
      if (!(error instanceof StopRequested)) throw error;
      context.err(
        asTyped(
          'the scrub goes on: "shoal upkeep" tells how far it is\n',
          context.program ?? PROGRAM,
        ),
      );
      return EXIT_FAILURE;
    }
  },
});

/**
 * Answers whether the round that began at `startedAtMs`, or a later one, is over and what it found is
 * healed, or will not be soon.
 * @throws CommandFailure when the round stands still.
 */
export function createScrubWatch(
  startedAtMs: number,
): (report: UpkeepReport, nowMs: number) => boolean {
  let endedAtMs: number | undefined;
  let movedAtMs: number | undefined;
  let checkedBlocks = -1;
  return ({ scrub: { round, lastWhole }, damaged }, nowMs) => {
    const isRoundOver = lastWhole !== undefined && lastWhole.startedAtMs >= startedAtMs;
    if (isRoundOver) {
      endedAtMs ??= nowMs;
      return damaged.blocks === 0 || nowMs - endedAtMs >= HEAL_WAIT_MAX_MS;
    }
    const checkedNow = round?.checkedBlocks ?? 0;
    if (movedAtMs === undefined || checkedNow !== checkedBlocks) {
      movedAtMs = nowMs;
      checkedBlocks = checkedNow;
    }
    if (nowMs - movedAtMs < STILL_MAX_MS) return false;
    throw new CommandFailure(
      'the scrub stands still; look at "shoal upkeep" and the log of storage',
    );
  };
}

function describeRound({ scrub: { round }, damaged }: UpkeepReport): string {
  if (round === undefined || round.endedAtMs !== undefined)
    return `${plural(damaged.blocks, 'damaged block')} to be replaced`;
  return `${plural(round.checkedBlocks, 'block')} checked, ${formatBytes(round.checkedBytes)}, ${round.damagedBlocks} damaged`;
}

/** The findings of the last whole round, in a sentence. */
export function describeScrub({ scrub: { lastWhole }, damaged }: UpkeepReport): string {
  const { checkedBlocks = 0, checkedBytes = 0, damagedBlocks = 0 } = lastWhole ?? {};
  const found = `${plural(checkedBlocks, 'block')} checked (${formatBytes(checkedBytes)}), ${damagedBlocks} damaged`;
  if (damaged.blocks > 0)
    return `${found}; ${plural(damaged.blocks, 'block')} not replaced yet: no peer that is up has a sound copy, or there is no room`;
  return damagedBlocks === 0 ? found : `${found} and replaced`;
}
