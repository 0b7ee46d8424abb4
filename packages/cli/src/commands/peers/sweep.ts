import { storageRoutes, type SweepReport } from '@shoal/protocol';
import { createClient } from '../../call/client.ts';
import type { Command } from '../../context.ts';
import { EXIT_FAILURE } from '../../failure.ts';
import { formatBytes, plural } from '../../terminal/format.ts';
import { readOptions, refusePositionals } from '../../options.ts';
import { readPeerUrl } from '../../call/peer-url.ts';
import { watchStop } from '../../terminal/watch-stop.ts';
import { readToken, TOKEN_USAGE } from '../../call/write-token.ts';

export const USAGE = `shoal sweep [options]          free what no file reaches at a peer, now; a block goes in the
                               second round that finds it unreached
  --dry-run          only tell what a round would do
  --peer URL         gateway of the peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's report`;

/** Runs one round of the sweep; fails when it was held up, since then it did nothing. */
export const sweep: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    'dry-run': { type: 'boolean', default: false },
    peer: { type: 'string' },
    'token-file': { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  refusePositionals(positionals);
  await using client = createClient(
    readPeerUrl(values.peer, context),
    readToken(values['token-file'], context),
  );
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  const query = { dryRun: String(values['dry-run']) };
  const report = await client.call(storageRoutes.sweep, { query }, stop);
  context.out(values.json ? `${JSON.stringify(report)}\n` : `${describeSweep(report)}\n`);
  return report.heldUpBy === undefined ? 0 : EXIT_FAILURE;
};

/** What a round did, or would have done, in a sentence. */
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
