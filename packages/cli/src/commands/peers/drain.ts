import { type DrainReport, transferRoutes } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { EXIT_FAILURE, UsageError } from '../../failure.ts';
import { follow } from '../../terminal/follow.ts';
import { plural } from '../../terminal/format.ts';
import { startStatusLine } from '../../terminal/progress.ts';
import { asTyped, PROGRAM } from '../../terminal/program-name.ts';
import { StopRequested } from '../../terminal/watch-stop.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Begins a drain and watches it to its end. */
export const drain = askingCommand({
  usage: `shoal drain [options]          hand over what a peer holds, so that it may go for good;
                               it serves on meanwhile, and Ctrl-C stops the watching only
  --peer URL         gateway of the peer that is to go (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --status           only tell how far it is
  --cancel           the peer stays after all
  --json             print the peer's last report`,
  options: {
    status: { type: 'boolean', default: false },
    cancel: { type: 'boolean', default: false },
  },
  async run({ values, context, client, stop, print }) {
    const { program = PROGRAM } = context;
    if (values.status && values.cancel) throw new UsageError('--status or --cancel, not both');
    const tell = (report: DrainReport): void =>
      print(report, `${asTyped(describeDrain(report), program)}\n`);
    if (values.status || values.cancel) {
      const route = values.cancel ? transferRoutes.cancelDrain : transferRoutes.drainState;
      tell(await client.call(route, {}, stop));
      return 0;
    }
    await client.call(transferRoutes.startDrain, {}, stop);
    try {
      using line = startStatusLine(context);
      const report = await follow(
        (options) => client.call(transferRoutes.drainState, {}, options),
        {
          isOver: ({ isDraining, isDrained }) => isDrained || !isDraining,
          onAnswer: (answer) => line.show(describeDrain(answer)),
        },
        stop,
      );
      line[Symbol.dispose]();
      tell(report);
      return report.isDrained ? 0 : EXIT_FAILURE;
    } catch (error) {
      if (!(error instanceof StopRequested)) throw error;
      context.err(
        asTyped(
          'the peer goes on handing over: "shoal drain --status" tells how far it is, "shoal drain --cancel" stops it\n',
          program,
        ),
      );
      return EXIT_FAILURE;
    }
  },
});

/** How far a drain is, in a sentence. */
export function describeDrain(report: DrainReport): string {
  const { isDraining, isDrained, filesTotal, filesLeft, filesBelow, blocksLeft, heldUpBy } = report;
  if (!isDraining) return 'this peer stays: it is not draining';
  if (isDrained)
    return filesBelow === 0
      ? `drained: the other peers hold all copies of ${plural(filesTotal, 'file')}, this peer may be stopped for good`
      : `drained: this peer has nothing more to give and may be stopped for good; without it ${filesBelow} of ${plural(filesTotal, 'file')} have fewer copies than they ask for ("shoal ls" names them)`;
  const left = `handing over: ${filesLeft} of ${plural(filesTotal, 'file')} left, ${plural(blocksLeft, 'block')}`;
  return heldUpBy === undefined ? left : `${left}; held up: ${heldUpBy}`;
}
