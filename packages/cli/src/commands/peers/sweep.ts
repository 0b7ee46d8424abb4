import { storageRoutes, type SweepReport } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { EXIT_FAILURE } from '../../failure.ts';
import { formatBytes, plural } from '../../terminal/format.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Runs one round of the sweep; fails when it was held up, since then it did nothing. */
export const sweep = askingCommand({
  usage: `shoal sweep [options]          free what no file reaches at a peer, now; a block goes in the
                               second round that finds it unreached
  --dry-run          only tell what a round would do
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's report`,
  options: {
    'dry-run': { type: 'boolean', default: false },
  },
  async run({ values, client, stop, print }) {
    const query = { dryRun: String(values['dry-run']) };
    const report = await client.call(storageRoutes.sweep, { query }, stop);
    print(report, `${describeSweep(report)}\n`);
    return report.heldUpBy === undefined ? 0 : EXIT_FAILURE;
  },
});

/** The outcome of a round, or of a dry run, in a sentence. */
export function describeSweep(report: SweepReport): string {
  const { isDryRun, pins, reachedBlocks, leasedBlocks, heldUpBy } = report;
  if (heldUpBy !== undefined) return `nothing was done: ${heldUpBy}`;
  const would = isDryRun ? 'would be ' : '';
  const kept = `${plural(reachedBlocks, 'block')} kept by ${plural(pins, 'file')}`;
  const spared = leasedBlocks === 0 ? '' : `, ${leasedBlocks} spared as young or in an upload`;
  const condemned = amount(report.condemnedBlocks, report.condemnedBytes);
  const deleted = amount(report.deletedBlocks, report.deletedBytes);
  return `${kept}${spared}; ${condemned} ${would}condemned, ${deleted} ${would}deleted`;
}

function amount(blocks: number, sizeBytes: number): string {
  return blocks === 0 ? '0 blocks' : `${plural(blocks, 'block')} (${formatBytes(sizeBytes)})`;
}
