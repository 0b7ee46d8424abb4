/**
 * The sweep's verdict on a block. One that no pin reaches is first condemned: from then on it is
 * no copy to anybody, though still served. A later round deletes it, if it is still condemned then:
 * anything that counts on it meanwhile (a put, an upload's lease, a pin) takes the sentence back.
 */
import assert from 'node:assert';
import type { BlockRecord, BlockRow, Digest } from '../../disk/block-record.ts';
import type { Exclusive } from '../../index/commit-queue.ts';
import type { DigestMarks, Mark } from '../../index/digest-marks.ts';
import { recordAfterCondemning, recordAfterReach } from '../../index/records.ts';
import type { OperationParts } from '../state/store-parts.ts';
import { removeBlocks } from './remove.ts';

/**
 * `reached`: by a pin. `spared`: by none, but an upload may yet have use for it. `condemned`: by
 * this round. `doomed`: by an earlier one, so it is deleted.
 */
export type Verdict = 'reached' | 'spared' | 'condemned' | 'doomed';

export interface Judgement {
  readonly record: BlockRecord;
  readonly verdict: Verdict;
  /** True when pins ask for fewer copies of it than before. */
  readonly isLowered: boolean;
}

export function verdictOn(
  record: Pick<BlockRecord, 'condemnedAtMs' | 'writtenAtMs'>,
  facts: {
    readonly mark: Mark;
    readonly isLeased: boolean;
    readonly nowMs: number;
    readonly graceMs: number;
  },
): Verdict {
  if (facts.mark.replicas > 0) return 'reached';
  if (facts.isLeased) return 'spared';
  if (record.condemnedAtMs > 0) return 'doomed';
  return facts.nowMs - record.writtenAtMs < facts.graceMs ? 'spared' : 'condemned';
}

/** A row with its verdict, and the record that it comes to; undefined when it stays as it is. */
interface JudgedRow extends Judgement {
  readonly digest: Digest;
  readonly changed: BlockRecord | undefined;
}

/** Judges rows, and does what that means for them; a dry round changes nothing. */
export function createJudge(parts: OperationParts) {
  const { table, leases, nowMs, alone } = parts;

  return async (
    rows: readonly BlockRow[],
    round: { readonly marks: DigestMarks; readonly graceMs: number; readonly isDryRun: boolean },
  ): Promise<readonly Judgement[]> => {
    const judgeRow = ([digest, record]: BlockRow): JudgedRow[] => {
      const mark = round.marks.of(digest);
      if (mark === undefined) return [];
      const isLeased = leases.isHeld(digest);
      const facts = { mark, isLeased, nowMs: nowMs(), graceMs: round.graceMs };
      const verdict = verdictOn(record, facts);
      const isLowered = verdict === 'reached' && record.replicas > mark.replicas;
      return [{ digest, record, verdict, isLowered, changed: changedBy(verdict, record, facts) }];
    };
    const foreseen = rows.flatMap(judgeRow);
    const isQuiet = foreseen.every((row) => row.changed === undefined && row.verdict !== 'doomed');
    if (round.isDryRun || isQuiet) return foreseen;
    return alone(async (exclusive) => {
      // Anew: between the look above and our turn an upload or a pin may have come to count on a block.
      const judged = rows
        .map(([digest]) => [digest, table.find(digest)] as const)
        .flatMap(([digest, record]) => (record === undefined ? [] : judgeRow([digest, record])));
      await carryOut(parts, exclusive, judged);
      return judged;
    });
  };
}

/** The record after a verdict; undefined when it need not change. */
function changedBy(
  verdict: Verdict,
  record: BlockRecord,
  { mark, nowMs }: { readonly mark: Mark; readonly nowMs: number },
): BlockRecord | undefined {
  if (verdict === 'reached') return recordAfterReach(record, mark);
  return verdict === 'condemned' ? recordAfterCondemning(record, nowMs) : undefined;
}

async function carryOut(
  parts: OperationParts,
  exclusive: Exclusive,
  judged: readonly JudgedRow[],
): Promise<void> {
  const doomed = judged.filter(({ verdict }) => verdict === 'doomed');
  for (const { record } of doomed)
    assert(record.condemnedAtMs > 0, 'only what was condemned before is deleted');
  const digests = doomed.map(({ digest }) => digest);
  await removeBlocks(parts, exclusive, digests, 'swept');
  const put = judged.flatMap(({ digest, verdict, changed }) => {
    if (changed === undefined) return [];
    assert(
      changed.condemnedAtMs > 0 === (verdict === 'condemned'),
      'a block is condemned by that verdict alone',
    );
    return [{ digest, record: changed }];
  });
  await parts.table.write(exclusive, { put }, { isFreeing: true });
}
